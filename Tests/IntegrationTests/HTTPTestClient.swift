import Glibc

/// An HTTP client that sends the bytes it is told to, and reads answers: one connection, blocking.
final class HTTPTestClient {
    private let descriptor: Int32
    private var received: [UInt8] = []
    private var start = 0

    struct Failure: Error, CustomStringConvertible { var description: String }

    /// An answer as it came.
    struct Answer: CustomStringConvertible {
        var status: Int
        var headers: [(name: String, value: String)]
        var body: [UInt8]

        /// The values of a header, one a field.
        func all(_ name: String) -> [String] {
            headers.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
        }

        /// The value of a header that comes once.
        subscript(name: String) -> String? {
            let values = all(name)
            return values.count == 1 ? values[0] : nil
        }

        var text: String { String(decoding: body, as: UTF8.self) }
        var etag: String? { self["ETag"] }
        var position: String? { self["Affinity-Position"] }
        var description: String { "\(status) \(headers) \(text.prefix(400))" }
    }

    /// Connects to the loopback; no call waits longer than `timeout` seconds for the other side.
    init(port: Int, timeout: Int = 15) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = withUnsafeBytes(of: &address) {
            connect(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
        guard result == 0 else { throw Failure(description: "connect: \(errno)") }
    }

    deinit { close(descriptor) }

    // MARK: - Requests

    /// Sends a request and reads its answer.
    func ask(
        _ method: String, _ target: String, _ headers: [(String, String)] = [], body: String? = nil
    ) throws -> Answer {
        try ask(method, target, headers, bytes: body.map { Array($0.utf8) })
    }

    /// Sends a request and reads its answer.
    func ask(
        _ method: String, _ target: String, _ headers: [(String, String)] = [], bytes: [UInt8]?
    ) throws -> Answer {
        try send(Self.request(method, Array(target.utf8), headers, bytes))
        return try answer(toHead: method == "HEAD")
    }

    /// The bytes of a request.
    static func request(
        _ method: String, _ target: [UInt8], _ headers: [(String, String)] = [], _ body: [UInt8]? = nil
    ) -> [UInt8] {
        var head = "HTTP/1.1\r\n"
        if !headers.contains(where: { $0.0.lowercased() == "host" }) { head += "Host: localhost\r\n" }
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if let body { head += "Content-Length: \(body.count)\r\n" }
        return Array("\(method) ".utf8) + target + Array(" \(head)\r\n".utf8) + (body ?? [])
    }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress?.advanced(by: sent), $0.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure(description: "send: \(errno)") }
            sent += count
        }
    }

    /// Tells the other side that nothing more comes.
    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    // MARK: - Answers

    /// The next answer; those of 100 are passed over. A `HEAD`'s has no body.
    func answer(toHead: Bool = false) throws -> Answer {
        let head = try readThrough("\r\n\r\n")
        let lines = head.split(separator: "\r\n")
        let parts = lines[0].split(separator: " ", maxSplits: 2)
        guard parts.count >= 2, parts[0] == "HTTP/1.1", let status = Int(parts[1]) else {
            throw Failure(description: "status line: \(lines[0])")
        }
        if status == 100 { return try answer(toHead: toHead) }
        let headers = lines.dropFirst().map { line in
            let pair = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            return (name: String(pair[0]), value: String(pair.count > 1 ? pair[1].drop { $0 == " " } : ""))
        }
        var answer = Answer(status: status, headers: headers, body: [])
        guard let length = answer["content-length"].flatMap({ Int($0) }), !toHead else { return answer }
        while received.count - start < length {
            guard try receive() else { throw Failure(description: "the body ended early") }
        }
        answer.body = Array(received[start..<(start + length)])
        start += length
        return answer
    }

    /// Whatever still comes until the other side closes; `nil` if it neither closes nor sends in time.
    func rest() -> [UInt8]? {
        do {
            while try receive() {}
        } catch let failure as Failure where failure.description == "receive: \(ECONNRESET)" {
        } catch {
            return nil
        }
        defer { start = received.count }
        return Array(received[start...])
    }

    private func readThrough(_ end: String) throws -> String {
        let end = Array(end.utf8)
        received.removeFirst(start)
        start = 0
        var from = start
        while true {
            if received.count - from >= end.count {
                for at in from...(received.count - end.count) where received[at..<(at + end.count)].elementsEqual(end) {
                    defer { start = at + end.count }
                    return String(decoding: received[start..<at], as: UTF8.self)
                }
                from = received.count - end.count + 1
            }
            guard try receive() else {
                throw Failure(description: "end after: \(String(decoding: received[start...], as: UTF8.self))")
            }
        }
    }

    /// False at the end.
    private func receive() throws -> Bool {
        let size = 64 * 1024
        var buffer = [UInt8](repeating: 0, count: size)
        let count = buffer.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
        guard count >= 0 else { throw Failure(description: "receive: \(errno)") }
        received += buffer.prefix(count)
        return count > 0
    }
}
