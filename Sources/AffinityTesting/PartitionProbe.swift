public import AffinityCore
internal import AffinityMemStores

/// One partition alone, in the test's own isolation: no node, no actor, no `await`.
///
///     var bank = try PartitionProbe(Accounts.self)
///     #expect(try bank.run(Deposit(account: account, amount: 5)) == 5)
///     #expect(bank[\.balances, account] == 5)
///
/// Every command is durable at once. Time is a `ManualClock` and randomness comes from a seed, so a test sees the
/// same run each time.
public struct PartitionProbe<P: Partition> {
    /// The clock that the handlers see.
    public let clock: ManualClock
    /// What commands have published, in order.
    public var events: [any Event] { log.events }
    private let bench: PartitionBench<P>
    private let log: ProbeLog

    /// Assembles the partition, empty.
    ///
    /// - Parameters:
    ///   - type: the `Partition` subclass.
    ///   - partition: which partition of the keyspace it is.
    ///   - partitions: how many the keyspace has; with 1 every key belongs here.
    ///   - clock: the clock that the handlers see.
    ///   - seed: where their randomness begins.
    /// - Throws: `AssemblyError` if the class has mistakes.
    public init(
        _ type: P.Type, partition: Int = 0, of partitions: Int = 1, clock: ManualClock = ManualClock(),
        seed: UInt64 = 1
    ) throws {
        let log = ProbeLog()
        let random = SeededRandom(seed)
        let id = PartitionID(keyspace: "probe", number: partition)
        self.clock = clock
        self.log = log
        bench = try PartitionBench(
            type, id, of: partitions,
            memstore: MemoryMemStore(id, stores: PartitionBench<P>.declarations()), log: log, clock: clock,
            random: RandomSource { random.next() }, deliver: { events, _ in log.events += events })
    }

    /// Runs a command; its writes are committed when it returns.
    ///
    /// - Throws: `Rejected` if the handler says no, `AskError` if it did what it must not.
    @discardableResult public func run<C: Command>(_ command: C, _ envelope: Envelope = Envelope()) throws -> C.Reply {
        let result = bench.run(command, envelope)
        if let mistake = bench.acknowledge(log.takeAcks()) { throw LogError(.io, mistake) }
        return try unwrap(result)
    }

    /// Runs a query.
    ///
    /// - Throws: `Rejected` if the handler says no, `AskError` if it did what it must not.
    public func run<Q: Query>(_ query: Q) throws -> Q.Reply { try unwrap(bench.read(query)) }

    private func unwrap<Reply>(_ result: Result<Reply, AskError>) throws -> Reply {
        do throws(AskError) { return try result.get() } catch {
            if let rejection = error.rejection { throw rejection }
            throw error
        }
    }

    /// The value under `key` of a store.
    public subscript<Key, Value>(_ store: KeyPath<P, Store<Key, Value>>, _ key: Key) -> Value? {
        entry(store, key)?.value
    }

    /// The entry under `key` of a store.
    public func entry<Key, Value>(_ store: KeyPath<P, Store<Key, Value>>, _ key: Key) -> Entry<Value>? {
        bench.committed(bench.instance[keyPath: store], key)
    }

    /// What commands have published of a type, in order.
    public func events<E: Event>(_ type: E.Type) -> [E] { events.compactMap { $0 as? E } }
}

/// A log that takes everything and keeps nothing; its acks wait to be taken.
private final class ProbeLog: PartitionLog, @unchecked Sendable {
    // Unchecked: it never leaves the isolation of the probe that owns it.
    private var ends: [Int: Int64] = [:]
    private var acks: [LogAck] = []
    var events: [any Event] = []

    func append(_ records: [OutgoingRecord]) {
        for record in records {
            let offset = ends[record.changelog, default: 0]
            ends[record.changelog] = offset + 1
            acks.append(LogAck(changelog: record.changelog, result: .success(Offset(offset))))
        }
    }

    func takeAcks() -> [LogAck] {
        defer { acks = [] }
        return acks
    }

    func bounds(_ changelog: Int) async throws(LogError) -> Range<Offset> { throw LogError(.closed, "a probe") }
    func end(_ changelog: Int) -> Offset { Offset(ends[changelog, default: 0]) }
    func read(_ changelog: Int, from offset: Offset, maxBytes: Int) async throws(LogError) -> LogPage {
        throw LogError(.closed, "a probe's log cannot be read")
    }
    func waitForRecords(_ changelog: Int, beyond offset: Offset) async throws(LogError) {
        throw LogError(.closed, "a probe's log cannot be read")
    }
    func close() async {}
}
