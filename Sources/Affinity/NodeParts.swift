internal import AffinityCoordinator
internal import AffinityCore
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
        var log: LocalLog?
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
            deadline: settings.gateway.deadline, deleteRetention: settings.log.deleteRetention)
    }

    /// Opens coordinator and log. The coordinator first: it locks the data folder.
    func open(_ settings: NodeConfiguration, _ keyspaces: [(name: String, partitions: Int)], _ log: Log) async throws {
        let coordinator = try await EmbeddedCoordinator.open(
            folder: settings.data, pool: pool.blocking)
        opened.withLock { $0.coordinator = coordinator }
        do {
            try await pool.blocking.run { try DataLayout(folder: settings.data).check(keyspaces) }
            var configuration = LocalLogConfiguration()
            configuration.compactionLag = settings.log.compactionLag
            configuration.deleteRetention = settings.log.deleteRetention
            configuration.compactionInterval = settings.log.compactionInterval
            // Beyond what partitions allow, with room for headers: what the log refuses ends a mastership.
            configuration.maxRecordBytes = settings.gateway.server.bodyLimit + (128 << 10)
            let changelog = try await LocalLog.open(
                folder: "\(settings.data)/log", configuration: configuration, shared: rocksdb, clock: clock,
                pool: pool.blocking, report: log.reporter)
            opened.withLock { $0.log = changelog }
            self.changelog.set(changelog)
            self.coordinator.set(coordinator)
        } catch {
            await close(log)
            throw error
        }
    }

    func close(_ log: Log) async {
        let parts = opened.withLock { opened in
            defer { opened = Opened() }
            return opened
        }
        await parts.log?.close()
        await parts.coordinator?.close()
    }
}
