import AffinityTestSupport
import Glibc

/// The bytes of a frame.
func frame(_ kind: UInt8, _ id: UInt64 = 0, _ payload: [UInt8] = []) -> [UInt8] {
    bytes(UInt32(9 + payload.count)) + [kind] + bytes(id) + payload
}

/// A number as it stands in frames.
func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.bigEndian) { Array($0) }
}

/// A hello of a node `raw` to `b`, unless told otherwise.
func hello(
    version: UInt16 = 1, isSecured: Bool = false, nonce: UInt8 = 7, system: String = "test", meant: String = "b"
) -> [UInt8] {
    var payload = Array("AFLK".utf8) + bytes(version) + [isSecured ? 1 : 0] + [UInt8](repeating: nonce, count: 32)
    for name in [system, "raw", meant] { payload += [UInt8(name.utf8.count)] + Array(name.utf8) }
    return frame(Kind.hello, 0, payload)
}

/// A request without a deadline.
func request(_ id: UInt64, _ type: String, _ body: [UInt8] = []) -> [UInt8] {
    frame(Kind.request, id, bytes(UInt32.max) + [UInt8(type.utf8.count)] + Array(type.utf8) + body)
}

/// The kinds of frames.
enum Kind {
    static let hello: UInt8 = 1
    static let challenge: UInt8 = 2
    static let proof: UInt8 = 3
    static let welcome: UInt8 = 4
    static let refusal: UInt8 = 5
    static let request: UInt8 = 6
    static let response: UInt8 = 7
    static let error: UInt8 = 8
    static let cancel: UInt8 = 9
    static let ping: UInt8 = 10
    static let pong: UInt8 = 11
    static let goodbye: UInt8 = 12
}

/// A socket whose owner writes every byte itself. It blocks: to be used on a thread of its own, one at a time.
final class RawPeer: @unchecked Sendable {
    struct Frame {
        let kind: UInt8
        let id: UInt64
        let payload: [UInt8]
        var text: String { String(decoding: payload, as: UTF8.self) }
    }

    private let descriptor: Int32

    init(adopting descriptor: Int32, timeout: Int = 20) {
        self.descriptor = descriptor
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    convenience init(port: Int) throws {
        self.init(adopting: newSocket())
        var address = loopback(port)
        let result = withSockaddr(&address) { connect(descriptor, $0, $1) }
        guard result == 0 else { throw Failure("connect: \(String(cString: strerror(errno)))") }
    }

    deinit { Glibc.close(descriptor) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure("send: \(String(cString: strerror(errno)))") }
            sent += count
        }
    }

    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// `nil` at the end.
    func receive(_ count: Int) throws -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let more = bytes[filled...].withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
            if more == 0 || (more < 0 && errno == ECONNRESET) { return nil }
            guard more > 0 else { throw Failure("recv: \(String(cString: strerror(errno)))") }
            filled += more
        }
        return bytes
    }

    /// `nil` at the end.
    func receiveFrame() throws -> Frame? {
        guard let header = try receive(13) else { return nil }
        let length = header[..<4].reduce(0) { $0 << 8 | Int($1) }
        guard length >= 9 else { throw Failure("a frame has the length \(length)") }
        guard let payload = try receive(length - 9) else { return nil }
        return Frame(kind: header[4], id: header[5...].reduce(0) { $0 << 8 | UInt64($1) }, payload: payload)
    }

    /// The next frame, which must be of that kind.
    @discardableResult
    func expect(_ kind: UInt8) throws -> Frame {
        guard let frame = try receiveFrame() else { throw Failure("the end came instead of a frame of kind \(kind)") }
        guard frame.kind == kind else { throw Failure("\(frame.kind) came instead of \(kind): \(frame.text)") }
        return frame
    }

    /// The next frame of a kind; those that only look for a sign of life are passed over.
    func expectAmongPings(_ kind: UInt8) throws -> Frame {
        while let frame = try receiveFrame() {
            if frame.kind == kind { return frame }
            guard frame.kind == Kind.ping else { break }
        }
        throw Failure("no frame of kind \(kind) came")
    }

    /// Reads until the end.
    func waitForEnd() throws { while try receive(1) != nil {} }

    /// Greets as who opens a connection does.
    func greet() throws {
        try send(TransportTests.hello())
        try expect(Kind.welcome)
    }

    /// Greets as who accepts a connection does.
    func welcome() throws {
        try expect(Kind.hello)
        try send(frame(Kind.welcome))
    }
}

/// A port whose connections are `RawPeer`s.
final class RawListener: @unchecked Sendable {
    private let descriptor: Int32
    private(set) var port = 0

    /// - Parameter listens: otherwise connections are refused, and nobody else gets the port.
    init(listens: Bool = true) throws {
        let descriptor = newSocket()
        self.descriptor = descriptor
        var address = loopback(0)
        guard withSockaddr(&address, { bind(descriptor, $0, $1) }) == 0, !listens || listen(descriptor, 64) == 0 else {
            throw Failure("listen: \(String(cString: strerror(errno)))")
        }
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(descriptor, $0, &size) }
        }
        port = Int(UInt16(bigEndian: address.sin_port))
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { Glibc.close(descriptor) }

    func accept() throws -> RawPeer {
        let accepted = Glibc.accept(descriptor, nil, nil)
        guard accepted >= 0 else { throw Failure("accept: \(String(cString: strerror(errno)))") }
        return RawPeer(adopting: accepted)
    }
}

// Not for the programs that other tests start meanwhile.
private func newSocket() -> Int32 { socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0) }

private func loopback(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
}

private func withSockaddr<Result>(
    _ address: inout sockaddr_in, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}
