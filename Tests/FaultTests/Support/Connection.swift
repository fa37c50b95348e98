import Glibc

/// One keep-alive connection that asks and waits for the answer, blocking.
final class Connection {
    private let descriptor: Int32
    private var received: [UInt8] = []

    struct Answer: CustomStringConvertible {
        var status: Int
        var headers: [String: String]
        var body: String

        var isGood: Bool { (200...299).contains(status) }
        /// The version in `ETag`.
        var version: UInt64? { headers["etag"].flatMap { UInt64($0.filter { $0 != "\"" }) } }
        /// The body without the blanks at its end.
        var text: Substring { body.prefix { $0 != " " } }
        var description: String { "\(status) \(headers) \(body)" }
    }

    /// Connects; an answer may take as long as `seconds`.
    init(port: Int, seconds: Int = 60) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        var noDelay: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &noDelay, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafeBytes(of: &address) {
            connect(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
        guard result == 0 else {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            throw Failure("connect: \(reason)")
        }
    }

    deinit { close(descriptor) }

    /// Sends a request and gives its answer.
    ///
    /// - Throws: `Failure` if the connection ends before the whole answer is there.
    func ask(
        _ method: String, _ target: String, headers: [String: String] = [:], body: String? = nil
    ) throws -> Answer {
        try send(method, target, headers: headers, body: body)
        return try answer()
    }

    func send(_ method: String, _ target: String, headers: [String: String] = [:], body: String? = nil) throws {
        var text = "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        if let body { text += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n" }
        let bytes = Array((text + "\r\n" + (body ?? "")).utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress?.advanced(by: sent), $0.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure("send: \(errno)") }
            sent += count
        }
    }

    func answer() throws -> Answer {
        let head = try head()
        let lines = head.split(separator: "\r\n")
        guard let status = lines.first?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
            throw Failure("status line: \(head)")
        }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].drop { $0 == " " })
        }
        let length = headers["content-length"].flatMap { Int($0) } ?? 0
        while received.count < length { try receive() }
        let body = String(decoding: received.prefix(length), as: UTF8.self)
        received.removeFirst(length)
        return Answer(status: status, headers: headers, body: body)
    }

    private func head() throws -> String {
        let end: [UInt8] = [13, 10, 13, 10]
        var looked = 0
        while true {
            var at = max(0, looked - 3)
            while at + 4 <= received.count {
                if received[at..<at + 4].elementsEqual(end) {
                    let head = String(decoding: received[..<at], as: UTF8.self)
                    received.removeFirst(at + 4)
                    return head
                }
                at += 1
            }
            looked = received.count
            try receive()
        }
    }

    private func receive() throws {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { throw Failure(count == 0 ? "closed" : "receive: \(errno)") }
        received += buffer.prefix(count)
    }
}
