import Glibc

/// A connection for one request, HTTP/1.1 without TLS, which blocks its thread while it waits.
///
/// Foundation's `URLSession` keeps a processor busy for as long as an answer takes, and does not say whether a request
/// that failed had been sent; the tool has to know, because that decides between *try again* and *unknown*. `AffinityNet`
/// parses HTTP for servers only: of clients it has TCP streams and WebSockets (`affinity watch` is one).
final class HTTPConnection {
    /// What went wrong on the way.
    struct Trouble: Error {
        /// Whether the other side may have got the request.
        let mayHaveArrived: Bool
        let text: String
    }

    /// The status and the headers of an answer.
    struct Head {
        let status: Int
        let headers: [(name: String, value: String)]

        /// The first header of that name; names in lower case.
        subscript(name: String) -> String? { headers.first { $0.name == name }?.value }
    }

    private enum Framing { case length(Int), chunks, untilEnd, over }

    private let socket: Int32
    private let deadline: ContinuousClock.Instant?
    private var isSent = false
    private var received: [UInt8] = []
    private var framing = Framing.over

    /// The longest line or header section that is taken.
    private static let headMax = 64 << 10

    /// Connects.
    ///
    /// - Parameters:
    ///   - within: for connecting, and for all that comes after it.
    ///   - isEndless: whether only connecting has to come about in that time.
    init(to address: ServerAddress, within limit: Duration, isEndless: Bool = false) throws(Trouble) {
        let end = ContinuousClock.now + limit
        socket = try Self.connect(address, before: end)
        deadline = isEndless ? nil : end
    }

    deinit { close(socket) }

    // MARK: - Asking

    /// Sends a request and waits for the head of its answer.
    func ask(
        _ address: ServerAddress, _ method: String, _ path: String, _ headers: [(name: String, value: String)],
        body: [UInt8]?
    ) throws(Trouble) -> Head {
        var text = "\(method) \(address.base)\(path) HTTP/1.1\r\nHost: \(address.authority)\r\nConnection: close\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        if let body { text += "Content-Length: \(body.count)\r\n" }
        try send(Array((text + "\r\n").utf8) + (body ?? []))
        let head = try readHead()
        if method == "HEAD" || head.status == 204 || head.status == 304 {
            framing = .over
        } else if head["transfer-encoding"]?.lowercased().hasSuffix("chunked") == true {
            framing = .chunks
        } else if let length = head["content-length"] {
            guard let length = Int(length), length >= 0 else { throw trouble("the answer's length is no number") }
            framing = .length(length)
        } else {
            framing = .untilEnd
        }
        return head
    }

    /// The next part of the answer's body, as it comes; `nil` at its end.
    func bodyPart() throws(Trouble) -> [UInt8]? {
        switch framing {
        case .over: return nil
        case .length(let rest):
            if rest == 0 { return nil }
            if received.isEmpty, try !receive() { throw trouble("the answer breaks off") }
            let part = Array(received.prefix(rest))
            received.removeFirst(part.count)
            framing = .length(rest - part.count)
            return part
        case .chunks: return try chunk()
        case .untilEnd:
            if received.isEmpty, try !receive() { return nil }
            defer { received = [] }
            return received
        }
    }

    /// The whole body, if it is no longer than `limit`.
    func body(atMost limit: Int) throws(Trouble) -> [UInt8] {
        var all: [UInt8] = []
        while let part = try bodyPart() {
            all += part
            if all.count > limit { throw trouble("the answer is longer than \(limit) bytes") }
        }
        return all
    }

    // MARK: - Reading

    private func readHead() throws(Trouble) -> Head {
        let first = try line().split(separator: " ", maxSplits: 2)
        guard first.count >= 2, first[0].hasPrefix("HTTP/1."), let status = Int(first[1]) else {
            throw trouble("what answers does not speak HTTP")
        }
        var headers: [(name: String, value: String)] = []
        var size = 0
        while true {
            let line = try line()
            if line.isEmpty { return Head(status: status, headers: headers) }
            size += line.utf8.count
            guard size <= Self.headMax, let colon = line.firstIndex(of: ":") else {
                throw trouble("the answer's headers cannot be read")
            }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            headers.append((line[..<colon].lowercased(), String(value)))
        }
    }

