import AffinityCore
import AffinityMemStores
import AffinityTesting
import Synchronization

/// Some nodes of a system on one thread, with the tree, the log and the link between them in memory.
final class ClusterRig: Sendable {
    let keyspace: String
    let executor = ManualExecutor()
    let tree = InMemoryTree(timeout: .seconds(4))
    let log: InMemoryChangeLog
    let network: Network
    let partitions: Int
    let replicas: Int
    private let all = Mutex<[String: ClusterNode]>([:])

    var clock: ManualClock { executor.clock }

    init(_ keyspace: String, partitions: Int = 4, replicas: Int = 2) {
        self.keyspace = keyspace
        network = Network(executor)
        self.partitions = partitions
        self.replicas = replicas
        log = InMemoryChangeLog(clock: executor.clock, isExclusive: false, tellsForgotten: false)
    }

    subscript(name: String) -> ClusterNode {
        guard let node = all.withLock({ $0[name] }) else { preconditionFailure("no node \(name)") }
        return node
    }

    var nodes: [ClusterNode] { all.withLock { $0.sorted { $0.key < $1.key }.map(\.value) } }

    /// Starts nodes, and lets time pass until they have settled.
    func start(_ names: String..., settle: Bool = true) throws {
        for name in names {
            let node = try ClusterNode(NodeID(name), self)
            all.withLock { $0[name] = node }
            node.start()
        }
        if settle { advance(by: .seconds(3)) }
    }

    /// Lets time pass, in steps so small that everything finds its turn.
    func advance(by duration: Duration) {
        let end = clock.monotonic.advanced(by: duration)
        executor.run()
        while clock.monotonic < end { executor.advance(by: .milliseconds(10)) }
    }

    /// Ends a node's process, as a crash does; its session lives on until `expire`.
    func crash(_ name: String) {
        // Nothing that it still does reaches anybody.
        if let session = self[name].session { tree.disconnect(session) }
        self[name].crash()
        network.remove(NodeID(name))
        _ = all.withLock { $0.removeValue(forKey: name) }
        executor.run()
    }

    /// The node whose session has ended is gone for the others too.
    func expire(_ session: Int64?) {
        if let session { tree.expire(session) }
        executor.run()
    }

    /// The nodes that serve each partition: one, if all is well.
    func masters() throws -> [[String]] {
        var masters: [[String]] = Array(repeating: [], count: partitions)
        for node in nodes {
            for status in try node.status where status.state == .serving {
                masters[status.partition.number].append(node.name)
            }
        }
        return masters
    }

    /// What every replica is doing, for a failure's message.
    var shown: String {
        nodes.map { node in
            "\(node.name): " + ((try? node.status.map { "\($0.state)" }.joined(separator: " ")) ?? "gone")
        }.joined(separator: "; ")
    }
}

/// One node of a `ClusterRig`.
final class ClusterNode: Sendable {
    let name: String
    let coordinator: ClusterCoordinator
    let service: Service<Ledger>
    let registry = ServiceRegistry()
    let reports = Mutex<[Report]>([])
    private let rig: ClusterRig
    private let tasks = Mutex<[Task<Void, Never>]>([])

    init(_ id: NodeID, _ rig: ClusterRig) throws {
        name = id.description
        self.rig = rig
        let sink = Sink()
        let address = PeerAddress(node: id, host: name, port: 1)
        var configuration = ClusterConfiguration(
            system: "test", address: address,
            keyspaces: [rig.keyspace: .init(partitions: rig.partitions, replicas: rig.replicas)])
        configuration.grace = .seconds(30)
        coordinator = ClusterCoordinator(
            configuration, tree: rig.tree, routes: RoutingTable(), on: rig.executor, clock: rig.clock,
            report: { sink.report($0) })
        let random = SeededRandom(UInt64(name.utf8.reduce(0) { $0 &* 31 &+ Int($1) }))
        var environment = PartitionEnvironment(
            node: id, clock: rig.clock, random: { random.next() }, memstores: MemoryMemStoreEngine(),
            log: rig.log.connection(), coordinator: coordinator, report: { sink.report($0) })
        environment.routing = .init(table: coordinator.routes, link: rig.network.link(of: id))
        service = try Service(
            rig.keyspace, Ledger.self, partitions: rig.partitions, on: [rig.executor], environment, services: registry)
        registry.serve(rig.network.link(of: id))
        sink.target.withLock { $0 = { [weak self] report in self?.reports.withLock { $0.append(report) } } }
    }

