internal import AffinityCore

/// A node of a simulated cluster: its disk stays, its processes come and go.
final class SimulatedNode<P: Partition>: @unchecked Sendable {
    let name: String
    let disk: SimulatedDisk
    private(set) var running: Run?
    /// The processes of the node, the newest last.
    private(set) var runs: [Run] = []
    private let cluster: SimulatedCluster<P>.Parts

    /// One process of the node, from its start to its death.
    final class Run: @unchecked Sendable {
        let process: SimulatedProcess
        let loops: [SimulatedExecutor]
        let tree: SimulatedTreeConnection
        let log: SimulatedLogConnection
        let link: SimulatedLink
        let memstores: SimulatedMemStores
        let coordinator: ClusterCoordinator
        let service: Service<P>
        fileprivate var tasks: [Task<Void, Never>] = []

        init(_ node: SimulatedNode, _ cluster: SimulatedCluster<P>.Parts) throws {
            let (simulation, settings) = (cluster.simulation, cluster.settings)
            let id = NodeID(node.name)
            let process = SimulatedProcess(node.name, simulation)
            let loops = (0..<settings.loops).map { _ in process.makeExecutor() }
            let clock = SimulatedClock(process: process)
            self.process = process
            self.loops = loops
            tree = SimulatedTreeConnection(cluster.tree, process)
            log = SimulatedLogConnection(cluster.log, process)
            link = cluster.network.link(of: id, process, loops[0])
            memstores = SimulatedMemStores(node.disk, process)
            let report: Reporter = { report in
                guard !process.isDead else { return }
                simulation.say(
                    "\(node.name): \(report.message) \(report.fields.map { "\($0.name)=\($0.value)" }.joined(separator: " "))"
                )
            }
            var configuration = ClusterConfiguration(
                system: "simulated", address: PeerAddress(node: id, host: node.name, port: 1),
                keyspaces: [settings.keyspace: .init(partitions: settings.partitions, replicas: settings.replicas)])
            configuration.grace = settings.grace
            let coordinator = ClusterCoordinator(
                configuration, tree: tree, routes: RoutingTable(), on: loops[0], clock: clock, report: report)
            self.coordinator = coordinator
            let random = simulation.random
            var environment = PartitionEnvironment(
                node: id, clock: clock, random: { random.next() }, memstores: memstores, log: log,
                coordinator: WatchedCoordinator(base: coordinator, watch: cluster.watch, process: process),
                report: report, limits: settings.limits, deadline: settings.deadline,
                deleteRetention: cluster.log.settings.deleteRetention,
                compactionLag: cluster.log.settings.compactionLag,
                poll: cluster.log.settings.poll)
            environment.routing = .init(table: coordinator.routes, link: link)
            let registry = ServiceRegistry()
            service = try Service(
                settings.keyspace, P.self, partitions: settings.partitions, on: loops, environment, services: registry)
            registry.serve(link)
        }

        fileprivate func start() {
            tasks = [
                Task(executorPreference: loops[0]) { await self.coordinator.run() },
                Task(executorPreference: loops[0]) { await self.service.run() },
            ]
        }

        fileprivate func die() {
            process.die()
            for task in tasks { task.cancel() }
            // So that what waits hears of it.
            Task(executorPreference: loops[0]) { await self.coordinator.close() }
        }

        fileprivate func dismantle() {
            tasks = []
            link.dismantle()
            log.dismantle()
            process.dismantle()
        }
    }

    init(_ name: String, _ cluster: SimulatedCluster<P>.Parts) {
        self.name = name
        self.cluster = cluster
        disk = SimulatedDisk(cluster.simulation, isVolatile: cluster.settings.memstore == .memory)
    }

    func start() throws {
        guard running == nil else { return }
        let run = try Run(self, cluster)
        running = run
        runs.append(run)
        run.start()
    }

    func crash() {
        guard let run = running else { return }
        running = nil
        run.die()
        cluster.watch.forget(run.process)
        disk.crash()
    }

