public import AffinityCore
internal import Synchronization

/// A changelog around another one, with faults where a test wants them.
///
/// Counting is over all partitions, in the order of the calls. Every method can be called on any thread.
public final class FaultyChangeLog: ChangeLog {
    struct State {
        var openCount = 0
        var readCount = 0
        var lookUpCount = 0
        var appendFault: Fault?
        var readFault: (after: Int, error: LogError)?
        var isDelaying = false
        var delayed: [(partition: FaultyPartitionLog, acks: [LogAck])] = []
    }

    struct Fault {
        var after: Int
        var error: LogError
        var isWritten: Bool
    }

    /// What the log behind says of itself.
    public var isExclusive: Bool { base.isExclusive }
    private let base: any ChangeLog
    let state = Mutex(State())

    /// A log that hands everything to `base` until a fault is ordered.
    public init(_ base: any ChangeLog) { self.base = base }

    // MARK: - Faults

    /// Fails one command's append, and every later one of its partition until that is opened anew.
    ///
    /// - Parameters:
    ///   - count: how many appends still succeed before it.
    ///   - error: what its records are failed with.
    ///   - isWritten: whether the records enter the log nevertheless: the writer hears of a failure, readers see them.
    public func failAppend(after count: Int = 0, with error: LogError, isWritten: Bool = false) {
        state.withLock { $0.appendFault = Fault(after: count, error: error, isWritten: isWritten) }
    }

    /// Fails one read, after `count` that succeed.
    public func failRead(after count: Int = 0, with error: LogError) {
        state.withLock { $0.readFault = (count, error) }
    }

    /// Whether acknowledgements are kept back until `releaseAcknowledgements`; setting it to `false` releases them.
    public var delaysAcknowledgements: Bool {
        get { state.withLock { $0.isDelaying } }
        set {
            state.withLock { $0.isDelaying = newValue }
            if !newValue { releaseAcknowledgements() }
        }
    }

    /// Hands over the oldest `count` batches of acknowledgements that were kept back.
    public func releaseAcknowledgements(_ count: Int = .max) {
        let released = state.withLock { state in
            let released = Array(state.delayed.prefix(count))
            state.delayed.removeFirst(released.count)
            return released
        }
        for batch in released {
            batch.partition.gate.executor.post { batch.partition.gate.deliver(batch.acks) }
        }
    }

    /// How often a partition was opened.
    public var openCount: Int { state.withLock { $0.openCount } }

    /// How often a page was asked for.
    public var readCount: Int { state.withLock { $0.readCount } }

    /// How often somebody has asked where a changelog ends, or begins and ends, and waited for the answer.
    public var lookUpCount: Int { state.withLock { $0.lookUpCount } }

    // MARK: - ChangeLog

    /// Opens the partition in the log behind.
    public func open(
        _ partition: PartitionID, changelogs: [ChangeLogDeclaration], executor: any EventExecutor,
        acknowledge: @escaping @Sendable ([LogAck]) -> Void
    ) async throws(LogError) -> any PartitionLog {
        state.withLock { $0.openCount += 1 }
        let opened = FaultyPartitionLog(self, AckGate(executor: executor, acknowledge: acknowledge))
        opened.base = try await base.open(partition, changelogs: changelogs, executor: executor) {
            // Weak: the log behind belongs to `opened`, and holds this closure.
            [weak opened] acks in opened?.receive(acks)
        }
        return opened
    }

    /// The fault that this append has to suffer.
    func takeAppendFault() -> Fault? {
        state.withLock { state in
            guard let fault = state.appendFault else { return nil }
            state.appendFault = nil
            if fault.after == 0 { return fault }
            state.appendFault = Fault(after: fault.after - 1, error: fault.error, isWritten: fault.isWritten)
            return nil
        }
    }

    func takeReadFault() -> LogError? {
        state.withLock { state in
            guard let fault = state.readFault else { return nil }
            state.readFault = fault.after == 0 ? nil : (fault.after - 1, fault.error)
            return fault.after == 0 ? fault.error : nil
        }
    }
}

