internal import AffinityCoordinator
internal import AffinityCore
internal import AffinityKafka
internal import AffinityLocalLog
internal import AffinityMemStores
internal import AffinityNet
internal import AffinityObservability
internal import AffinityRocksDB
internal import AffinityRocksDBMemStore
internal import AffinityTransport
internal import AffinityZooKeeper
internal import FoundationEssentials
internal import Synchronization

/// What a node is wired from, by kind: loops, blocking pool, and the leaves behind the services.
final class NodeParts: Sendable {
    let loops: EventLoopGroup
    let clock = SystemClock()
    let services = ServiceRegistry()
    let pool: ThreadPool
    let rocksdb: RocksDBShared
    let entryCache: EntryCacheBudget
    private let changelog = LateChangeLog()
    private let coordinator = LateCoordinator()
    private let routes = RoutingTable()
    private let link = LatePeerLink()
    private let opened = Mutex(Opened())

    private struct Opened {
        var coordinator: EmbeddedCoordinator?
        var cluster: Cluster?
        var closeLog: (@Sendable () async -> Void)?
        var localLog: LocalLog?
    }

    /// What a node of a cluster has.
    struct Cluster: Sendable {
        let coordinator: ClusterCoordinator
        let link: TCPPeerLink
        fileprivate let run: Task<Void, Never>
        fileprivate let lock: KeptLock
    }

    /// The right to the data folder, for as long as it is kept.
    fileprivate final class KeptLock: Sendable {
        private let lock: FolderLock

        init(folder: String) throws { lock = try FolderLock(folder: folder) }
    }

    /// What the node has as one of many; `nil` if it is alone, or does not run.
    var cluster: Cluster? { opened.withLock { $0.cluster } }

    /// How long the syncs of the local log took; `nil` for any other.
    var syncs: DurationCounts? { opened.withLock { $0.localLog }?.syncs }

    init(_ settings: NodeConfiguration) throws {
        loops = try EventLoopGroup(
            count: settings.loops > 0 ? settings.loops : ProcessInfo.processInfo.activeProcessorCount)
        pool = ThreadPool(threads: 4)
        rocksdb = RocksDBShared(cacheBytes: settings.blockCache.bytes, writeBufferBytes: settings.writeBuffer.bytes)
        entryCache = EntryCacheBudget(bytes: settings.entryCache.bytes)
    }

    var executors: [any EventExecutor] { loops.loops }

    func environment(
        _ keyspace: KeyspaceConfiguration, _ settings: NodeConfiguration, report: @escaping Reporter
    ) -> PartitionEnvironment {
        let memstores: any MemStoreEngine =
            switch keyspace.memstore {
            case .memory: MemoryMemStoreEngine()
            case .rocksdb:
                RocksDBMemStoreEngine(
                    folder: "\(settings.data)/memstores", shared: rocksdb, pool: pool.blocking, entryCache: entryCache)
            }
        var environment = PartitionEnvironment(
            node: settings.id, clock: clock, random: { UInt64.random(in: .min ... .max) }, memstores: memstores,
            log: changelog, coordinator: coordinator, report: report, limits: keyspace.limits,
            deadline: settings.gateway.deadline, deleteRetention: settings.log.deleteRetention,
            compactionLag: settings.log.compactionLag, poll: settings.kafka.poll,
            provesReads: settings.storage == .kafka && settings.kafka.provesReads)
        if settings.coordinator == .zookeeper { environment.routing = .init(table: routes, link: link) }
        return environment
    }

    /// Opens coordinator and log. The data folder is locked first.
    func open(
        _ settings: NodeConfiguration, _ keyspaces: [(name: String, keys: KeyspaceConfiguration)], _ log: Log
    ) async throws {
        let partitions = keyspaces.map { ($0.name, $0.keys.partitions) }
        do {
            switch settings.coordinator {
            case .embedded: try await openAlone(settings)
            case .zookeeper: try await joinCluster(settings, keyspaces, log)
            }
            try await pool.blocking.run { try DataLayout(folder: settings.data).check(partitions) }
            switch settings.storage {
            case .local: try await openLocalLog(settings, log)
            case .kafka: try await openKafkaLog(settings, partitions, log)
            }
            let (alone, cluster) = opened.withLock { ($0.coordinator, $0.cluster?.coordinator) }
            if let coordinator: any Coordinator = cluster ?? alone { self.coordinator.set(coordinator) }
        } catch {
            await close(log)
            throw error
        }
    }

