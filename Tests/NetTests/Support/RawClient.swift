import Glibc

/// A client that sends the bytes it is told to and reads answers, blocking: tests run it on threads of their own.
final class RawClient {
    private let descriptor: Int32
    private var received: [UInt8] = []

    struct Answer: CustomStringConvertible {
        var status: Int
        var headers: [(name: String, value: String)]
        var body: [UInt8]

        func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name.lowercased() }?.value }
        var text: String { String(decoding: body, as: UTF8.self) }
        var description: String { "\(status) \(headers) \(text)" }
    }

    struct Failure: Error { var reason: String }

    /// Connects; no call waits longer than `timeout` seconds for the other side.
    init(port: Int, timeout: Int = 10, receiveBuffer: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        if var receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = withUnsafeBytes(of: &address) {
            connect(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
        guard result == 0 else { throw Failure(reason: "connect: \(errno)") }
    }

    deinit { close(descriptor) }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress?.advanced(by: sent), $0.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure(reason: "send: \(errno)") }
            sent += count
        }
    }

    /// Sends as much as the other side takes at once, and gives how much that was.
    func sendWithoutWaiting(_ bytes: [UInt8]) -> Int {
        let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
        return bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, flags) }
    }

    /// Whether something came within that many milliseconds.
    func hasInput(within milliseconds: Int32) throws -> Bool {
        var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&poller, 1, milliseconds) > 0
    }

    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// The next answer; a `HEAD`'s has no body.
    func answer(toHead: Bool = false) throws -> Answer {
        let head = try readThrough("\r\n\r\n")
        let lines = head.split(separator: "\r\n")
        let parts = lines[0].split(separator: " ", maxSplits: 2)
        guard parts.count >= 2, parts[0] == "HTTP/1.1", let status = Int(parts[1]) else {
            throw Failure(reason: "status line: \(lines[0])")
        }
        let headers = lines.dropFirst().map { line in
            let pair = line.split(separator: ":", maxSplits: 1)
            return (name: String(pair[0]), value: String(pair[1].dropFirst()))
        }
        var answer = Answer(status: status, headers: headers, body: [])
        if let length = answer.header("content-length").flatMap({ Int($0) }), !toHead {
            while received.count < length {
                guard try receive() else { throw Failure(reason: "the body ended early") }
            }
            answer.body = Array(received.prefix(length))
            received.removeFirst(length)
        }
        return answer
    }

    /// Sends a request and gives its answer.
    func ask(_ text: String) throws -> Answer {
        try send(text)
        return try answer()
    }

    /// Whether the other side closes in an orderly way without sending anything more.
    func isAtEnd() throws -> Bool {
        guard received.isEmpty else { return false }
        return try !receive()
    }

    /// Whether the connection was reset or ended, without a look at what came before.
    func waitForEndOrReset() throws {
        do {
            while try receive() { received = [] }
        } catch let failure as Failure where failure.reason == "receive: \(ECONNRESET)" {
            return
        }
    }

    private func readThrough(_ end: String) throws -> String {
        let end = Array(end.utf8)
        while true {
            if let at = position(of: end) {
                let text = String(decoding: received[..<at], as: UTF8.self)
                received.removeFirst(at + end.count)
                return text
            }
            guard try receive() else {
                throw Failure(reason: "end after: \(String(decoding: received, as: UTF8.self))")
            }
        }
    }

    private func position(of end: [UInt8]) -> Int? {
        guard received.count >= end.count else { return nil }
        return (0...(received.count - end.count)).first { received[$0..<($0 + end.count)].elementsEqual(end) }
    }

    /// False at the end.
    private func receive() throws -> Bool {
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        let count = buffer.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
        guard count >= 0 else { throw Failure(reason: "receive: \(errno)") }
        received += buffer.prefix(count)
        return count > 0
    }
}
