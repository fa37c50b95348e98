import AffinityCore
import AffinityMemStores
import AffinityTesting
import Synchronization

/// A service of `Ledger`s with everything around it in the test's hands: time, log, coordinator, threads.
final class Rig: Sendable {
    let keyspace: String
    let executor: ManualExecutor
    let base: InMemoryChangeLog
    let log: FaultyChangeLog
    let kept: KeptMemStores
    let memstores: FaultyMemStoreEngine
    let coordinator = HandCoordinator()
    let reports = Mutex<[Report]>([])
    let service: Service<Ledger>
    private let ended = Mutex(false)

    var clock: ManualClock { executor.clock }
    var isEnded: Bool { ended.withLock { $0 } }
    var partition: PartitionID { PartitionID(keyspace: keyspace, number: 0) }
    var notes: [String] { Ledger.notes.withLock { $0[keyspace] ?? [] } }
    var messages: [String] {
        reports.withLock { $0.map { "\($0.message): \($0.fields.map(\.value).joined(separator: ", "))" } }
    }

    /// - Parameter former: the rig whose log and memstores this one takes over, as after a restart.
    init(
        _ keyspace: String, partitions: Int = 1, limits: StateLimits = StateLimits(), keepsMemStores: Bool = false,
        after former: Rig? = nil, log: InMemoryChangeLog? = nil, provesReads: Bool = false
    ) throws {
        self.keyspace = keyspace
        executor = ManualExecutor(clock: former?.clock ?? ManualClock())
        base = log ?? former?.base ?? InMemoryChangeLog(clock: executor.clock)
        self.log = FaultyChangeLog(base)
        kept = former?.kept ?? KeptMemStores()
        memstores = FaultyMemStoreEngine(keepsMemStores ? kept : MemoryMemStoreEngine())
        let random = SeededRandom(former == nil ? 7 : 8)
        let sink = Sink()
        service = try Service(
            keyspace, Ledger.self, partitions: partitions, on: [executor],
            PartitionEnvironment(
                node: NodeID("n1"), clock: executor.clock, random: { random.next() }, memstores: memstores,
                log: self.log, coordinator: coordinator, report: { sink.report($0) }, limits: limits,
                provesReads: provesReads),
            services: ServiceRegistry())
        sink.target.withLock { $0 = { [weak self] report in self?.reports.withLock { $0.append(report) } } }
    }

    /// Starts the service and makes its replicas masters under `grant`.
    func serve(_ grant: UInt64 = 1) {
        start()
        coordinator.say(.master(Grant(number: grant)))
        executor.run()
    }

    func start() {
        Task(executorPreference: executor) { [self] in
            await service.run()
            ended.withLock { $0 = true }
        }
        executor.run()
    }

    func stop() {
        service.stop()
        executor.run()
    }

    /// Starts what may have to wait; the test looks at the box.
    func start<Value: Sendable>(_ body: @escaping @Sendable () async throws(AskError) -> Value) -> Answered<Value> {
        executor.start(body)
    }

    func send(_ steps: Step..., key: String = "k", envelope: Envelope = Envelope()) -> Answered<Commit<[String]>> {
        var command = Steps(key: key)
        command.steps = steps
        return start { [service, command] () throws(AskError) in try await service.commit(command, envelope) }
    }

    func peek(_ key: String, envelope: Envelope = Envelope()) -> Answered<String?> {
        start { [service] () throws(AskError) in try await service.read(Peek(key), envelope).reply }
    }

    var status: ReplicaStatus { get throws { try executor.complete { [service] in await service.status()[0] } } }

    func records(_ store: String) -> [LoggedRecord] { base.records(partition, store) }
}

final class Sink: Sendable {
    let target = Mutex<@Sendable (Report) -> Void>({ _ in })

    func report(_ report: Report) { target.withLock { $0 }(report) }
}

extension ManualExecutor {
    /// Starts what may have to wait, and runs what is there to run; the test looks at the box.
    func start<Value: Sendable>(_ body: @escaping @Sendable () async throws(AskError) -> Value) -> Answered<Value> {
        let answered = Answered<Value>()
        Task(executorPreference: self) {
            do throws(AskError) { answered.set(.success(try await body())) } catch { answered.set(.failure(error)) }
        }
        run()
        return answered
    }
}

/// The answer of something that was started, once it is there.
final class Answered<Value: Sendable>: Sendable {
    private let state = Mutex<(result: Result<Value, AskError>?, count: Int)>((nil, 0))

    func set(_ result: Result<Value, AskError>) { state.withLock { $0 = (result, $0.count + 1) } }

    var result: Result<Value, AskError>? { state.withLock { $0.result } }
    var value: Value? { try? result?.get() }
    var isWaiting: Bool { result == nil }
    var error: AskError? {
        guard case .failure(let error) = result else { return nil }
        return error
    }
}

/// A coordinator that says what the test says.
final class HandCoordinator: Coordinator {
    private struct State {
        var joined: [PartitionID: @Sendable (Mastership) -> Void] = [:]
        var renewals: [UInt64] = []
        var joinFailure: CoordinatorError?
        var readiness: [Readiness] = []
        var released: [UInt64] = []
        var confirmations: [CheckedContinuation<CoordinatorError?, Never>] = []
        var holdsConfirmations = false
    }