    func start() {
        let running = [
            Task(executorPreference: rig.executor) { await self.coordinator.run() },
            Task(executorPreference: rig.executor) { await self.service.run() },
        ]
        tasks.withLock { $0 = running }
    }

    /// The session that the node has now.
    var session: Int64? { rig.tree.node("/test/nodes/\(name)")?.owner }

    func crash() { for task in tasks.withLock({ $0 }) { task.cancel() } }

    /// Hands over, and ends.
    func stop() {
        Task(executorPreference: rig.executor) {
            await self.coordinator.retire(before: .never)
            self.service.stop()
        }
        rig.advance(by: .seconds(2))
        Task(executorPreference: rig.executor) { await self.coordinator.close() }
        rig.advance(by: .seconds(1))
    }

    var status: [ReplicaStatus] { get throws { try rig.executor.complete { [service] in await service.status() } } }

    var messages: [String] {
        reports.withLock { $0.map { "\($0.message): \($0.fields.map(\.value).joined(separator: ", "))" } }
    }

    func send(_ steps: Step..., key: String = "k", envelope: Envelope = Envelope()) -> Answered<Commit<[String]>> {
        var command = Steps(key: key)
        command.steps = steps
        return rig.executor.start { [service, command] () throws(AskError) in
            try await service.commit(command, envelope)
        }
    }

    func peek(_ key: String, envelope: Envelope = Envelope()) -> Answered<Answer<String?>> {
        rig.executor.start { [service] () throws(AskError) in try await service.read(Peek(key), envelope) }
    }
}

/// The links between the nodes of a rig: calls from one to the other, on the one thread that there is.
final class Network: Sendable {
    typealias Handler = @Sendable ([UInt8], MonotonicTime) async throws(PeerError) -> [UInt8]

    private let handlers = Mutex<[NodeID: [String: Handler]]>([:])

    private let silent = Mutex<Set<NodeID>>([])
    private let executor: ManualExecutor

    init(_ executor: ManualExecutor) { self.executor = executor }

    func link(of node: NodeID) -> any PeerLink { Link(network: self, node: node) }

    func remove(_ node: NodeID) { handlers.withLock { $0[node] = nil } }

    /// From now on a node takes what is sent to it, and says nothing.
    func silence(_ node: NodeID) { silent.withLock { _ = $0.insert(node) } }

    private func say(nothing deadline: MonotonicTime, _ withdrawal: Withdrawal?) async -> PeerError {
        let (silence, end) = AsyncStream<Void>.makeStream()
        executor.schedule(at: deadline) { end.finish() }
        withdrawal?.onWithdraw { end.finish() }
        for await _ in silence {}
        return PeerError(.lost, isNotSent: false, "silence")
    }

    private struct Link: PeerLink {
        let network: Network
        let node: NodeID

        func ask(
            _ peer: PeerAddress, _ type: String, _ body: [UInt8], deadline: MonotonicTime, withdrawal: Withdrawal?
        ) async throws(PeerError) -> [UInt8] {
            if network.silent.withLock({ $0.contains(peer.node) }) {
                throw await network.say(nothing: deadline, withdrawal)
            }
            guard let handler = network.handlers.withLock({ $0[peer.node]?[type] }) else {
                throw PeerError(.unreachable, isNotSent: true, "\(peer) is not there")
            }
            return try await handler(body, deadline)
        }

        func answer(
            _ type: String,
            _ body:
                @escaping @Sendable (_ request: [UInt8], _ deadline: MonotonicTime) async throws(PeerError) -> [UInt8]
        ) { network.handlers.withLock { $0[node, default: [:]][type] = body } }
    }
}
