import AffinityCore
import AffinityMemStores
import AffinityTesting
import Testing

/// A partition driven by hand, over a log whose every word the test gives.
final class Bench {
    let log = HandLog()
    let clock = ManualClock()
    let engine: FaultyMemStoreEngine
    let partition: PartitionBench<Ledger>
    private let delivered = Delivered()

    var events: [String] { delivered.events }
    var effects: Int { delivered.effects }

    init(limits: StateLimits = StateLimits(), partition: Int = 0, of partitions: Int = 1) throws {
        let engine = FaultyMemStoreEngine(MemoryMemStoreEngine())
        self.engine = engine
        let id = PartitionID(keyspace: "bench", number: partition)
        let memstore = try ManualExecutor().complete {
            Handed(try await engine.open(id, stores: PartitionBench<Ledger>.declarations()))
        }
        let random = SeededRandom(1)
        self.partition = try PartitionBench(
            Ledger.self, id, of: partitions, memstore: memstore.value, log: log, clock: clock,
            random: RandomSource { random.next() }, limits: limits,
            deliver: { [delivered] events, effects in
                delivered.events += events.compactMap { ($0 as? Noted)?.text }
                delivered.effects += effects.count
            })
    }

    @discardableResult func run(_ steps: Step..., envelope: Envelope = Envelope()) throws -> [String] {
        var command = Steps()
        command.steps = steps
        return try partition.run(command, envelope).get()
    }

    /// Runs a command that must be refused, and returns why.
    func refusal(_ steps: Step...) -> AskError? {
        var command = Steps()
        command.steps = steps
        guard case .failure(let error) = partition.run(command) else { return nil }
        return error
    }

    /// Acknowledges the oldest `count` records.
    @discardableResult func acknowledge(_ count: Int = .max) -> String? {
        partition.acknowledge(log.takeAcks(count))
    }

    func committed(_ key: String) -> Entry<String>? { partition.committed(partition.instance.texts, key) }
}

private final class Delivered {
    var events: [String] = []
    var effects = 0
}

/// Unchecked: handed from the one task that makes it to the one test that uses it.
struct Handed<Value>: @unchecked Sendable {
    let value: Value

    init(_ value: Value) { self.value = value }
}

/// A log that keeps what it is handed and acknowledges when told to.
///
/// Unchecked: it never leaves its test.
final class HandLog: PartitionLog, @unchecked Sendable {
    private(set) var commands: [[OutgoingRecord]] = []
    private(set) var acks: [LogAck] = []
    private var ends: [Int: Int64] = [:]

    var records: [OutgoingRecord] { commands.flatMap { $0 } }

    func append(_ records: [OutgoingRecord]) {
        commands.append(records)
        for record in records {
            let offset = ends[record.changelog, default: 0]
            ends[record.changelog] = offset + 1
            acks.append(LogAck(changelog: record.changelog, result: .success(Offset(offset))))
        }
    }

    func takeAcks(_ count: Int) -> [LogAck] {
        defer { acks.removeFirst(min(count, acks.count)) }
        return Array(acks.prefix(count))
    }

    func bounds(_ changelog: Int) async throws(LogError) -> Range<Offset> { throw LogError(.closed, "by hand") }
    func end(_ changelog: Int) -> Offset { Offset(ends[changelog, default: 0]) }
    func read(_ changelog: Int, from offset: Offset, maxBytes: Int) async throws(LogError) -> LogPage {
        throw LogError(.closed, "by hand")
    }
    func waitForRecords(_ changelog: Int, beyond offset: Offset) async throws(LogError) {}
    func close() async {}
}
