internal import AffinityCore
internal import Synchronization

/// One use of a partition of an `InMemoryChangeLog`: from its opening to its closing, or to the next opening.
///
/// Locks are taken in the order log, use; nothing is called while one is held.
final class InMemoryPartitionLog: PartitionLog {
    private struct State {
        var failure: LogError?
        var isClosed = false
        /// Acknowledgements that the next turn of the executor hands over.
        var acks: [LogAck] = []
    }

    private let log: InMemoryChangeLog
    private let key: InMemoryChangeLog.UseKey
    private var partition: PartitionID { key.partition }
    private let names: [String]
    private let gate: AckGate
    private let waiters: [RecordWaiters]
    private let state = Mutex(State())

    init(_ log: InMemoryChangeLog, _ key: InMemoryChangeLog.UseKey, names: [String], ends: [Offset], gate: AckGate) {
        self.log = log
        self.key = key
        self.names = names
        self.gate = gate
        waiters = ends.map { RecordWaiters(end: $0) }
    }

    // MARK: - PartitionLog

    func append(_ records: [OutgoingRecord]) {
        let isHeld = log.state.withLock { state in
            guard state.isHolding else { return false }
            state.held.append((self, records))
            return true
        }
        if !isHeld { write(records) }
    }

    func bounds(_ changelog: Int) async throws(LogError) -> Range<Offset> {
        let contents = try contents(changelog)
        return contents.first..<contents.end
    }

    func end(_ changelog: Int) -> Offset {
        log.state.withLock { $0.contents[partition]?[names[changelog]]?.end } ?? .zero
    }

    func read(_ changelog: Int, from offset: Offset, maxBytes: Int) async throws(LogError) -> LogPage {
        let contents = try contents(changelog)
        guard offset >= contents.first && offset <= contents.end else {
            throw LogError(
                .outOfRange,
                "\(partition) \(names[changelog]): offset \(offset) is not in \(contents.first)...\(contents.end)")
        }
        var page = LogPage(
            records: [], next: contents.end, end: contents.end, forgotten: log.tellsForgotten ? contents.forgotten : nil
        )
        var bytes = 0
        var index = contents.records.firstIndex { $0.offset >= offset } ?? contents.records.endIndex
        while index < contents.records.endIndex {
            let record = contents.records[index]
            if bytes >= maxBytes && !page.records.isEmpty {
                page.next = page.records[page.records.endIndex - 1].offset.next
                break
            }
            bytes += record.record.key.count + (record.record.value?.count ?? 0)
            page.records.append(record)
            index += 1
        }
        return page
    }

    func waitForRecords(_ changelog: Int, beyond offset: Offset) async throws(LogError) {
        try await waiters[changelog].wait(beyond: offset)
    }

    func close() async {
        state.withLock { $0.isClosed = true }
        gate.end()
        for waiter in waiters { waiter.close(closedError) }
        log.state.withLock { state in
            if state.uses[key]?.log === self { state.uses[key] = nil }
        }
    }

    // MARK: - For the log

    /// Puts the records of a command into the log, and acknowledges them or, with `error`, fails them all the same.
    func write(_ records: [OutgoingRecord], failingWith error: LogError? = nil) {
        if let failure = failure {
            fail(records, failure)
            return
        }
        let appended = log.clock.now
        var acks: [LogAck] = []
        var ends: [Int: Offset] = [:]
        log.state.withLock { state in
            for outgoing in records {
                let name = names[outgoing.changelog]
                var contents = state.contents[partition]?.removeValue(forKey: name) ?? InMemoryChangeLog.Contents()
                let offset = contents.end
                contents.records.append(LoggedRecord(offset: offset, appended: appended, record: outgoing.record))
                contents.end = offset.next
                ends[outgoing.changelog] = contents.end
                state.contents[partition, default: [:]][name] = contents
                acks.append(
                    LogAck(changelog: outgoing.changelog, result: error.map { .failure($0) } ?? .success(offset)))
            }
        }
        if let error { state.withLock { $0.failure = error } }
        post(acks)
        for use in log.state.withLock({ $0.uses(of: partition) }) {
            for (changelog, end) in ends { use.advance(names[changelog], to: end) }
        }
    }

    /// Fails the records of a command, and all that come after it.
    func fail(_ records: [OutgoingRecord], _ error: LogError) {
        state.withLock { if $0.failure == nil { $0.failure = error } }
        post(records.map { LogAck(changelog: $0.changelog, result: .failure(error)) })
    }

    func advance(_ changelog: String, to end: Offset) {
        if let index = names.firstIndex(of: changelog) { waiters[index].advance(to: end) }
    }

    // MARK: - Private

    private var closedError: LogError { LogError(.closed, "the log of \(partition) was closed") }

    private var failure: LogError? {
        state.withLock { $0.isClosed ? closedError : $0.failure }
    }

    private func contents(_ changelog: Int) throws(LogError) -> InMemoryChangeLog.Contents {
        if state.withLock({ $0.isClosed }) { throw closedError }
        return log.state.withLock { $0.contents[partition]?[names[changelog]] } ?? InMemoryChangeLog.Contents()
    }

    /// Posts once for all acknowledgements of a turn of the executor.
    private func post(_ acks: [LogAck]) {
        if acks.isEmpty { return }
        let isFirst = state.withLock { state in
            state.acks += acks
            return state.acks.count == acks.count
        }
        guard isFirst else { return }
        gate.executor.post { [self] in
            let batch = state.withLock { state in
                defer { state.acks = [] }
                return state.acks
            }
            gate.deliver(batch)
        }
    }
}
