import AffinityCore

/// A log that acknowledges everything in the next turn and keeps nothing.
struct ImmediateLog: ChangeLog {
    var isExclusive: Bool { true }

    func open(
        _ partition: PartitionID, changelogs: [ChangeLogDeclaration], executor: any EventExecutor,
        acknowledge: @escaping @Sendable ([LogAck]) -> Void
    ) async throws(LogError) -> any PartitionLog {
        ImmediatePartitionLog(changelogs.count, executor, acknowledge)
    }
}

/// Unchecked: used on its executor only.
final class ImmediatePartitionLog: PartitionLog, @unchecked Sendable {
    private var ends: [Int64]
    private var acks: [LogAck] = []
    private let executor: any EventExecutor
    private let acknowledge: @Sendable ([LogAck]) -> Void

    init(_ count: Int, _ executor: any EventExecutor, _ acknowledge: @escaping @Sendable ([LogAck]) -> Void) {
        ends = Array(repeating: 0, count: count)
        self.executor = executor
        self.acknowledge = acknowledge
    }

    func append(_ records: [OutgoingRecord]) {
        if acks.isEmpty {
            executor.post { [self] in
                let batch = acks
                acks = []
                acknowledge(batch)
            }
        }
        for record in records {
            acks.append(LogAck(changelog: record.changelog, result: .success(Offset(ends[record.changelog]))))
            ends[record.changelog] += 1
        }
    }

    func bounds(_ changelog: Int) async throws(LogError) -> Range<Offset> { .zero..<Offset(ends[changelog]) }
    func end(_ changelog: Int) -> Offset { Offset(ends[changelog]) }
    func read(_ changelog: Int, from offset: Offset, maxBytes: Int) async throws(LogError) -> LogPage {
        throw LogError(.outOfRange, "this log keeps nothing")
    }
    func waitForRecords(_ changelog: Int, beyond offset: Offset) async throws(LogError) {}
    func close() async {}
}

/// Makes every replica master at once.
struct OnlyNode: Coordinator {
    func join(
        _ partition: PartitionID, notify: @escaping @Sendable (Mastership) -> Void
    ) async throws(CoordinatorError) { notify(.master(Grant(number: 1))) }
    func renew(_ partition: PartitionID, above grant: UInt64) async throws(CoordinatorError) {}
    func report(_ partition: PartitionID, _ readiness: Readiness) {}
    func confirm(_ partition: PartitionID, _ grant: UInt64) async throws(CoordinatorError) {}
    func release(_ partition: PartitionID, _ grant: UInt64) {}
    func leave(_ partition: PartitionID) async {}
}
