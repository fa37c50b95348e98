internal import AffinityCoordinator
internal import AffinityCore
internal import AffinityKafka
internal import AffinityLocalLog
internal import AffinityMemStores
internal import AffinityNet
internal import AffinityObservability
internal import AffinityRocksDB
internal import AffinityRocksDBMemStore
internal import FoundationEssentials
internal import Synchronization

/// What a node is wired from, by kind: loops, blocking pool, and the leaves behind the services.
final class NodeParts: Sendable {
    let loops: EventLoopGroup
    let clock = SystemClock()
    let services = ServiceRegistry()
    private let pool: ThreadPool
    private let rocksdb: RocksDBShared
    private let changelog = LateChangeLog()
    private let coordinator = LateCoordinator()
    private let opened = Mutex(Opened())

    private struct Opened {
        var coordinator: EmbeddedCoordinator?
        var closeLog: (@Sendable () async -> Void)?
    }

    init(_ settings: NodeConfiguration) throws {
        loops = try EventLoopGroup(
            count: settings.loops > 0 ? settings.loops : ProcessInfo.processInfo.activeProcessorCount)
        pool = ThreadPool(threads: 4)
        rocksdb = RocksDBShared(cacheBytes: settings.blockCache.bytes, writeBufferBytes: settings.writeBuffer.bytes)
    }

    var executors: [any EventExecutor] { loops.loops }

    func environment(
        _ keyspace: KeyspaceConfiguration, _ settings: NodeConfiguration, report: @escaping Reporter
    ) -> PartitionEnvironment {
        let memstores: any MemStoreEngine =
            switch keyspace.memstore {
            case .memory: MemoryMemStoreEngine()
            case .rocksdb:
                RocksDBMemStoreEngine(folder: "\(settings.data)/memstores", shared: rocksdb, pool: pool.blocking)
            }
        return PartitionEnvironment(
            node: settings.id, clock: clock, random: { UInt64.random(in: .min ... .max) }, memstores: memstores,
            log: changelog, coordinator: coordinator, report: report, limits: keyspace.limits,
            deadline: settings.gateway.deadline, deleteRetention: settings.log.deleteRetention,
            compactionLag: settings.log.compactionLag, poll: settings.kafka.poll,
            provesReads: settings.storage == .kafka && settings.kafka.provesReads)
    }

    /// Opens coordinator and log. The coordinator first: it locks the data folder.
    func open(_ settings: NodeConfiguration, _ keyspaces: [(name: String, partitions: Int)], _ log: Log) async throws {
        let coordinator = try await EmbeddedCoordinator.open(
            folder: settings.data, pool: pool.blocking)
        opened.withLock { $0.coordinator = coordinator }
        do {
            try await pool.blocking.run { try DataLayout(folder: settings.data).check(keyspaces) }
            switch settings.storage {
            case .local: try await openLocalLog(settings, log)
            case .kafka: try await openKafkaLog(settings, keyspaces, log)
            }
            self.coordinator.set(coordinator)
        } catch {
            await close(log)
            throw error
        }
    }

    private func openLocalLog(_ settings: NodeConfiguration, _ log: Log) async throws {
        var configuration = LocalLogConfiguration()
        configuration.compactionLag = settings.log.compactionLag
        configuration.deleteRetention = settings.log.deleteRetention
        configuration.compactionInterval = settings.log.compactionInterval
        configuration.maxRecordBytes = Self.maxRecordBytes(settings)
        let changelog = try await LocalLog.open(
            folder: "\(settings.data)/log", configuration: configuration, shared: rocksdb, clock: clock,
            pool: pool.blocking, report: log.reporter)
        opened.withLock { $0.closeLog = { await changelog.close() } }
        self.changelog.set(changelog)
    }

    private func openKafkaLog(
        _ settings: NodeConfiguration, _ keyspaces: [(name: String, partitions: Int)], _ log: Log
    ) async throws {
        let partitions = Dictionary(keyspaces.map { ($0.name, $0.partitions) }) { first, _ in first }
        var configuration = KafkaLogConfiguration(
            system: settings.system, brokers: settings.kafka.brokers.joined(separator: ","), partitions: partitions)
        configuration.replication = settings.kafka.replication
        configuration.createsTopics = settings.kafka.createsTopics
        configuration.poll = settings.kafka.poll
        configuration.linger = settings.kafka.linger
        configuration.maxMessageBytes = Self.maxRecordBytes(settings)
        configuration.compactionLag = settings.log.compactionLag
        configuration.deleteRetention = settings.log.deleteRetention
        configuration.properties = settings.kafka.properties.mapValues { $0.reveal() }
        let changelog = try await KafkaLog.open(configuration, clock: clock, pool: pool.blocking, report: log.reporter)
        opened.withLock { $0.closeLog = { await changelog.close() } }
        self.changelog.set(changelog)
    }

    /// Beyond what partitions allow, with room for headers: what the log refuses ends a mastership.
    private static func maxRecordBytes(_ settings: NodeConfiguration) -> Int {
        settings.gateway.server.bodyLimit + (128 << 10)
    }

    func close(_ log: Log) async {
        let parts = opened.withLock { opened in
            defer { opened = Opened() }
            return opened
        }
        await parts.closeLog?()
        await parts.coordinator?.close()
    }
}
