/// A partition without an actor: its logic and its state, driven by hand in the caller's own isolation.
///
/// What `PartitionProbe` and the tests of the core stand on. The log's acknowledgements are handed in by the caller.
package final class PartitionBench<P: Partition> {
    private let core: PartitionCore<P>
    private let state: StateStore
    private let partition: PartitionID

    /// Assembles the partition over an empty memstore and log, and begins epoch 1.
    ///
    /// - Parameter deliver: gets the events and effects of each command after its commit.
    package init(
        _ type: P.Type, _ partition: PartitionID, of partitions: Int, memstore: any MemStore, log: any PartitionLog,
        clock: any NodeClock, random: RandomSource, limits: StateLimits = StateLimits(),
        deliver: @escaping ([any Event], [@Sendable (Effects) async throws -> Void]) -> Void
    ) throws(AssemblyError) {
        self.partition = partition
        core = try PartitionCore<P>()
        let places = core.stores.map { Checkpoint.Place(changelog: $0.name, next: .zero) }
        state = StateStore(
            partition: partition, stores: core.stores, memstore: memstore, log: log,
            feed: ChangeFeed(partition: partition.number, limits: limits.watches),
            checkpoint: Checkpoint(log: 1, epoch: .none, level: clock.now, places: places), node: NodeID("probe"),
            clock: clock, random: random, limits: limits, wasResumed: false,
            route: { Partitioner.partition(bytes: $0, of: partitions) }, deliver: deliver)
        state.begin(Epoch(grant: 1, run: 0), newLog: 1)
        core.partition.becameMaster(of: partition, epoch: state.epoch)
    }

    /// The declarations that the memstore is to be opened with.
    package static func declarations() throws(AssemblyError) -> [StoreDeclaration] {
        try PartitionCore<P>().stores.map { StoreDeclaration(name: $0.name, isOrdered: $0.isOrdered) }
    }

    /// The instance, to name its stores.
    package var instance: P { core.partition }

    /// How many commands wait for the log.
    package var inFlight: Int { state.pendingCount }

    /// How far the partition is applied.
    package var position: Position { state.position }

    /// Runs a command's handler and hands its records to the log; the reply counts once they are acknowledged.
    package func run<C: Command>(_ command: C, _ envelope: Envelope = Envelope()) -> Result<C.Reply, AskError> {
        let execution = core.execute(command, envelope, state)
        if case .refused(let error) = execution { return .failure(error) }
        state.submit(deadline: .never, traceparent: envelope.traceparent, isReplay: execution.isReplay, nil)
        switch execution {
        case .reply(let reply), .replay(.success(let reply), _): return .success(reply)
        case .rejected(let rejection): return .failure(AskError(rejected: rejection, reached: nil))
        case .replay(.failure(let rejection), _):
            return .failure(AskError(rejected: rejection, reached: nil, isReplay: true))
        case .refused(let error): return .failure(error)
        }
    }

    /// Runs a query on the committed state.
    package func read<Q: Query>(_ query: Q) -> Result<Q.Reply, AskError> {
        do throws(AskError) {
            return try core.read(query, state).mapError { AskError(rejected: $0, reached: nil) }
        } catch { return .failure(error) }
    }

    /// Takes the log's word on records.
    ///
    /// - Returns: why a replica would have to step down, if it would.
    package func acknowledge(_ acks: [LogAck]) -> String? {
        guard case .stepDown(let stepDown) = state.acknowledge(acks) else { return nil }
        return stepDown.reason
    }

    /// The changes of a store that are kept for those who watch, in the order of the log.
    package func changes(of store: AnyStore) -> [Change] {
        state.feed.changes(store.index, after: .none, of: .all) ?? []
    }

    /// The committed value under `key`.
    package func committed<Key, Value>(_ store: Store<Key, Value>, _ key: Key) -> Entry<Value>? {
        state.begin()
        return View(state).entry(store, key)
    }
}
