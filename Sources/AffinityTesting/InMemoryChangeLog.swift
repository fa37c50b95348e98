public import AffinityCore
internal import Synchronization

/// A changelog in memory, for tests: it keeps every contract of a real one and does nothing by itself.
///
/// Opening a partition again on the same object is a restart: the records are there, the former use ends.
/// Acknowledgements are posted on the partition's executor, one batch a turn; with `holdsAcknowledgements` they wait
/// for `acknowledge` or `fail`. A record is in the log, and readable, from the moment that decides on it. Compaction
/// happens when `compact` is called. Every method can be called on any thread.
public final class InMemoryChangeLog: ChangeLog {
    /// One changelog of one partition.
    struct Contents {
        var records: [LoggedRecord] = []
        var first = Offset.zero
        /// The end for readers; behind it stand only held records.
        var end = Offset.zero
        /// Behind the last removal that compaction has forgotten.
        var forgotten = Offset.zero
    }

    /// Weak, because a use holds its log: a test may leave both without closing them.
    struct Use {
        weak var log: InMemoryPartitionLog?
    }

    /// A partition as one node has opened it.
    struct UseKey: Hashable {
        var partition: PartitionID
        var connection: Int
    }

    struct State {
        var contents: [PartitionID: [String: Contents]] = [:]
        var uses: [UseKey: Use] = [:]
        var connections = 0
        var isHolding = false
        /// Commands on which nothing is decided yet, the oldest first.
        var held: [(use: InMemoryPartitionLog, records: [OutgoingRecord])] = []
    }

    /// True: nobody else can write here, and a command's records enter together.
    public let isExclusive: Bool
    let clock: any NodeClock
    let state = Mutex(State())
    private let compactionLag: Duration
    private let deleteRetention: Duration
    let tellsForgotten: Bool

    /// An empty log.
    ///
    /// - Parameters:
    ///   - clock: gives the append times, and decides with them what compaction takes.
    ///   - compactionLag: records younger than this are not compacted.
    ///   - deleteRetention: how long a tombstone that is the last of its key stays.
    ///   - tellsForgotten: whether readers hear of removals that compaction has forgotten, as from the embedded log.
    ///   - isExclusive: what the log says of itself; `false` makes a replica go the way it goes with a shared log.
    public init(
        clock: any NodeClock = ManualClock(), compactionLag: Duration = .zero, deleteRetention: Duration = .zero,
        isExclusive: Bool = true, tellsForgotten: Bool = true
    ) {
        self.clock = clock
        self.compactionLag = compactionLag
        self.deleteRetention = deleteRetention
        self.isExclusive = isExclusive
        self.tellsForgotten = tellsForgotten
    }

    /// The same records for another node: its uses do not end those of this one, and the other way round.
    public func connection() -> any ChangeLog {
        let number = state.withLock { state in
            state.connections += 1
            return state.connections
        }
        return InMemoryConnection(log: self, number: number)
    }

    /// Opens the changelogs of a partition; a former use of them by the same node ends.
    public func open(
        _ partition: PartitionID, changelogs: [ChangeLogDeclaration], executor: any EventExecutor,
        acknowledge: @escaping @Sendable ([LogAck]) -> Void
    ) async throws(LogError) -> any PartitionLog {
        try await open(partition, by: 0, changelogs: changelogs, executor: executor, acknowledge: acknowledge)
    }

    func open(
        _ partition: PartitionID, by connection: Int, changelogs: [ChangeLogDeclaration],
        executor: any EventExecutor, acknowledge: @escaping @Sendable ([LogAck]) -> Void
    ) async throws(LogError) -> any PartitionLog {
        let names = changelogs.map(\.name)
        guard Set(names).count == names.count else {
            throw LogError(.shape, "\(partition): two changelogs of one name among \(names)")
        }
        let gate = AckGate(executor: executor, acknowledge: acknowledge)
        let (use, former) = state.withLock { state in
            var ends: [Offset] = []
            for name in names {
                ends.append(state.contents[partition, default: [:]][name, default: Contents()].end)
            }
            let key = UseKey(partition: partition, connection: connection)
            let use = InMemoryPartitionLog(self, key, names: names, ends: ends, gate: gate)
            let former = state.uses.updateValue(Use(log: use), forKey: key)
            return (use, former?.log)
        }
        await former?.close()
        return use
    }

    // MARK: - Acknowledgements by hand

    /// Whether commands wait for `acknowledge` or `fail` instead of being acknowledged at once.
    ///
    /// Setting it to `false` acknowledges what waits.
    public var holdsAcknowledgements: Bool {
        get { state.withLock { $0.isHolding } }
        set {
            state.withLock { $0.isHolding = newValue }
            if !newValue { acknowledge() }
        }
    }

    /// How many commands wait for the word on them.
    public var heldCount: Int { state.withLock { $0.held.count } }

    /// Lets the oldest `count` commands that wait into the log, and acknowledges them.
    public func acknowledge(_ count: Int = .max) {
        let decided = takeHeld(count)
        for command in decided { command.use.write(command.records) }
    }

