import AffinityCore
import AffinityRocksDB
import AffinityRocksDBMemStore
import AffinityTestSupport
import Foundation
import Testing

/// What is of the engine on disk alone.
@Suite struct RocksDBMemStoreTests {
    let folder: TemporaryFolder
    let stores = [StoreDeclaration(name: "a", isOrdered: true)]

    init() throws { folder = try TemporaryFolder() }

    /// A crash leaves what a copy of the folder holds at that moment.
    @Test func aCrashLeavesAPrefixWithItsCheckpoint() async throws {
        let memstore = try await rocksDBEngine(folder.path + "/live").open(partition, stores: stores)
        for number in 0..<3000 {
            let key = Array("\(number % 700)".utf8)
            let value = StoredEntry(
                value: Array(repeating: UInt8(number & 0xFF), count: 500), version: Version(UInt64(number)),
                time: Timestamp(milliseconds: 0))
            try memstore.commit(
                [
                    MemStoreWrite(store: 0, key: key, entry: value),
                    MemStoreWrite(store: 0, key: [0], entry: entry("\(number)")),
                ], checkpoint: Array("\(number)".utf8))
            if number == 1500 { try await memstore.flush() }
        }
        try copyLive()
        let crashed = try await rocksDBEngine(folder.path + "/crashed").open(partition, stores: stores)
        let checkpoint = try #require(crashed.checkpoint)
        let last = try #require(Int(String(decoding: checkpoint, as: UTF8.self)))
        #expect(last >= 1500)
        #expect(try crashed.get(0, [0]) == entry("\(last)"))
        #expect(try crashed.get(0, Array("\(last % 700)".utf8))?.version == Version(UInt64(last)))
        await crashed.close()
        await memstore.close()
    }

    /// Copies the folder of a database that is open; again if RocksDB has removed a file meanwhile that it needs no more.
    private func copyLive() throws {
        let (live, copy) = (folder.path + "/live", folder.path + "/crashed")
        for _ in 0..<20 {
            do { return try FileManager.default.copyItem(atPath: live, toPath: copy) } catch {
                try? FileManager.default.removeItem(atPath: copy)
            }
        }
        try FileManager.default.copyItem(atPath: live, toPath: copy)
    }

    @Test(arguments: ["a/b", "..", "", "ä ö", "x.aside-1", "a-1", String(repeating: "long/", count: 100)])
    func anyKeyspaceNameIsAFolder(_ keyspace: String) async throws {
        let engine = rocksDBEngine(folder.path)
        let partition = PartitionID(keyspace: keyspace, number: 1)
        let memstore = try await engine.open(partition, stores: stores)
        try memstore.commit([], checkpoint: [1])
        await memstore.close()
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(names.count == 1 && "\(folder.path)/\(names[0])" == engine.path(of: partition))
        #expect(!names[0].contains("."))
    }

    @Test func aFolderOfAnotherPartitionIsRefused() async throws {
        let engine = rocksDBEngine(folder.path)
        await (try engine.open(partition, stores: stores)).close()
        let other = PartitionID(keyspace: "accounts", number: 4)
        try FileManager.default.moveItem(atPath: engine.path(of: partition), toPath: engine.path(of: other))
        let error = await #expect(throws: MemStoreError.self) { _ = try await engine.open(other, stores: []) }
        #expect(error?.code == .corrupt && error?.reason.contains(engine.path(of: other)) == true)
    }

    @Test func aSecondOpenerAndADamagedFileAreNamed() async throws {
        let engine = rocksDBEngine(folder.path)
        let path = engine.path(of: partition)
        let memstore = try await engine.open(partition, stores: stores)
        let inUse = await #expect(throws: MemStoreError.self) { _ = try await engine.open(partition, stores: stores) }
        #expect(inUse?.code == .io && inUse?.reason.contains(path) == true)
        try memstore.commit([MemStoreWrite(store: 0, key: [1], entry: entry("x"))], checkpoint: [1])
        await memstore.close()
        for name in try FileManager.default.contentsOfDirectory(atPath: path) where name.hasSuffix(".sst") {
            try Data(repeating: 7, count: 900).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        }
        let damaged = await #expect(throws: MemStoreError.self) { _ = try await engine.open(partition, stores: stores) }
        #expect(damaged?.code == .corrupt && damaged?.reason.contains(path) == true)
    }

    @Test func aFileWhereTheFolderShouldBeIsAnError() async throws {
        try Data().write(to: URL(fileURLWithPath: folder.path + "/file"))
        let engine = rocksDBEngine(folder.path + "/file")
        let error = await #expect(throws: MemStoreError.self) { _ = try await engine.open(partition, stores: stores) }
        #expect(error?.code == .io && error?.reason.contains("/file") == true)
    }

    @Test func sharedMemoryIsSharedAndBounded() async throws {
        let shared = RocksDBShared(cacheBytes: 1 << 20, writeBufferBytes: 2 << 20)
        let engine = RocksDBMemStoreEngine(folder: folder.path, shared: shared, pool: pool)
        for number in 0..<4 {
            let memstore = try await engine.open(PartitionID(keyspace: "k", number: number), stores: stores)
            for index in 0..<2000 {
                let value = StoredEntry(
                    value: Array(repeating: 1, count: 1000), version: .none, time: Timestamp(milliseconds: 0))
                try memstore.commit(
                    [MemStoreWrite(store: 0, key: Array("\(index)".utf8), entry: value)], checkpoint: [1])
                #expect(shared.writeBufferUsage < 8 << 20)
            }
            await memstore.close()
        }
    }
}
