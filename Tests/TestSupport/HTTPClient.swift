import Glibc

/// An HTTP client that sends the bytes it is told to, and reads answers: one connection, blocking.
package final class HTTPClient {
    private let descriptor: Int32
    private var received: [UInt8] = []
    private var start = 0

    /// Connects to the loopback; no call waits longer than `timeout` seconds for the other side.
    package init(port: Int, timeout: Int = 60, receiveBuffer: Int32? = nil) throws {
        // Not for the programs that other tests start meanwhile.
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        var noDelay: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &noDelay, socklen_t(MemoryLayout<Int32>.size))
        if var receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafeBytes(of: &address) {
            connect(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
        guard result == 0 else { throw Failure("connect: \(String(cString: strerror(errno)))") }
    }

    deinit { close(descriptor) }

    // MARK: - Requests

    /// Sends a request and gives its answer.
    package func ask(
        _ method: String, _ target: String, _ headers: [(String, String)] = [], body: String? = nil
    ) throws -> Answer {
        try ask(method, target, headers, bytes: body.map { Array($0.utf8) })
    }

    /// Sends a request, its body as JSON, and gives its answer.
    package func ask(
        _ method: String, _ target: String, _ headers: [(String, String)] = [], json: String?
    ) throws -> Answer {
        let type = json == nil ? [] : [("Content-Type", "application/json")]
        return try ask(method, target, headers + type, body: json)
    }

    /// Sends a request and gives its answer.
    package func ask(
        _ method: String, _ target: String, _ headers: [(String, String)] = [], bytes: [UInt8]?
    ) throws -> Answer {
        try send(Self.request(method, Array(target.utf8), headers, bytes))
        return try answer(toHead: method == "HEAD")
    }

    /// Sends a request that is written out and gives its answer.
    package func ask(_ text: String) throws -> Answer {
        try send(text)
        return try answer()
    }

    /// The bytes of a request.
    package static func request(
        _ method: String, _ target: [UInt8], _ headers: [(String, String)] = [], _ body: [UInt8]? = nil
    ) -> [UInt8] {
        var head = "HTTP/1.1\r\n"
        if !headers.contains(where: { $0.0.lowercased() == "host" }) { head += "Host: localhost\r\n" }
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if let body { head += "Content-Length: \(body.count)\r\n" }
        return Array("\(method) ".utf8) + target + Array(" \(head)\r\n".utf8) + (body ?? [])
    }

    package func send(_ text: String) throws { try send(Array(text.utf8)) }

    package func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress?.advanced(by: sent), $0.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure("send: \(errno)") }
            sent += count
        }
    }

    /// Sends as much as the other side takes at once, and gives how much that was.
    package func sendWithoutWaiting(_ bytes: [UInt8]) -> Int {
        let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
        return bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, flags) }
    }

    /// Has the end of this be a reset.
    package func resetAtEnd() {
        var now = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
    }

    /// Tells the other side that nothing more comes.
    package func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// From now on nothing that comes is taken, or acknowledged: as if the machine were gone.
    package func vanish() throws {
        // Of linux/filter.h: a program of one instruction, which takes no byte of a packet.
        struct Instruction { var code: UInt16 = 0x06, ifTrue: UInt8 = 0, ifFalse: UInt8 = 0, value: UInt32 = 0 }
        struct Program { var count: UInt16, instructions: UnsafeMutablePointer<Instruction> }
        var drop = Instruction()
        let result = withUnsafeMutablePointer(to: &drop) { drop in
            var program = Program(count: 1, instructions: drop)
            return setsockopt(
                descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, socklen_t(MemoryLayout<Program>.size))
        }
        guard result == 0 else { throw Failure("SO_ATTACH_FILTER: \(errno)") }
    }

    // MARK: - Answers

    /// The next answer. A `HEAD`'s has no body; those of 100 can be passed over.
    package func answer(toHead: Bool = false, passingContinue: Bool = false) throws -> Answer {
        var answer = try Answer(head: try readThrough("\r\n\r\n"))
        if answer.status == 100, passingContinue { return try self.answer(toHead: toHead, passingContinue: true) }
        guard let length = answer["Content-Length"].flatMap({ Int($0) }), !toHead else { return answer }
        while received.count - start < length {
            guard try receive() else { throw Failure("the body ended early") }
        }
        answer.body = Array(received[start..<(start + length)])
        start += length
        return answer
    }

    /// Whether there is something to be read, or the other side's end, within that many milliseconds.
    package func hasInput(within milliseconds: Int32) throws -> Bool {
        if received.count > start { return true }
        var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&poller, 1, milliseconds) > 0
    }

    /// Whether the other side takes something within that many milliseconds.
    package func canSend(within milliseconds: Int32) throws -> Bool {
        var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        return poll(&poller, 1, milliseconds) > 0
    }

    /// Whether the other side closes in an orderly way without sending anything more.
    package func isAtEnd() throws -> Bool {
        guard received.count == start else { return false }
        return try !receive()
    }

    /// Whatever still comes until the other side closes or resets; `nil` if it does neither in time.
    package func rest() -> [UInt8]? {
        do {
            while try receive() {}
        } catch let failure as Failure where failure.description == "receive: \(ECONNRESET)" {
        } catch {
            return nil
        }
        defer { start = received.count }
        return Array(received[start...])
    }

    /// Exactly so many bytes.
    package func bytes(_ count: Int) throws -> [UInt8] {
        while received.count - start < count {
            guard try receive() else { throw Failure("the end, \(count - received.count + start) bytes early") }
        }
        defer {
            start += count
            if start > 1 << 20 {
                received.removeFirst(start)
                start = 0
            }
        }
        return Array(received[start..<(start + count)])
    }

    /// A body in chunks, to its end.
    package func chunks() throws -> [[UInt8]] {
        var chunks: [[UInt8]] = []
        while let chunk = try chunk() { chunks.append(chunk) }
        return chunks
    }

    /// The next chunk of a body; `nil` for the last.
    package func chunk() throws -> [UInt8]? {
        guard let count = Int(try readThrough("\r\n"), radix: 16) else { throw Failure("no size of a chunk") }
        let chunk = try bytes(count)
        guard try bytes(2) == [13, 10] else { throw Failure("a chunk without its end") }
        return count == 0 ? nil : chunk
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
                throw Failure("end after: \(String(decoding: received[start...], as: UTF8.self))")
            }
        }
    }

    /// False at the end.
    private func receive() throws -> Bool {
        let size = 64 * 1024
        var buffer = [UInt8](repeating: 0, count: size)
        let count = buffer.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
        guard count >= 0 else { throw Failure("receive: \(errno)") }
        received += buffer.prefix(count)
        return count > 0
    }
}