    private let state = Mutex(State())

    var renewals: [UInt64] { state.withLock { $0.renewals } }
    var joined: Int { state.withLock { $0.joined.count } }
    var readiness: [Readiness] { state.withLock { $0.readiness } }
    var released: [UInt64] { state.withLock { $0.released } }
    /// Whether a replica waits for the leases of former masters until `confirmAll`.
    var holdsConfirmations: Bool {
        get { state.withLock { $0.holdsConfirmations } }
        set { state.withLock { $0.holdsConfirmations = newValue } }
    }

    func confirmAll(_ error: CoordinatorError? = nil) {
        let waiting = state.withLock { state in
            defer { state.confirmations = [] }
            return state.confirmations
        }
        for continuation in waiting { continuation.resume(returning: error) }
    }

    func failJoin(with error: CoordinatorError) { state.withLock { $0.joinFailure = error } }

    func say(_ mastership: Mastership) {
        for notify in state.withLock({ Array($0.joined.values) }) { notify(mastership) }
    }

    func join(
        _ partition: PartitionID, notify: @escaping @Sendable (Mastership) -> Void
    ) async throws(CoordinatorError) {
        let failure = state.withLock { state in
            if state.joinFailure == nil { state.joined[partition] = notify }
            return state.joinFailure.take()
        }
        if let failure { throw failure }
    }

    func renew(_ partition: PartitionID, above grant: UInt64) async throws(CoordinatorError) {
        state.withLock { $0.renewals.append(grant) }
    }

    func report(_ partition: PartitionID, _ readiness: Readiness) {
        state.withLock { $0.readiness.append(readiness) }
    }

    func confirm(_ partition: PartitionID, _ grant: UInt64) async throws(CoordinatorError) {
        guard holdsConfirmations else { return }
        if let error = await withCheckedContinuation({ waiting in state.withLock { $0.confirmations.append(waiting) } })
        {
            throw error
        }
    }

    func release(_ partition: PartitionID, _ grant: UInt64) { state.withLock { $0.released.append(grant) } }

    func leave(_ partition: PartitionID) async { state.withLock { $0.joined[partition] = nil } }
}

/// Memstores that survive being closed, as those on disk do.
final class KeptMemStores: MemStoreEngine {
    typealias Batch = (writes: [MemStoreWrite], checkpoint: [UInt8])

    private let batches = Mutex<[PartitionID: [Batch]]>([:])
    private let aside = Mutex(0)

    var asideCount: Int { aside.withLock { $0 } }

    func open(_ partition: PartitionID, stores: [StoreDeclaration]) async throws(MemStoreError) -> sending any MemStore
    {
        let memstore = MemoryMemStore(partition, stores: stores)
        for batch in batches.withLock({ $0[partition] ?? [] }) {
            try memstore.commit(batch.writes, checkpoint: batch.checkpoint)
        }
        return KeptMemStore(memstore, partition, self)
    }

    func setAside(_ partition: PartitionID) async throws(MemStoreError) -> String? {
        aside.withLock { $0 += 1 }
        return batches.withLock { $0.removeValue(forKey: partition) } == nil ? nil : "aside"
    }

    func keep(_ partition: PartitionID, _ batch: Batch) {
        batches.withLock { $0[partition, default: []].append(batch) }
    }

    /// Loses all but the first `count` batches, as a crash before a flush does.
    func forget(_ partition: PartitionID, after count: Int) {
        batches.withLock { batches in
            let kept = batches[partition]?.prefix(count)
            batches[partition] = kept.map { Array($0) }
        }
    }

    func count(_ partition: PartitionID) -> Int { batches.withLock { $0[partition]?.count ?? 0 } }
}

private final class KeptMemStore: MemStore {
    private let base: MemoryMemStore
    private let partition: PartitionID
    private let engine: KeptMemStores

    init(_ base: MemoryMemStore, _ partition: PartitionID, _ engine: KeptMemStores) {
        self.base = base
        self.partition = partition
        self.engine = engine
    }

    var checkpoint: [UInt8]? { base.checkpoint }
    func get(_ store: Int, _ key: [UInt8]) throws(MemStoreError) -> StoredEntry? { try base.get(store, key) }
    func scan(
        _ store: Int, _ range: KeyRange, _ direction: ScanDirection,
        _ visit: (_ key: [UInt8], _ entry: StoredEntry) -> Bool
    ) throws(MemStoreError) { try base.scan(store, range, direction, visit) }
    func count(_ store: Int) throws(MemStoreError) -> Int { try base.count(store) }
    func commit(_ writes: [MemStoreWrite], checkpoint: [UInt8]) throws(MemStoreError) {
        try base.commit(writes, checkpoint: checkpoint)
        engine.keep(partition, (writes, checkpoint))
    }
    nonisolated(nonsending) func flush() async throws(MemStoreError) {}
    nonisolated(nonsending) func copy(to path: String) async throws(MemStoreError) {}
    nonisolated(nonsending) func close() async {}
}

/// A value that several threads change.
final class Box<Value: Sendable>: Sendable {
    private let state: Mutex<Value>

    init(_ value: Value) { state = Mutex(value) }

    var value: Value { state.withLock { $0 } }

    @discardableResult func change<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
        state.withLock { state in
            var value = state
            defer { state = value }
            return body(&value)
        }
    }
}
