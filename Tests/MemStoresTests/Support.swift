import AffinityCore
import AffinityMemStores
import AffinityRocksDB
import AffinityRocksDBMemStore
import AffinityTestSupport
import AffinityTesting
import Foundation
import Testing

/// The engines that pass the same tests.
enum EngineKind: String, CaseIterable, CustomTestStringConvertible {
    case memory, rocksDB, cachedRocksDB, faulty

    var testDescription: String { rawValue }
    var isDurable: Bool { self == .rocksDB || self == .cachedRocksDB }

    func engine(_ folder: String) -> any MemStoreEngine {
        switch self {
        case .memory: MemoryMemStoreEngine()
        case .rocksDB: rocksDBEngine(folder)
        // Of few entries: what is read soon makes room for what is read next.
        case .cachedRocksDB: rocksDBEngine(folder, entryCache: EntryCacheBudget(bytes: 4 << 10))
        case .faulty: FaultyMemStoreEngine(MemoryMemStoreEngine())
        }
    }
}

let shared = RocksDBShared(cacheBytes: 8 << 20, writeBufferBytes: 16 << 20)
let pool = BlockingPool { work in Thread { work() }.start() }
let partition = PartitionID(keyspace: "accounts", number: 3)

func rocksDBEngine(
    _ folder: String, entryCache: EntryCacheBudget = EntryCacheBudget(bytes: 0)
) -> RocksDBMemStoreEngine {
    var options = RocksDBOptions()
    options.writeBufferBytes = 256 << 10
    return RocksDBMemStoreEngine(
        folder: folder, shared: shared, pool: pool, options: options, entryCache: entryCache)
}

extension Seeded {
    mutating func bytes(_ count: ClosedRange<Int>, below limit: UInt8 = .max) -> [UInt8] {
        (0..<Int.random(in: count, using: &self)).map { _ in UInt8.random(in: 0...limit, using: &self) }
    }
}

func entry(_ text: String, _ version: UInt64 = 1, _ time: Int64 = 1) -> StoredEntry {
    StoredEntry(value: Array(text.utf8), version: Version(version), time: Timestamp(milliseconds: time))
}

func scanned(
    _ memstore: any MemStore, _ store: Int, _ range: KeyRange = .all, _ direction: ScanDirection = .forward,
    limit: Int = .max
) throws -> [[UInt8]] {
    var keys: [[UInt8]] = []
    try memstore.scan(store, range, direction) { key, _ in
        keys.append(key)
        return keys.count < limit
    }
    return keys
}