    private func chunk() throws(Trouble) -> [UInt8]? {
        guard let size = Int(try line().prefix { $0 != ";" }, radix: 16), size >= 0, size <= 64 << 20 else {
            throw trouble("the answer's chunks cannot be read")
        }
        if size == 0 {
            while try !line().isEmpty {}
            framing = .over
            return nil
        }
        while received.count < size {
            if try !receive() { throw trouble("the answer breaks off") }
        }
        let part = Array(received.prefix(size))
        received.removeFirst(size)
        guard try line().isEmpty else { throw trouble("the answer's chunks cannot be read") }
        return part
    }

    private func line() throws(Trouble) -> String {
        while true {
            if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
                var line = received[..<end]
                if line.last == UInt8(ascii: "\r") { line.removeLast() }
                defer { received.removeFirst(end + 1) }
                return String(decoding: line, as: UTF8.self)
            }
            guard received.count <= Self.headMax else { throw trouble("a line of the answer is too long") }
            guard try receive() else { throw trouble("the connection was closed without an answer") }
        }
    }

    /// Takes what comes; false at the end.
    private func receive() throws(Trouble) -> Bool {
        try wait(for: Int16(POLLIN))
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(socket, &buffer, buffer.count, 0)
        if count < 0 {
            if errno == EINTR { return try receive() }
            throw trouble(Self.text(errno))
        }
        received += buffer[..<count]
        return count > 0
    }

    // MARK: - Sending

    private func send(_ bytes: [UInt8]) throws(Trouble) {
        var sent = 0
        while sent < bytes.count {
            try wait(for: Int16(POLLOUT))
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0 && errno != EINTR && errno != EAGAIN { throw trouble(Self.text(errno)) }
            if count > 0 {
                isSent = true
                sent += count
            }
        }
    }

    private func wait(for events: Int16) throws(Trouble) {
        guard try Self.wait(socket, for: events, until: deadline) else { throw trouble("no answer in time") }
    }

    private func trouble(_ text: String) -> Trouble { Trouble(mayHaveArrived: isSent, text: text) }

    // MARK: - Connecting

    private static func connect(
        _ address: ServerAddress, before end: ContinuousClock.Instant
    ) throws(Trouble) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(address.host, "\(address.port)", &hints, &list)
        guard code == 0 else { throw Trouble(mayHaveArrived: false, text: String(cString: gai_strerror(code))) }
        defer { freeaddrinfo(list) }
        var last = Trouble(mayHaveArrived: false, text: "there is no such address")
        var next = list
        while let place = next?.pointee {
            next = place.ai_next
            do {
                return try connect(place, before: end)
            } catch {
                last = error
            }
        }
        throw last
    }

    private static func connect(
        _ place: addrinfo, before end: ContinuousClock.Instant
    ) throws(Trouble) -> Int32 {
        let type = place.ai_socktype | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = Glibc.socket(place.ai_family, type, place.ai_protocol)
        guard descriptor >= 0 else { throw Trouble(mayHaveArrived: false, text: text(errno)) }
        do throws(Trouble) {
            if Glibc.connect(descriptor, place.ai_addr, place.ai_addrlen) != 0 {
                guard errno == EINPROGRESS else { throw Trouble(mayHaveArrived: false, text: text(errno)) }
                guard try wait(descriptor, for: Int16(POLLOUT), until: end) else {
                    throw Trouble(mayHaveArrived: false, text: "no connection in time")
                }
                var error: Int32 = 0
                var size = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size)
                guard error == 0 else { throw Trouble(mayHaveArrived: false, text: text(error)) }
            }
            return descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// False if the time is over first; `nil` waits for ever.
    private static func wait(
        _ descriptor: Int32, for events: Int16, until end: ContinuousClock.Instant?
    ) throws(Trouble) -> Bool {
        while true {
            var milliseconds: Int32 = -1
            if let end {
                let (seconds, attoseconds) = max(.zero, end - .now).components
                milliseconds = Int32(clamping: seconds * 1_000 + attoseconds / 1_000_000_000_000_000 + 1)
            }
            var waiting = pollfd(fd: descriptor, events: events, revents: 0)
            let count = poll(&waiting, 1, milliseconds)
            if count > 0 { return true }
            if count == 0 { return false }
            guard errno == EINTR else { throw Trouble(mayHaveArrived: true, text: text(errno)) }
        }
    }

    private static func text(_ code: Int32) -> String { String(cString: strerror(code)) }
}
