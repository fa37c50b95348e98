internal import AffinityCoordinator
package import AffinityCore
internal import AffinityKafka
internal import AffinityLocalLog
internal import AffinityMemStores
package import AffinityNet
internal import AffinityRocksDB
internal import AffinityRocksDBMemStore
internal import Foundation

/// Everything of a node but its gateway: loops, durable log, memstores and one service, wired as a node wires them and
/// on a data folder that a node can go on with.
package final class Stack: Sendable {
    package let loops: EventLoopGroup
    package let service: Service<Entries>
    package let clock: SystemClock
    private let coordinator: EmbeddedCoordinator
    private let closeLog: @Sendable () async -> Void
    private let running: Task<Void, Never>

    /// Opens the data folder and returns when every partition serves.
    ///
    /// - Parameters:
    ///   - data: the data folder; made if it is not there.
    ///   - memstore: `memory` or `rocksdb`.
    ///   - kafka: the Kafka cluster that has the changelogs; `nil` for the embedded log.
    package init(data: String, memstore: String, partitions: Int = 4, kafka: KafkaArguments? = nil) async throws {
        let clock = SystemClock()
        let pool = ThreadPool(threads: 4).blocking
        let shared = RocksDBShared(cacheBytes: 128 << 20, writeBufferBytes: 128 << 20)
        let report: Reporter = { report in
            // What librdkafka says of its own settings is no news here.
            guard report.level >= .warning, report.message != "librdkafka" else { return }
            FileHandle.standardError.write(Data("\(report.message) \(report.fields)\n".utf8))
        }
        self.clock = clock
        loops = try EventLoopGroup(count: ProcessInfo.processInfo.activeProcessorCount)
        coordinator = try await EmbeddedCoordinator.open(folder: data, pool: pool)
        let log: any ChangeLog
        if let kafka {
            let topics = try await KafkaLog.open(
                kafka.configuration(partitions), clock: clock, pool: pool, report: report)
            (log, closeLog) = (topics, { await topics.close() })
        } else {
            let local = try await LocalLog.open(
                folder: "\(data)/log", shared: shared, clock: clock, pool: pool, report: report)
            (log, closeLog) = (local, { await local.close() })
        }
        let memstores: any MemStoreEngine =
            memstore == "rocksdb"
            ? RocksDBMemStoreEngine(
                folder: "\(data)/memstores", shared: shared, pool: pool, entryCache: EntryCacheBudget(bytes: 64 << 20))
            : MemoryMemStoreEngine()
        let environment = PartitionEnvironment(
            node: NodeID("n1"), clock: clock, random: { UInt64.random(in: .min ... .max) }, memstores: memstores,
            log: log, coordinator: coordinator, report: report)
        let service = try Service(
            "kv", Entries.self, partitions: partitions, on: loops.loops, environment, services: ServiceRegistry())
        self.service = service
        running = Task { await service.run() }
        while await service.status().contains(where: { $0.state != .serving }) {
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Ends the service and closes the log.
    package func close() async {
        service.stop()
        await running.value
        await closeLog()
        await coordinator.close()
        await loops.shutdown()
    }
}

/// Which Kafka cluster a benchmark's changelogs are in, and what of its settings is tried.
package struct KafkaArguments {
    private let system: String
    private let brokers: String
    private let replication: Int
    private let linger: Int
    private let requests: Int

    /// What the arguments `brokers`, `system`, `replication`, `linger` (microseconds) and `requests` (in flight to a
    /// broker) say; `nil` without brokers.
    package init?(_ arguments: Arguments) {
        brokers = arguments.text("brokers", default: "")
        if brokers.isEmpty { return nil }
        system = arguments.text("system", default: "benchmark")
        replication = arguments.number("replication", default: 1)
        linger = Int(arguments.text("linger", default: "0")) ?? 0
        requests = arguments.number("requests", default: 2)
    }

    func configuration(_ partitions: Int) -> KafkaLogConfiguration {
        var configuration = KafkaLogConfiguration(system: system, brokers: brokers, partitions: ["kv": partitions])
        configuration.replication = replication
        configuration.linger = .microseconds(linger)
        configuration.properties["max.in.flight.requests.per.connection"] = String(requests)
        return configuration
    }
}