/// A partition of a `FaultyChangeLog`.
final class FaultyPartitionLog: PartitionLog {
    private struct State {
        var base: (any PartitionLog)?
        var failure: LogError?
        /// Records with the log behind on which it has not spoken yet.
        var outstanding = 0
        /// How many of these, the oldest, get the word as it comes; the others are failed.
        var passing = 0
        /// Failures that wait for the word on `outstanding`, so that the order is kept.
        var failures: [LogAck] = []
    }

    let gate: AckGate
    private let log: FaultyChangeLog
    private let state = Mutex(State())

    init(_ log: FaultyChangeLog, _ gate: AckGate) {
        self.log = log
        self.gate = gate
    }

    /// The partition of the log behind; set once, before anybody else has this object.
    var base: any PartitionLog {
        get {
            guard let base = state.withLock({ $0.base }) else { preconditionFailure("used before it was opened") }
            return base
        }
        set { state.withLock { $0.base = newValue } }
    }

    func append(_ records: [OutgoingRecord]) {
        let fault = log.takeAppendFault()
        let former = state.withLock { state in
            let former = state.failure
            if former == nil { state.failure = fault?.error }
            if former == nil && fault == nil { state.passing += records.count }
            if former == nil && fault?.isWritten != false { state.outstanding += records.count }
            return former
        }
        if former == nil && fault == nil {
            base.append(records)
        } else if former == nil, let fault, fault.isWritten {
            // The word on these comes from the log behind and is turned into the failure in `receive`.
            base.append(records)
        } else if let error = former ?? fault?.error {
            hand(records.map { LogAck(changelog: $0.changelog, result: .failure(error)) })
        }
    }

    func receive(_ acks: [LogAck]) {
        let seen = state.withLock { state in
            var seen = acks.map { ack in
                state.outstanding -= 1
                if state.passing > 0 {
                    state.passing -= 1
                    return ack
                }
                guard let failure = state.failure else { return ack }
                return LogAck(changelog: ack.changelog, result: .failure(failure))
            }
            if state.outstanding == 0 {
                seen += state.failures
                state.failures = []
            }
            return seen
        }
        let isDelayed = log.state.withLock { state in
            guard state.isDelaying || state.delayed.contains(where: { $0.partition === self }) else { return false }
            state.delayed.append((self, seen))
            return true
        }
        if !isDelayed { gate.deliver(seen) }
    }

    /// Hands over acknowledgements that the log behind knows nothing of.
    private func hand(_ acks: [LogAck]) {
        let isQueued = state.withLock { state in
            guard state.outstanding > 0 else { return false }
            state.failures += acks
            return true
        }
        if isQueued { return }
        let isDelayed = log.state.withLock { state in
            guard state.isDelaying else { return false }
            state.delayed.append((self, acks))
            return true
        }
        if !isDelayed { gate.executor.post { [gate] in gate.deliver(acks) } }
    }

    func bounds(_ changelog: Int) async throws(LogError) -> Range<Offset> {
        log.state.withLock { $0.lookUpCount += 1 }
        return try await base.bounds(changelog)
    }

    func findEnd(_ changelog: Int) async throws(LogError) -> Offset {
        log.state.withLock { $0.lookUpCount += 1 }
        return try await base.findEnd(changelog)
    }

    func read(_ changelog: Int, from offset: Offset, maxBytes: Int) async throws(LogError) -> LogPage {
        log.state.withLock { $0.readCount += 1 }
        if let error = log.takeReadFault() { throw error }
        return try await base.read(changelog, from: offset, maxBytes: maxBytes)
    }

    func end(_ changelog: Int) -> Offset { base.end(changelog) }

    func endSeen(_ changelog: Int) -> MonotonicTime { base.endSeen(changelog) }

    func waitForRecords(_ changelog: Int, beyond offset: Offset) async throws(LogError) {
        try await base.waitForRecords(changelog, beyond: offset)
    }

    func close() async {
        gate.end()
        log.state.withLock { state in state.delayed.removeAll { $0.partition === self } }
        await base.close()
    }
}
