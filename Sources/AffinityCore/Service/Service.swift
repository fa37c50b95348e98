/// The router of one keyspace: finds the partition of a message's key, and the replica that answers for it.
///
/// Called by gateways and by whoever else asks, on any thread; calls `PartitionReplica`. Routing reads an immutable
/// table, so the way of a request hops to the replica's executor and nowhere else.
public final class Service<P: Partition>: Sendable {
    /// The keyspace's name.
    public let keyspace: String
    @usableFromInline let replicas: [PartitionReplica<P>]
    private let effects: EffectRunner
    private let services: ServiceRegistry

    /// Assembles the service of a keyspace whose partitions all live here.
    ///
    /// - Parameters:
    ///   - partitions: how many; must never change for the keyspace.
    ///   - executors: where the replicas run, in turn.
    ///   - services: the node's other services, for effects.
    /// - Throws: `AssemblyError` if the `Partition` subclass has mistakes.
    package init(
        _ keyspace: String, _ type: P.Type, partitions: Int, on executors: [any EventExecutor],
        _ environment: PartitionEnvironment, services: ServiceRegistry
    ) throws(AssemblyError) {
        precondition(partitions > 0 && !executors.isEmpty)
        self.keyspace = keyspace
        let effects = EffectRunner(effects: Effects(services: services), report: environment.report)
        self.effects = effects
        var replicas: [PartitionReplica<P>] = []
        for number in 0..<partitions {
            replicas.append(
                try PartitionReplica(
                    PartitionID(keyspace: keyspace, number: number), of: partitions,
                    on: executors[number % executors.count], environment, effects: effects))
        }
        self.replicas = replicas
        self.services = services
        services[keyspace] = self
    }

    /// How many partitions the keyspace has.
    public var partitions: Int { replicas.count }

    /// The partition that answers for `key`.
    public func partition(of key: some RoutingKey) -> PartitionID { replica(key).id }

    @inlinable func replica(_ key: some RoutingKey) -> PartitionReplica<P> {
        replicas[Partitioner.partition(key, of: replicas.count)]
    }

    // MARK: - Life

    /// Runs the replicas until `stop` is called and what is in flight is answered.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [effects] in await effects.run() }
            await withTaskGroup(of: Void.self) { replicas in
                for replica in self.replicas { replicas.addTask { await replica.run() } }
            }
            effects.finish()
        }
        // The registry holds the service, and the service's effects hold the registry.
        services[keyspace] = nil
    }

    /// Lets the replicas answer what is in flight, and ends `run`.
    package func stop() { for replica in replicas { replica.stop() } }

    /// What the replicas are doing, in the order of the partitions.
    public func status() async -> [ReplicaStatus] {
        var statuses: [ReplicaStatus] = []
        for replica in replicas { statuses.append(await replica.status()) }
        return statuses
    }

    // MARK: - Asking

    /// Runs a command; returns its reply once what it wrote is durable.
    ///
    /// - Throws: `AskError`: *rejected*, *not applied* or *unknown*.
    @inlinable public nonisolated(nonsending) func ask<C: Command>(
        _ command: C, _ envelope: Envelope = Envelope()
    ) async throws(AskError) -> C.Reply {
        try await commit(command, envelope).reply
    }

    /// Runs a query; returns its reply.
    ///
    /// - Throws: `AskError`: *rejected* or *not applied*.
    @inlinable public nonisolated(nonsending) func ask<Q: Query>(
        _ query: Q, _ envelope: Envelope = Envelope()
    ) async throws(AskError) -> Q.Reply {
        try await read(query, envelope).reply
    }

    /// Runs a command; returns its reply with what is known once it is durable: version and position.
    ///
    /// - Throws: `AskError`: *rejected*, *not applied* or *unknown*.
    @inlinable public nonisolated(nonsending) func commit<C: Command>(
        _ command: C, _ envelope: Envelope = Envelope()
    ) async throws(AskError) -> Commit<C.Reply> {
        let replica = replica(command.key)
        if replica.executor.isCurrent { return try await replica.commitHere(command, envelope) }
        return try await replica.commit(command, envelope)
    }

    /// Runs a query; returns its reply with the position that it was answered from.
    ///
    /// - Throws: `AskError`: *rejected* or *not applied*.
    @inlinable public nonisolated(nonsending) func read<Q: Query>(
        _ query: Q, _ envelope: Envelope = Envelope()
    ) async throws(AskError) -> Answer<Q.Reply> {
        let replica = replica(query.key)
        guard replica.executor.isCurrent, envelope.positions.isEmpty, !replica.provesReads else {
            return try await replica.read(query, envelope)
        }
        return try replica.readHere(query)
    }

    /// Hands a command over and does not wait until it is durable: it is applied at most once.
    ///
    /// - Throws: `AskError` if it is certain that it will not be applied.
    public nonisolated(nonsending) func tell<C: Command>(
        _ command: C, _ envelope: Envelope = Envelope()
    ) async throws(AskError) {
        try await replica(command.key).tell(command, envelope)
    }

    /// Runs a query in every partition and gathers the answers; says which partitions failed.
    ///
    /// Each partition's part is linearizable on its own; they are not taken at one moment.
    public nonisolated(nonsending) func scatter<Q: Query>(
        _ query: Q, _ envelope: Envelope = Envelope()
    ) async -> Gathered<Q.Reply> {
        let results = await withTaskGroup(of: (Int, Result<Answer<Q.Reply>, AskError>).self) { group in
            for (index, replica) in replicas.enumerated() {
                group.addTask {
                    do throws(AskError) {
                        return (index, .success(try await replica.read(query, envelope)))
                    } catch { return (index, .failure(error)) }
                }
            }
            var results: [(Int, Result<Answer<Q.Reply>, AskError>)] = []
            for await result in group { results.append(result) }
            return results.sorted { $0.0 < $1.0 }
        }
        var answers: [Answer<Q.Reply>] = []
        var failures: [(partition: PartitionID, error: AskError)] = []
        for (index, result) in results {
            switch result {
            case .success(let answer): answers.append(answer)
            case .failure(let error): failures.append((replicas[index].id, error))
            }
        }
        return Gathered(answers: answers, failures: failures)
    }

    /// Calls `body` for every event of a type that a command of this node publishes, after its commit.
    ///
    /// At most once for each; events of a partition come in order. `body` runs beside the requests and must return
    /// quickly; longer work belongs into an effect.
    public func onEvent<E: Event>(_ type: E.Type, _ body: @escaping @Sendable (E) -> Void) {
        effects.subscribe { event in if let event = event as? E { body(event) } }
    }
}
