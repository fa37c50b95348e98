/// The router of one keyspace: finds the partition of a message's key, and the replica that answers for it.
///
/// Called by gateways and by whoever else asks, on any thread; calls `PartitionReplica`, and `Router` for masters on
/// other nodes. The way of a request to a master of this node hops to the replica's executor and nowhere else.
public final class Service<P: Partition>: Sendable {
    /// The keyspace's name.
    public let keyspace: String
    @usableFromInline let replicas: [PartitionReplica<P>]
    @usableFromInline let router: Router?
    /// The watches of this node, and those of other nodes that a master here fills.
    let watches: WatchRouter
    let sessions: WatchSessions
    /// The places of the stores, by their names.
    let storeIndexes: [String: Int]
    private let effects: EffectRunner
    private let services: ServiceRegistry
    private let clock: any NodeClock
    /// How long callers wait who give no deadline.
    private let patience: Duration
    /// How messages from other nodes are run, by their names.
    private let forwards: [String: Forward]
    /// The names of messages by their types: a type takes a microsecond to say its own.
    private let names: [ObjectIdentifier: String]

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
        clock = environment.clock
        patience = environment.deadline
        let watches = WatchRouter(keyspace, environment, on: executors[0])
        self.watches = watches
        let router = environment.routing.map {
            Router(
                keyspace, partitions: partitions, $0, node: environment.node, clock: environment.clock,
                executor: executors[0], onMove: { watches.wake($0) })
        }
        self.router = router
        let stores = try PartitionCore<P>().stores
        storeIndexes = Dictionary(uniqueKeysWithValues: stores.map { ($0.name, $0.index) })
        let handlers = Handlers()
        P.register(handlers)
        forwards = Dictionary(handlers.bindings.map { ($0.name, $0.forward) }) { first, _ in first }
        names = Dictionary(handlers.bindings.map { ($0.message, $0.name) }) { first, _ in first }
        var replicas: [PartitionReplica<P>] = []
        for number in 0..<partitions {
            replicas.append(
                try PartitionReplica(
                    PartitionID(keyspace: keyspace, number: number), of: partitions,
                    on: executors[number % executors.count], environment, effects: effects,
                    onServe: {
                        router?.held.wake([number])
                        watches.wake([number])
                    }))
        }
        self.replicas = replicas
        watches.begin(replicas)
        sessions = WatchSessions(replicas, stores, environment, on: executors[0])
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
        watches.drain()
        sessions.end()
        // The registry holds the service, and the service's effects hold the registry.
        services[keyspace] = nil
    }

    /// Lets the replicas answer what is in flight, and ends `run`.
    package func stop() {
        watches.drain()
        for replica in replicas { replica.stop() }
    }

    /// What the replicas are doing, in the order of the partitions.
    public func status() async -> [ReplicaStatus] {
        var statuses: [ReplicaStatus] = []
        for replica in replicas { statuses.append(await replica.status()) }
        return statuses
    }

    /// What the replicas and the way to other nodes have counted, and hold.
    package func figures() async -> ServiceFigures {
        var figures = ServiceFigures(forwarding: router?.figures)
        for replica in replicas { figures.replicas.append(await replica.figures()) }
        return figures
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
        guard router == nil || envelope.deadline != .never else { return try await commit(command, dated(envelope)) }
        let replica = replica(command.key)
        guard router == nil || replica.serves.isSet else { return try await route(command, envelope) }
        do throws(AskError) {
            if replica.executor.isCurrent { return try await replica.commitHere(command, envelope) }
            return try await replica.commit(command, envelope)
        } catch {
            guard router != nil, isWorthRouting(error, envelope) else { throw error }
            return try await route(command, envelope, after: error)
        }
    }

    /// Runs a query; returns its reply with the position that it was answered from.
    ///
    /// With a `staleness` in the envelope a standby of this node answers, if it knows enough.
    ///
    /// - Throws: `AskError`: *rejected* or *not applied*.
    @inlinable public nonisolated(nonsending) func read<Q: Query>(
        _ query: Q, _ envelope: Envelope = Envelope()
    ) async throws(AskError) -> Answer<Q.Reply> {
        try await read(query, replica(query.key), envelope)
    }

    @inlinable nonisolated(nonsending) func read<Q: Query>(
        _ query: Q, _ replica: PartitionReplica<P>, _ envelope: Envelope
    ) async throws(AskError) -> Answer<Q.Reply> {
        guard router == nil || envelope.deadline != .never else {
            return try await read(query, replica, dated(envelope))
        }
        guard replica.serves.isSet || (router == nil && envelope.staleness == nil) else {
            return try await route(query, replica, envelope)
        }
        do throws(AskError) {
            if replica.executor.isCurrent, envelope.positions.isEmpty,
                let answer = try replica.readHere(query, envelope)
            {
                return answer
            }
            return try await replica.read(query, envelope)
        } catch {
            guard router != nil, isWorthRouting(error, envelope) else { throw error }
            return try await route(query, replica, envelope)
        }
    }

    /// Hands a command over and does not wait until it is durable: it is applied at most once.
    ///
    /// - Throws: `AskError`: *rejected* or *not applied*; *unknown* if the node of the master did not answer.
    public nonisolated(nonsending) func tell<C: Command>(
        _ command: C, _ envelope: Envelope = Envelope()
    ) async throws(AskError) {
        let replica = replica(command.key)
        guard let router, !replica.serves.isSet else { return try await replica.tell(command, envelope) }
        let envelope = dated(envelope)
        let message = try Forwarding.encode(command, outcome: .notApplied)
        let path = path(replica.id, envelope, message, isIdempotent: false)
        let request = ForwardedRequest(replica.id, name(of: C.self), message, envelope, isTold: true)
        try await router.route(path) { () async throws(AskError) -> Void? in
            guard replica.serves.isSet else { return nil }
            return try await replica.tell(command, envelope)
        } remote: { master throws(AskError) in
            _ = try await router.ask(master, request, path, mayWrite: true)
        }
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
                        return (index, .success(try await self.read(query, replica, envelope)))
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

    // MARK: - Masters elsewhere

    @usableFromInline func isWorthRouting(_ error: AskError, _ envelope: Envelope) -> Bool {
        error.isElsewhere || (error.outcome == .unknown && envelope.idempotency != nil)
    }

    /// The envelope with a deadline: one that nobody gave counts from the first try on, however many there are.
    @usableFromInline func dated(_ envelope: Envelope) -> Envelope {
        guard envelope.deadline == .never else { return envelope }
        var envelope = envelope
        envelope.deadline = clock.monotonic.advanced(by: patience)
        return envelope
    }

    private func name<M: Message>(of type: M.Type) -> String { names[ObjectIdentifier(type)] ?? M.name }

    private func path(_ partition: PartitionID, _ envelope: Envelope, _ message: [UInt8], isIdempotent: Bool)
        -> Router.Path
    {
        Router.Path(
            partition: partition, deadline: envelope.deadline, bytes: message.count, isIdempotent: isIdempotent)
    }

    /// - Parameters:
    ///   - envelope: has a deadline where there is a router.
    ///   - former: why the replica of this node did not run it.
    @usableFromInline func route<C: Command>(
        _ command: C, _ envelope: Envelope, after former: AskError? = nil
    ) async throws(AskError) -> Commit<C.Reply> {
        let replica = replica(command.key)
        guard let router else { return try await replica.commit(command, envelope) }
        let message = try Forwarding.encode(command, outcome: .notApplied)
        var path = path(replica.id, envelope, message, isIdempotent: envelope.idempotency != nil)
        path.isUnknown = former?.outcome == .unknown
        let request = ForwardedRequest(replica.id, name(of: C.self), message, envelope)
        return try await router.route(path) { () async throws(AskError) -> Commit<C.Reply>? in
            guard replica.serves.isSet else { return nil }
            return try await replica.commit(command, envelope)
        } remote: { [path] master throws(AskError) in
            let answer = try await router.ask(master, request, path, mayWrite: true)
            return Commit(
                reply: try Forwarding.decode(C.Reply.self, answer.reply, outcome: .unknown),
                version: Version(answer.version), reached: answer.reached(replica.id), isReplay: answer.isReplay)
        }
    }

    @usableFromInline func route<Q: Query>(
        _ query: Q, _ replica: PartitionReplica<P>, _ envelope: Envelope
    ) async throws(AskError) -> Answer<Q.Reply> {
        if let maxLag = envelope.staleness, let answer = try await replica.readStale(query, maxLag, envelope) {
            return answer
        }
        guard let router else { return try await replica.read(query, envelope) }
        let message = try Forwarding.encode(query, outcome: .notApplied)
        let path = path(replica.id, envelope, message, isIdempotent: true)
        let request = ForwardedRequest(replica.id, name(of: Q.self), message, envelope)
        return try await router.route(path) { () async throws(AskError) -> Answer<Q.Reply>? in
            guard replica.serves.isSet else { return nil }
            return try await replica.read(query, envelope)
        } remote: { master throws(AskError) in
            let answer = try await router.ask(master, request, path, mayWrite: false)
            return Answer(
                reply: try Forwarding.decode(Q.Reply.self, answer.reply), reached: answer.reached(replica.id))
        }
    }

    /// Calls `body` for every event of a type that a command of this node publishes, after its commit.
    ///
    /// At most once for each; events of a partition come in order. `body` runs beside the requests and must return
    /// quickly; longer work belongs into an effect.
    public func onEvent<E: Event>(_ type: E.Type, _ body: @escaping @Sendable (E) -> Void) {
        effects.subscribe { event in if let event = event as? E { body(event) } }
    }
}

// MARK: - Messages from other nodes

extension Service: ForwardingService {
    func poll(_ request: WatchPoll) async throws(PeerError) -> [UInt8] { try await sessions.poll(request) }

    func run(_ request: ForwardedRequest, _ deadline: MonotonicTime) async -> ForwardedAnswer {
        do throws(AskError) {
            guard let router, replicas.indices.contains(request.partition), let forward = forwards[request.name] else {
                throw AskError(
                    .notApplied, .failed,
                    "\(keyspace) has no partition \(request.partition), or no handler for \(request.name), on this node"
                )
            }
            let target = LocalTarget(replica: replicas[request.partition], held: router.held, clock: clock)
            let message = ForwardedMessage(bytes: request.message, isTold: request.isTold)
            return try await forward(target, message, request.envelope(deadline: deadline))
        } catch { return ForwardedAnswer(error) }
    }
}
