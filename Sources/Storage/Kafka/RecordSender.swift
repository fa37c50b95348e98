internal import AffinityCore
internal import AffinityThreads
internal import Synchronization

/// The producer of a node, and the thread that takes its reports: all partitions share it.
///
/// A record goes with a token: which changelog of which use it is for, and its number there. Reports are handed to
/// their uses in batches, and posted once an executor. When librdkafka has no room, records wait in their uses, in
/// order, until reports have made some. After a fatal error every use fails, and the log makes another sender.
final class RecordSender: Sendable {
    /// One changelog of one use.
    private struct Target {
        var use: KafkaPartitionLog
        var changelog: Int
    }

    private struct State {
        var targets: [UInt32: Target] = [:]
        var lastTarget: UInt32 = 0
        /// Uses that wait for room.
        var blocked: [KafkaPartitionLog] = []
        var failure: LogError?
    }

    let client: KafkaClient
    private let queue: KafkaQueue
    private let state = Mutex(State())
    private let isStopping = Atomic(false)
    private let report: Reporter

    init(_ client: KafkaClient, report: @escaping Reporter) throws(LogError) {
        self.client = client
        self.report = report
        queue = try KafkaQueue(mainOf: client)
    }

    /// Why nothing can be written with this sender any more; `nil` if it can.
    ///
    /// librdkafka knows it before its thread has said so.
    var failure: LogError? { state.withLock { $0.failure } ?? client.fatalError }

    // MARK: - Targets

    /// Makes the changelogs of a use known; gives what their tokens begin with.
    func register(_ use: KafkaPartitionLog, changelogs: Int) throws(LogError) -> [UInt64] {
        let prefixes: Result<[UInt64], LogError> = state.withLock { state in
            if let failure = state.failure { return .failure(failure) }
            return .success(
                (0..<changelogs).map { changelog in
                    repeat {
                        state.lastTarget = (state.lastTarget + 1) & Self.targetMask
                    } while state.lastTarget == 0 || state.targets[state.lastTarget] != nil
                    state.targets[state.lastTarget] = Target(use: use, changelog: changelog)
                    return UInt64(state.lastTarget) << Self.numberBits
                })
        }
        return try prefixes.get()
    }

    /// Forgets a use that has ended: reports on its records find nobody.
    func unregister(_ prefixes: [UInt64]) {
        state.withLock { state in
            for prefix in prefixes { state.targets[UInt32(truncatingIfNeeded: prefix >> Self.numberBits)] = nil }
        }
    }

    private static let numberBits: UInt64 = 40
    private static let targetMask: UInt32 = (1 << 24) - 1
    /// What of a token is the record's number in its changelog and use.
    static let numberMask: UInt64 = (1 << numberBits) - 1

    // MARK: - Room

    /// Calls the use again when librdkafka may have room.
    func waitForRoom(_ use: KafkaPartitionLog) {
        state.withLock { $0.blocked.append(use) }
        // If the last report was taken before the use stood in the list, nobody else would look into it.
        if client.outstanding == 0 { releaseBlocked() }
    }

    private func releaseBlocked() {
        let blocked = state.withLock { state in
            defer { state.blocked = [] }
            return state.blocked
        }
        for use in blocked { use.handOverSoon() }
    }

    // MARK: - The thread

    /// `run` returns soon.
    func stop() {
        isStopping.store(true, ordering: .releasing)
        queue.wakeUp()
    }

    /// Takes reports until `stop` is called. On the thread that belongs to the sender.
    func run() {
        while !isStopping.load(ordering: .acquiring) {
            let news = client.awaitNews(queue, atMost: .seconds(1))
            if !news.reports.isEmpty { hand(out: news.reports) }
            if news.isFatal { fail(client.fatalError ?? LogError(.io, "the Kafka producer has failed for good")) }
            releaseBlocked()
        }
    }

    /// Posts the reports: one closure an executor, one batch a use.
    private func hand(out reports: [DeliveryReport]) {
        var batches: [(use: KafkaPartitionLog, reports: [KafkaPartitionLog.Word])] = []
        var places: [ObjectIdentifier: Int] = [:]
        state.withLock { state in
            for report in reports {
                guard let target = state.targets[UInt32(truncatingIfNeeded: report.token >> Self.numberBits)] else {
                    continue
                }
                let place = places[ObjectIdentifier(target.use), default: batches.count]
                if place == batches.count {
                    places[ObjectIdentifier(target.use)] = place
                    batches.append((target.use, []))
                }
                batches[place].reports.append(
                    KafkaPartitionLog.Word(
                        changelog: target.changelog, number: report.token & Self.numberMask, result: report.result))
            }
        }
        AckGate.post(batches, gate: { $0.use.gate }) { $0.use.deliver($0.reports) }
    }

    /// Every use fails; what librdkafka still says is ignored. On any thread, and again without effect.
    func fail(_ error: LogError) {
        let uses = state.withLock { state in
            if state.failure == nil { state.failure = error }
            defer { state.targets = [:] }
            return state.targets.values.map(\.use)
        }
        if uses.isEmpty { return }
        report(Report(.error, "the Kafka producer has failed and is replaced", [("reason", error.reason)]))
        for use in uses { use.abandon(error) }
        client.purge()
    }
}
