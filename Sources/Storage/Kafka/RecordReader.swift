internal import AffinityCore
internal import AffinityThreads
internal import Synchronization

/// The consumer of a node, and the thread that reads with it: all partitions share it.
///
/// A changelog is fetched from when somebody reads it or waits for its records, and for as long as that goes on;
/// then it is let go, so that a master does not get back what it writes. While it is read in sequence, records are
/// fetched ahead. Every method can be called on any thread; the cursors belong to the thread.
final class RecordReader: Sendable {
    typealias Answer = CheckedContinuation<Result<LogPage, LogError>, Never>

    private enum Message: Sendable {
        case read(ChangelogStream, from: Offset, maxBytes: Int, Answer)
        case end(ChangelogStream, LogError)
        /// librdkafka has records of this changelog, after it had none.
        case arrived(ObjectIdentifier)
    }

    private struct State {
        var messages: [Message] = []
        var isSleeping = false
        var isStopping = false
    }

    private let state = Mutex(State())
    private let wakeUp = Semaphore()
    private let report: Reporter
    /// Called when so much was read of a changelog that librdkafka should look whether it can fetch on.
    private let consumed: @Sendable (KafkaPlace) -> Void

    init(report: @escaping Reporter, consumed: @escaping @Sendable (KafkaPlace) -> Void) {
        self.report = report
        self.consumed = consumed
    }

    // MARK: - Asking

    /// Reads on when there is something, and not before; the place is within the changelog or at its end.
    func read(_ stream: ChangelogStream, from offset: Offset, maxBytes: Int) async throws(LogError) -> LogPage {
        let result = await withCheckedContinuation { answer in
            if !post(.read(stream, from: offset, maxBytes: maxBytes, answer)) {
                answer.resume(returning: .failure(KafkaLog.closedError))
            }
        }
        return try result.get()
    }

    /// Whoever reads the changelog gets `error`.
    func end(_ stream: ChangelogStream, _ error: LogError) { post(.end(stream, error)) }

    /// `run` returns soon; whoever reads gets `closed`.
    func stop() {
        state.withLock { state in
            state.isStopping = true
            state.isSleeping = false
        }
        wakeUp.signal()
    }

    @discardableResult
    private func post(_ message: Message) -> Bool {
        let (isTaken, isAsleep) = state.withLock { state in
            if state.isStopping { return (false, false) }
            state.messages.append(message)
            defer { state.isSleeping = false }
            return (true, state.isSleeping)
        }
        if isAsleep { wakeUp.signal() }
        return isTaken
    }

    // MARK: - The thread

    /// How often cursors are looked at that nothing happens to.
    private static let pause = Duration.milliseconds(250)

    /// Reads until `stop` is called. On the thread that belongs to the reader.
    func run(_ client: KafkaClient) {
        var cursors: [ObjectIdentifier: Cursor] = [:]
        while true {
            let (messages, isStopping) = state.withLock { state in
                defer { state.messages = [] }
                state.isSleeping = state.messages.isEmpty && !state.isStopping
                return (state.messages, state.isStopping)
            }
            for message in messages { take(message, client, &cursors) }
            if isStopping { break }
            if messages.isEmpty {
                if cursors.isEmpty { wakeUp.wait() } else { wakeUp.wait(atMost: Self.pause) }
                look(after: &cursors)
            }
        }
        for cursor in cursors.values { cursor.answer(.failure(KafkaLog.closedError)) }
    }

    private func take(_ message: Message, _ client: KafkaClient, _ cursors: inout [ObjectIdentifier: Cursor]) {
        switch message {
        case .read(let stream, let offset, let maxBytes, let answer):
            // Its end may have come first.
            if let error = stream.closure { return answer.resume(returning: .failure(error)) }
            let cursor = cursor(stream, client, &cursors)
            cursor.answer(.failure(LogError(.io, "\(stream.place): read twice at the same time")))
            cursor.request = Cursor.Request(from: offset, maxBytes: maxBytes, answer: answer)
            cursor.seek(offset)
            cursor.serve()
        case .end(let stream, let error): cursors.removeValue(forKey: ObjectIdentifier(stream))?.answer(.failure(error))
        case .arrived(let id): cursors[id]?.arrived()
        }
    }

    private func cursor(
        _ stream: ChangelogStream, _ client: KafkaClient, _ cursors: inout [ObjectIdentifier: Cursor]
    ) -> Cursor {
        let id = ObjectIdentifier(stream)
        if let cursor = cursors[id] { return cursor }
        let cursor = Cursor(stream, client, consumed: consumed) { [weak self] in self?.post(.arrived(id)) }
        cursors[id] = cursor
        return cursor
    }

    /// Lets go of what nobody reads any more, and reports who cannot go on.
    private func look(after cursors: inout [ObjectIdentifier: Cursor]) {
        let now = ContinuousClock.now
        for (id, cursor) in cursors {
            if cursor.isIdle(now) { cursors[id] = nil }
            guard let offset = cursor.takeStall(now) else { continue }
            report(
                Report(
                    .warning, "an open transaction of another producer keeps records from being read",
                    [
                        ("topic", cursor.stream.place.topic), ("partition", "\(cursor.stream.place.partition)"),
                        ("offset", "\(offset)"),
                    ]))
        }
    }
}