    private func openAlone(_ settings: NodeConfiguration) async throws {
        let coordinator = try await EmbeddedCoordinator.open(folder: settings.data, pool: pool.blocking)
        opened.withLock { $0.coordinator = coordinator }
    }

    /// Listens for peers, and enters the cluster in the background: ZooKeeper may be away for now.
    private func joinCluster(
        _ settings: NodeConfiguration, _ keyspaces: [(name: String, keys: KeyspaceConfiguration)], _ log: Log
    ) async throws {
        let lock = try await pool.blocking.run {
            try FileManager.default.createDirectory(atPath: settings.data, withIntermediateDirectories: true)
            return try KeptLock(folder: settings.data)
        }
        var linking = PeerLinkConfiguration(
            system: settings.system, node: settings.id,
            secret: settings.zookeeper.secret.map { Array($0.reveal().utf8) })
        linking.frameLimit = settings.maxRecordBytes + (16 << 10)
        let link = try TCPPeerLink(group: loops, configuration: linking, clock: clock, report: log.reporter)
        self.link.set(link)
        services.serve(link)
        let address = try await listen(link, settings, log)
        var servers = ZooKeeperConfiguration(servers: settings.zookeeper.connect)
        servers.sessionTimeout = settings.zookeeper.session
        if let user = settings.zookeeper.user {
            servers.credentials = .init(user: user, password: settings.zookeeper.password?.reveal() ?? "")
        }
        var configuration = ClusterConfiguration(
            system: settings.system, address: address,
            keyspaces: Dictionary(
                keyspaces.map { ($0.name, .init(partitions: $0.keys.partitions, replicas: $0.keys.replicas)) }
            ) { first, _ in first })
        configuration.grace = settings.zookeeper.grace
        configuration.concurrency = settings.zookeeper.handovers
        configuration.weight = settings.zookeeper.weight
        let coordinator = ClusterCoordinator(
            configuration, tree: try ZooKeeperTree(servers, report: log.reporter), routes: routes,
            on: loops.loops[0], clock: clock, report: log.reporter)
        let run = Task(executorPreference: loops.loops[0]) { await coordinator.run() }
        opened.withLock { $0.cluster = Cluster(coordinator: coordinator, link: link, run: run, lock: lock) }
    }

    /// Listens for peers, and gives where they reach the node.
    private func listen(
        _ link: TCPPeerLink, _ settings: NodeConfiguration, _ log: Log
    ) async throws -> PeerAddress {
        let host = settings.listen?.host ?? settings.host
        let port = try await link.listen(host: host, port: settings.listen?.port ?? settings.port)
        log.info("listening for peers", [("address", "\(host):\(port)")])
        return PeerAddress(node: settings.id, host: settings.host, port: settings.listen == nil ? port : settings.port)
    }

    private func openLocalLog(_ settings: NodeConfiguration, _ log: Log) async throws {
        var configuration = LocalLogConfiguration()
        configuration.compactionLag = settings.log.compactionLag
        configuration.deleteRetention = settings.log.deleteRetention
        configuration.compactionInterval = settings.log.compactionInterval
        configuration.maxRecordBytes = settings.maxRecordBytes
        let changelog = try await LocalLog.open(
            folder: "\(settings.data)/log", configuration: configuration, shared: rocksdb, clock: clock,
            pool: pool.blocking, report: log.reporter)
        opened.withLock { opened in
            opened.closeLog = { await changelog.close() }
            opened.localLog = changelog
        }
        self.changelog.set(changelog)
    }

    private func openKafkaLog(
        _ settings: NodeConfiguration, _ keyspaces: [(name: String, partitions: Int)], _ log: Log
    ) async throws {
        let partitions = Dictionary(keyspaces.map { ($0.name, $0.partitions) }) { first, _ in first }
        let configuration = settings.kafkaLog(partitions: partitions)
        let changelog = try await KafkaLog.open(configuration, clock: clock, pool: pool.blocking, report: log.reporter)
        opened.withLock { $0.closeLog = { await changelog.close() } }
        self.changelog.set(changelog)
    }

    func close(_ log: Log) async {
        let parts = opened.withLock { opened in
            defer { opened = Opened() }
            return opened
        }
        if let cluster = parts.cluster {
            await cluster.coordinator.close()
            cluster.run.cancel()
            await cluster.run.value
            await cluster.link.drain(within: .seconds(1))
        }
        await parts.closeLog?()
        await parts.coordinator?.close()
    }
}
