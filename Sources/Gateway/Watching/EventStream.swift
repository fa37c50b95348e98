internal import AffinityCore
internal import AffinityNet

/// A connection on which a client is told what it watches as Server-Sent Events.
///
/// Confined to the loop of its connection, and unchecked for that reason.
final class EventStream: WatchClient, @unchecked Sendable {
    private let stream: HTTPBodyStream
    private let clock: any NodeClock
    private let heartbeat: Duration
    private var isOver = false
    private var lastSent = MonotonicTime.notYet
    private var waiter: UnsafeContinuation<Void, Never>?

    /// So that the events are handed through at once by whatever stands between.
    static let headers = [
        (name: "Content-Type", value: "text/event-stream"), (name: "Cache-Control", value: "no-store"),
        (name: "X-Accel-Buffering", value: "no"),
    ]

    init(_ stream: HTTPBodyStream, clock: any NodeClock, heartbeat: Duration) {
        self.stream = stream
        self.clock = clock
        self.heartbeat = heartbeat
        // At once, because the client only knows from the first bytes that it is connected.
        send(Array("retry: 1000\n\n".utf8))
        beat()
    }

    // MARK: - Telling

    var isOpen: Bool { stream.isOpen && !isOver }
    var unsent: Int { stream.unsent }

    func tell(_ change: Change, _ texts: WatchTexts) throws { send(try texts.event(change)) }

    func tell(_ text: [UInt8]) { send(Self.event(id: nil, text)) }

    /// An event without data only says where to resume.
    func mark(_ token: WatchToken) { send(Array("id: \(token)\n\n".utf8)) }

    func whenBelow(_ count: Int, _ body: @escaping @Sendable () -> Void) {
        stream.loop.start { if await self.stream.drained(below: count) { body() } }
    }

    /// There is no word for why: the client comes again, and resumes.
    func end(_ code: WebSocketCloseCode, _ reason: String) { finish() }

    private func send(_ bytes: [UInt8]) {
        lastSent = clock.monotonic
        stream.send(bytes)
    }

    /// Says something now and then, so that nobody takes the silence for the end: a comment, when nothing else was said.
    private func beat() {
        guard isOpen else { return }
        let now = clock.monotonic
        if now.since(lastSent) >= heartbeat { send(Array(":\n\n".utf8)) }
        stream.loop.schedule(at: lastSent.advanced(by: heartbeat)) { [weak self] in self?.beat() }
    }

    // MARK: - Its end

    /// Returns when the client has gone, the server drains, or it was told to end.
    nonisolated(nonsending) func ended() async {
        let loop = stream.loop
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                if isOver { continuation.resume() } else { waiter = continuation }
            }
        } onCancel: {
            loop.post { self.finish() }
        }
    }

    private func finish() {
        isOver = true
        waiter.take()?.resume()
    }

    // MARK: - Events

    /// An event whose data is `text`: a line of it for each line of the text, as the format wants it.
    static func event(id: String?, _ text: [UInt8]) -> [UInt8] {
        var event = id.map { Array("id: \($0)\n".utf8) } ?? []
        event.reserveCapacity(event.count + text.count + 16)
        let isOneLine = text.allSatisfy { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        for line in isOneLine ? [text[...]] : lines(of: text) {
            event += "data: ".utf8
            event += line
            event.append(UInt8(ascii: "\n"))
        }
        event.append(UInt8(ascii: "\n"))
        return event
    }

    /// The lines of a text that ends them with CR, LF, or both.
    private static func lines(of text: [UInt8]) -> [ArraySlice<UInt8>] {
        var lines: [ArraySlice<UInt8>] = []
        var rest = text[...]
        while let end = rest.firstIndex(where: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }) {
            lines.append(rest[..<end])
            let isPair = rest[end...].starts(with: "\r\n".utf8)
            rest = rest[(end + (isPair ? 2 : 1))...]
        }
        return lines + [rest]
    }
}