    /// Fails every command that waits and every one of these partitions after it, until they are opened anew.
    ///
    /// - Parameter written: how many of the waiting commands, from the oldest on, are in the log nevertheless, as
    ///   after a write whose outcome never became known.
    public func fail(with error: LogError, written: Int = 0) {
        let decided = takeHeld(.max)
        for (index, command) in decided.enumerated() {
            if index < written { command.use.write(command.records, failingWith: error) }
            if index >= written { command.use.fail(command.records, error) }
        }
        if decided.isEmpty {
            for use in state.withLock({ Array($0.uses.values) }) { use.log?.fail([], error) }
        }
    }

    private func takeHeld(_ count: Int) -> [(use: InMemoryPartitionLog, records: [OutgoingRecord])] {
        state.withLock { state in
            let taken = Array(state.held.prefix(count))
            state.held.removeFirst(taken.count)
            return taken
        }
    }

    // MARK: - Contents

    /// What stands in a changelog, in order; empty for one that does not exist.
    public func records(_ partition: PartitionID, _ changelog: String) -> [LoggedRecord] {
        state.withLock { $0.contents[partition]?[changelog]?.records ?? [] }
    }

    /// The end of a changelog.
    public func end(_ partition: PartitionID, _ changelog: String) -> Offset {
        state.withLock { $0.contents[partition]?[changelog]?.end ?? .zero }
    }

    /// Appends a record as somebody else would who writes to the log: no master is asked and none is told.
    ///
    /// - Returns: its offset.
    @discardableResult
    public func write(_ record: Record, to partition: PartitionID, _ changelog: String) -> Offset {
        let appended = clock.now
        let (offset, uses) = state.withLock { state in
            var contents = state.contents[partition, default: [:]][changelog, default: Contents()]
            let offset = contents.end
            contents.records.append(LoggedRecord(offset: offset, appended: appended, record: record))
            contents.end = offset.next
            state.contents[partition, default: [:]][changelog] = contents
            return (offset, state.uses(of: partition))
        }
        for use in uses { use.advance(changelog, to: offset.next) }
        return offset
    }

    /// Takes an offset without a record, as the marker of a transaction does.
    public func writeMarker(to partition: PartitionID, _ changelog: String) {
        let uses = state.withLock { state in
            let end = state.contents[partition]?[changelog]?.end ?? .zero
            state.contents[partition, default: [:]][changelog, default: Contents()].end = end.next
            return state.uses(of: partition)
        }
        for use in uses { use.advance(changelog, to: end(partition, changelog)) }
    }

    /// Removes every changelog of a partition: the next record gets the first offset again.
    public func removeAll(_ partition: PartitionID) { state.withLock { $0.contents[partition] = nil } }

    /// Removes the records before `offset`, as a retention by time does; reads before it throw `outOfRange`.
    public func removeRecords(_ partition: PartitionID, _ changelog: String, before offset: Offset) {
        state.withLock { state in
            guard var contents = state.contents[partition]?[changelog] else { return }
            contents.first = min(max(contents.first, offset), contents.end)
            contents.records.removeAll { $0.offset < contents.first }
            state.contents[partition]?[changelog] = contents
        }
    }

    /// Compacts every changelog now: keeps the last record of each key, and what is too young.
    public func compact() {
        let now = clock.now
        let youngest = now.advanced(by: .zero - compactionLag)
        let oldestTombstone = now.advanced(by: .zero - deleteRetention)
        state.withLock { state in
            for (partition, changelogs) in state.contents {
                for (name, contents) in changelogs {
                    // From the first record on that is too young, nothing counts and nothing goes.
                    let cleanable = contents.records.prefix { $0.appended <= youngest }
                    var last: [[UInt8]: Offset] = [:]
                    for record in cleanable { last[record.record.key] = record.offset }
                    let kept = cleanable.filter { record in
                        guard last[record.record.key] == record.offset else { return false }
                        return record.record.value != nil || record.appended > oldestTombstone
                    }
                    let forgotten = cleanable.last { record in
                        last[record.record.key] == record.offset && record.record.value == nil
                            && record.appended <= oldestTombstone
                    }
                    if let forgotten { state.contents[partition]?[name]?.forgotten = forgotten.offset.next }
                    state.contents[partition]?[name]?.records = kept + contents.records[cleanable.endIndex...]
                }
            }
        }
    }
}

extension InMemoryChangeLog.State {
    /// Everybody who has the partition open.
    func uses(of partition: PartitionID) -> [InMemoryPartitionLog] {
        uses.compactMap { $0.key.partition == partition ? $0.value.log : nil }
    }
}

/// What one more node sees of an `InMemoryChangeLog`.
private struct InMemoryConnection: ChangeLog {
    let log: InMemoryChangeLog
    let number: Int

    var isExclusive: Bool { log.isExclusive }

    func open(
        _ partition: PartitionID, changelogs: [ChangeLogDeclaration], executor: any EventExecutor,
        acknowledge: @escaping @Sendable ([LogAck]) -> Void
    ) async throws(LogError) -> any PartitionLog {
        try await log.open(
            partition, by: number, changelogs: changelogs, executor: executor, acknowledge: acknowledge)
    }
}
