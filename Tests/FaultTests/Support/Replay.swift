import AffinityLocalLog
import AffinityNet
import AffinityRocksDB
import AffinityRocksDBMemStore
import AffinityTestSupport
import Foundation
import Synchronization

@testable import AffinityCore

/// The memstores of a stopped node beside what its log says, read here without the partition's own code: newest
/// record of a key wins.
struct Replay {
    private static let stores = ["_requests", "kv"]

    /// Entries that are not the same, in words.
    private(set) var differences: [String] = []
    /// How many entries each store has.
    private(set) var entries: [String: Int] = [:]
    /// How many offsets of the log the memstores have not applied.
    private(set) var unread: Int64 = 0

    /// - Parameter topics: where the log is; `nil` for the embedded one in the data folder.
    init(_ data: String, partitions: Int, topics: KafkaService? = nil) throws {
        let logged = try topics.map { service in
            let client = try TopicClient(service.brokers)
            return try (0..<partitions).map { partition in
                try Self.stores.map { try client.read(service.topic($0), partition) }
            }
        }
        let result = Mutex<Result<Replay, any Error>?>(nil)
        let done = DispatchSemaphore(value: 0)
        // Waited for by a thread of the test, which is none of Swift's own.
        withExtendedLifetime(done) {
            Self.start { outcome in
                result.withLock { $0 = outcome }
                done.signal()
            } body: {
                try await Self.read(data, partitions, logged)
            }
            done.wait()
        }
        guard let outcome = result.withLock({ $0 }) else { throw Failure("no result") }
        self = try outcome.get()
    }

    private init() {}

    private static func start(
        _ report: @escaping @Sendable (Result<Replay, any Error>) -> Void,
        body: @escaping @Sendable () async throws -> Replay
    ) {
        Task {
            do { report(.success(try await body())) } catch { report(.failure(error)) }
        }
    }

    /// - Parameter logged: the records of each partition and store; `nil` if they are in the embedded log.
    private static func read(
        _ data: String, _ partitions: Int, _ logged: [[[LoggedRecord]]]?
    ) async throws -> Replay {
        let pool = ThreadPool(threads: 2)
        let loops = try EventLoopGroup(count: 1)
        let shared = RocksDBShared(cacheBytes: 8 << 20, writeBufferBytes: 8 << 20)
        var local: LocalLog?
        if logged == nil {
            local = try await LocalLog.open(
                folder: "\(data)/log", shared: shared, clock: SystemClock(), pool: pool.blocking, report: { _ in })
        }
        let engine = RocksDBMemStoreEngine(folder: "\(data)/memstores", shared: shared, pool: pool.blocking)
        var replay = Replay()
        for number in 0..<partitions {
            let id = PartitionID(keyspace: "kv", number: number)
            let log = try await local?.open(
                id, changelogs: stores.map { ChangeLogDeclaration(name: $0, controlKey: []) },
                executor: loops.loops[0], acknowledge: { _ in })
            let memstore = try await engine.open(
                id, stores: stores.map { StoreDeclaration(name: $0, isOrdered: $0 == "kv") })
            let checkpoint = memstore.checkpoint.flatMap { Checkpoint(bytes: $0) }
            for (index, store) in stores.enumerated() {
                let records =
                    if let log { try await read(log, index) } else { logged?[number][index] ?? [] }
                let expected = newest(records)
                // Compaction may have taken the last record of the embedded log, but not its offset.
                let end = try await log?.bounds(index).upperBound ?? records.last?.offset.next ?? .zero
                var found: [[UInt8]: StoredEntry] = [:]
                try memstore.scan(index, .all, .forward) { key, entry in
                    found[key] = entry
                    return true
                }
                replay.compare("\(id) \(store)", found, expected)
                replay.entries[store, default: 0] += found.count
                let place = checkpoint?.places.first { $0.changelog == store }
                replay.unread += end.rawValue - (place?.next.rawValue ?? 0)
            }
            await memstore.close()
            await log?.close()
        }
        await local?.close()
        await loops.shutdown()
        return replay
    }

    private static func read(_ log: any PartitionLog, _ changelog: Int) async throws -> [LoggedRecord] {
        var records: [LoggedRecord] = []
        let bounds = try await log.bounds(changelog)
        var next = bounds.lowerBound
        while next < bounds.upperBound {
            let page = try await log.read(changelog, from: next, maxBytes: 1 << 20)
            records += page.records
            next = page.next
        }
        return records
    }

    private static func newest(_ records: [LoggedRecord]) -> [[UInt8]: StoredEntry] {
        var entries: [[UInt8]: StoredEntry] = [:]
        for logged in records where !logged.record.key.isEmpty {
            entries[logged.record.key] = logged.record.value.map {
                StoredEntry(
                    value: $0, version: Version(UInt64(logged.offset.rawValue + 1)),
                    time: logged.record.headers.time ?? logged.appended)
            }
        }
        return entries
    }

    private mutating func compare(
        _ name: String, _ found: [[UInt8]: StoredEntry], _ expected: [[UInt8]: StoredEntry]
    ) {
        for key in Set(found.keys).union(expected.keys) where found[key] != expected[key] {
            let text = String(decoding: key, as: UTF8.self)
            differences.append(
                "\(name) \(text): \(String(describing: found[key])), log: \(String(describing: expected[key]))")
        }
    }
}
