import AffinityCore
import AffinityTestSupport
import AffinityTesting
import Foundation
import Testing

/// What every memstore owes its replica.
@Suite struct MemStoreContractTests {
    let stores = [
        StoreDeclaration(name: "balances", isOrdered: true), StoreDeclaration(name: "names", isOrdered: false),
    ]
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test(arguments: EngineKind.allCases) func beginsEmpty(_ kind: EngineKind) async throws {
        let memstore = try await kind.engine(folder.path).open(partition, stores: stores)
        #expect(memstore.checkpoint == nil)
        #expect(try memstore.get(0, [1]) == nil)
        #expect(try memstore.count(0) == 0)
        #expect(try scanned(memstore, 0) == [])
        #expect(try scanned(memstore, 0, .all, .backward) == [])
        await memstore.close()
    }

    @Test(arguments: EngineKind.allCases) func storesAreApart(_ kind: EngineKind) async throws {
        let memstore = try await kind.engine(folder.path).open(partition, stores: stores)
        try memstore.commit(
            [
                MemStoreWrite(store: 0, key: [], entry: entry("empty key", .max, .min)),
                MemStoreWrite(store: 1, key: [0xFF, 0xFF], entry: entry("")),
                MemStoreWrite(store: 0, key: [0], entry: entry("zero")),
                MemStoreWrite(store: 0, key: [0xFF], entry: entry("gone")),
                MemStoreWrite(store: 0, key: [0xFF], entry: nil),
                MemStoreWrite(store: 1, key: [9], entry: nil),
            ], checkpoint: [7])
        #expect(memstore.checkpoint == [7])
        #expect(try memstore.get(0, []) == entry("empty key", .max, .min))
        #expect(try memstore.get(1, []) == nil)
        #expect(try memstore.get(1, [0xFF, 0xFF]) == entry(""))
        #expect(try scanned(memstore, 0) == [[], [0]])
        #expect(try scanned(memstore, 0, .all, .backward) == [[0], []])
        #expect(try scanned(memstore, 1) == [[0xFF, 0xFF]])
        #expect(try memstore.count(0) == 2 && memstore.count(1) == 1)
        await memstore.close()
    }

    @Test(arguments: EngineKind.allCases) func boundsAndPrefixes(_ kind: EngineKind) async throws {
        let memstore = try await kind.engine(folder.path).open(partition, stores: stores)
        let keys: [[UInt8]] = [
            [1], [1, 0], [1, 255], [2], [2, 1, 1, 1, 1, 1, 1, 1, 1], [255], [255, 255], [255, 255, 0],
        ]
        try memstore.commit(
            keys.shuffled().map { MemStoreWrite(store: 0, key: $0, entry: entry("x")) }, checkpoint: [])
        let ranges = [
            KeyRange.all, KeyRange(prefix: [1]), KeyRange(prefix: [255]), KeyRange(prefix: [255, 255]),
            KeyRange(from: [1, 0], to: [2]), KeyRange(from: [2], to: [2]), KeyRange(from: [3], to: [1]),
            KeyRange(from: [0], to: [1]), KeyRange(from: [255, 255, 1]), KeyRange.all.after([1, 255]),
        ]
        for range in ranges {
            let expected = keys.filter(range.contains)
            #expect(try scanned(memstore, 0, range) == expected)
            #expect(try scanned(memstore, 0, range, .backward) == expected.reversed())
        }
        #expect(try scanned(memstore, 0, .all, .backward, limit: 2) == [[255, 255, 0], [255, 255]])
        await memstore.close()
    }

    /// Random batches against a dictionary; a durable engine is closed and opened on the way, its stores in another
    /// order and with a new one among them.
    @Test(arguments: EngineKind.allCases) func agreesWithAModel(_ kind: EngineKind) async throws {
        var random = Seeded(newSeed())
        print("MemStoreContractTests.agreesWithAModel \(kind): TEST_SEED=\(random.seed)")
        let engine = kind.engine(folder.path)
        var names = ["balances", "names"]
        var memstore = try await engine.open(
            partition, stores: names.map { StoreDeclaration(name: $0, isOrdered: true) })
        var model: [String: [[UInt8]: StoredEntry]] = [:]
        for round in 0..<300 {
            var writes: [MemStoreWrite] = []
            for _ in 0..<Int.random(in: 0...60, using: &random) {
                let store = Int.random(in: names.indices, using: &random)
                let key = random.bytes(0...4, below: 6)
                var value: StoredEntry?
                if Int.random(in: 0..<3, using: &random) > 0 {
                    value = StoredEntry(
                        value: random.bytes(0...200), version: Version(UInt64(round)),
                        time: Timestamp(milliseconds: Int64(bitPattern: random.next())))
                }
                writes.append(MemStoreWrite(store: store, key: key, entry: value))
                model[names[store], default: [:]][key] = value
            }
            let checkpoint = random.bytes(0...50)
            try memstore.commit(writes, checkpoint: checkpoint)
            #expect(memstore.checkpoint == checkpoint)
            if kind.isDurable && round % 60 == 59 {
                await memstore.close()
                if names.count < 4 { names.append("more\(names.count)") }
                names.shuffle(using: &random)
                memstore = try await engine.open(
                    partition, stores: names.map { StoreDeclaration(name: $0, isOrdered: true) })
                #expect(memstore.checkpoint == checkpoint)
            }
            guard round % 20 == 19 else { continue }
            for (store, name) in names.enumerated() {
                let expected = (model[name] ?? [:]).sorted { $0.key.lexicographicallyPrecedes($1.key) }
                #expect(try memstore.count(store) == expected.count)
                #expect(try scanned(memstore, store) == expected.map(\.key))
                for (key, value) in expected { #expect(try memstore.get(store, key) == value) }
                let range = KeyRange(from: random.bytes(0...3, below: 6), to: random.bytes(0...3, below: 6))
                let within = expected.map(\.key).filter(range.contains)
                #expect(try scanned(memstore, store, range, .backward) == within.reversed())
            }
        }
        await memstore.close()
    }

    @Test(arguments: EngineKind.allCases) func copyHoldsWhatWasCommitted(_ kind: EngineKind) async throws {
        let memstore = try await kind.engine(folder.path + "/a").open(partition, stores: stores)
        try memstore.commit([MemStoreWrite(store: 0, key: [1], entry: entry("one"))], checkpoint: [1])
        guard kind.isDurable else {
            await #expect(throws: MemStoreError.self) { try await memstore.copy(to: folder.path + "/copy") }
            return
        }
        try FileManager.default.createDirectory(atPath: folder.path + "/b", withIntermediateDirectories: true)
        try await memstore.copy(to: folder.path + "/b/accounts-3")
        try memstore.commit([MemStoreWrite(store: 0, key: [1], entry: entry("two"))], checkpoint: [2])
        await memstore.close()
        let copy = try await kind.engine(folder.path + "/b").open(partition, stores: stores)
        #expect(copy.checkpoint == [1])
        #expect(try copy.get(0, [1]) == entry("one"))
        await copy.close()
    }

    @Test(arguments: EngineKind.allCases) func setAsideBeginsAnew(_ kind: EngineKind) async throws {
        let engine = kind.engine(folder.path)
        #expect(try await engine.setAside(partition) == nil)
        for number in 1...2 {
            let memstore = try await engine.open(partition, stores: stores)
            #expect(memstore.checkpoint == nil)
            try memstore.commit([], checkpoint: [1])
            await memstore.close()
            let aside = try await engine.setAside(partition)
            #expect(aside == (kind.isDurable ? "\(folder.path)/accounts-3.aside-\(number)" : nil))
        }
    }
}