extension HTTPClient {
    /// An answer as it came.
    package struct Answer: CustomStringConvertible {
        package var status: Int
        package var headers: [(name: String, value: String)]
        package var body: [UInt8] = []

        init(head: String) throws {
            let lines = head.split(separator: "\r\n")
            let parts = lines.first?.split(separator: " ", maxSplits: 2) ?? []
            guard parts.count >= 2, parts[0] == "HTTP/1.1", let status = Int(parts[1]) else {
                throw Failure("status line: \(head)")
            }
            self.status = status
            headers = try lines.dropFirst().map { line in
                guard let colon = line.firstRange(of: ": ") else { throw Failure("header: \(line)") }
                return (name: String(line[..<colon.lowerBound]), value: String(line[colon.upperBound...]))
            }
        }

        /// The values of a header, one a field.
        package func all(_ name: String) -> [String] {
            headers.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
        }

        /// The value of a header that comes once.
        package subscript(name: String) -> String? {
            let values = all(name)
            return values.count == 1 ? values[0] : nil
        }

        package var text: String { String(decoding: body, as: UTF8.self) }
        package var etag: String? { self["ETag"] }
        package var position: String? { self["Affinity-Position"] }
        /// What the `ETag` says: a positive number in quotes.
        package var version: UInt64? {
            guard let etag, etag.hasPrefix("\""), etag.hasSuffix("\""), etag.count > 2 else { return nil }
            return UInt64(etag.dropFirst().dropLast())
        }
        package var description: String { "\(status) \(headers) \(text.prefix(400))" }
    }
}
