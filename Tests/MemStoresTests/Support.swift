import AffinityCore
import AffinityMemStores
import AffinityRocksDB
import AffinityRocksDBMemStore
import AffinityTesting
import Foundation
import Testing

/// A folder of its own for a test, removed with the object.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("affinity-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// The engines that pass the same tests.
enum EngineKind: String, CaseIterable, CustomTestStringConvertible {
    case memory, rocksDB, faulty

    var testDescription: String { rawValue }
    var isDurable: Bool { self == .rocksDB }

    func engine(_ folder: String) -> any MemStoreEngine {
        switch self {
        case .memory: MemoryMemStoreEngine()
        case .rocksDB: rocksDBEngine(folder)
        case .faulty: FaultyMemStoreEngine(MemoryMemStoreEngine())
        }
    }
}

let shared = RocksDBShared(cacheBytes: 8 << 20, writeBufferBytes: 16 << 20)
let pool = BlockingPool { work in Thread { work() }.start() }
let partition = PartitionID(keyspace: "accounts", number: 3)

func rocksDBEngine(_ folder: String) -> RocksDBMemStoreEngine {
    var options = RocksDBOptions()
    options.writeBufferBytes = 256 << 10
    return RocksDBMemStoreEngine(folder: folder, shared: shared, pool: pool, options: options)
}

/// A generator that a failed test can be repeated with: the seed is printed, `AFFINITY_SEED` sets it.
struct SeededGenerator: RandomNumberGenerator {
    let seed: UInt64
    private var state: UInt64

    init() {
        let given = ProcessInfo.processInfo.environment["AFFINITY_SEED"].flatMap { UInt64($0) }
        seed = given ?? UInt64.random(in: 1...UInt64(UInt32.max))
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

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