    /// Hands everything over, and ends.
    func stop(_ patience: Duration) {
        guard let run = running else { return }
        let process = run.process
        Task(executorPreference: run.loops[0]) {
            let clock = SimulatedClock(process: process)
            await run.coordinator.retire(before: clock.monotonic.advanced(by: patience))
            run.service.stop()
            await run.tasks.last?.value
            await run.coordinator.close()
            guard self.running === run else { return }
            self.disk.flushAll()
            self.crash()
        }
    }

    /// Everything here holds each other.
    func dismantle() {
        for run in runs { run.dismantle() }
        runs = []
    }
}

/// Who serves which partition, and under which lease.
final class MastershipWatch: @unchecked Sendable {
    private struct Entry {
        let process: SimulatedProcess
        let lease: Lease?
        let grant: UInt64
    }

    private var granted: [ObjectIdentifier: [PartitionID: Grant]] = [:]
    private var serving: [PartitionID: [Entry]] = [:]
    /// What must not be: the first that was seen.
    private(set) var violation: String?
    /// Called when a partition begins to be served.
    var onServe: (PartitionID) -> Void = { _ in }
    /// Called when a process is told that it is to be master of a partition.
    var onMaster: (SimulatedProcess) -> Void = { _ in }

    func note(_ process: SimulatedProcess, _ partition: PartitionID, _ word: Mastership) {
        if case .master = word { onMaster(process) }
        switch word {
        case .master(let grant), .retiring(let grant):
            granted[ObjectIdentifier(process), default: [:]][partition] = grant
        case .standby, .absent: break
        }
    }

    func note(_ process: SimulatedProcess, _ partition: PartitionID, _ readiness: Readiness) {
        end(process, partition)
        guard readiness == .serving, let grant = granted[ObjectIdentifier(process)]?[partition] else { return }
        serving[partition, default: []].append(Entry(process: process, lease: grant.lease, grant: grant.number))
        onServe(partition)
    }

    /// The process that serves a partition, if there is one, and it runs.
    func master(of partition: PartitionID) -> SimulatedProcess? {
        guard let entries = serving[partition], entries.count == 1, !entries[0].process.isStopped else { return nil }
        return entries[0].process
    }

    func serves(_ process: SimulatedProcess, _ partition: PartitionID) -> Bool {
        serving[partition]?.contains { $0.process === process } ?? false
    }

    func end(_ process: SimulatedProcess, _ partition: PartitionID) {
        serving[partition]?.removeAll { $0.process === process }
    }

    func forget(_ process: SimulatedProcess) {
        granted[ObjectIdentifier(process)] = nil
        for partition in serving.keys { end(process, partition) }
    }

    /// No two leases for one partition at the same moment.
    func check(_ now: MonotonicTime) {
        for (partition, entries) in serving where entries.count > 1 {
            let leased = entries.filter { $0.lease?.covers($0.process.local(now)) ?? true }
            guard leased.count > 1, violation == nil else { continue }
            violation =
                "two leases: \(partition) is served by "
                + leased.map { "\($0.process.name)/\($0.grant)" }.joined(
                    separator: " and ")
        }
    }
}

/// The coordinator of a process, with somebody who watches what it says and is told.
private struct WatchedCoordinator: Coordinator {
    let base: ClusterCoordinator
    let watch: MastershipWatch
    let process: SimulatedProcess

    func join(
        _ partition: PartitionID, notify: @escaping @Sendable (Mastership) -> Void
    ) async throws(CoordinatorError) {
        try await base.join(partition) { word in
            watch.note(process, partition, word)
            notify(word)
        }
    }

    func report(_ partition: PartitionID, _ readiness: Readiness) {
        if !process.isDead { watch.note(process, partition, readiness) }
        base.report(partition, readiness)
    }

    func renew(_ partition: PartitionID, above grant: UInt64) async throws(CoordinatorError) {
        try await base.renew(partition, above: grant)
    }

    func confirm(_ partition: PartitionID, _ grant: UInt64) async throws(CoordinatorError) {
        try await base.confirm(partition, grant)
    }

    func release(_ partition: PartitionID, _ grant: UInt64) {
        watch.end(process, partition)
        base.release(partition, grant)
    }

    func leave(_ partition: PartitionID) async {
        watch.end(process, partition)
        await base.leave(partition)
    }
}
