import AffinityCore
import AffinityTestSupport
import Testing

@testable import AffinityRocksDBMemStore

@Suite struct EntryCacheTests {
    @Test func whatIsAskedForAgainStaysAndTheOthersGoInTurn() {
        let budget = EntryCacheBudget(bytes: 40 * 200)
        var cache = EntryCache(budget, stores: 1)
        for number in 0..<10 { cache.insert(0, key(number), entry("hot")) }
        for number in 10..<2_000 {
            // Again and again, as those who scan come by.
            for hot in 0..<10 { #expect(cache.entry(0, key(hot)) != nil, "after \(number)") }
            if cache.entry(0, key(number)) == nil { cache.insert(0, key(number), entry("cold")) }
            #expect(budget.usage <= budget.bytes)
        }
        #expect(cache.entry(0, key(1_999)) == entry("cold"))
        #expect(cache.entry(0, key(1_000)) == nil)
        #expect(budget.usage > budget.bytes / 2)
    }

    @Test func whatIsWrittenTakesThePlaceOfWhatIsThereAndOfNothingElse() {
        let budget = EntryCacheBudget(bytes: 10_000)
        var cache = EntryCache(budget, stores: 2)
        cache.insert(0, key(1), entry("old"))
        cache.insert(0, key(2), entry("old"))
        cache.update(0, key(1), entry("new", 2))
        cache.update(1, key(1), entry("of another store"))
        cache.update(0, key(2), nil)
        #expect(cache.entry(0, key(1)) == entry("new", 2))
        #expect(cache.entry(0, key(2)) == nil)
        #expect(cache.entry(1, key(1)) == nil)
        let before = budget.usage
        cache.update(0, key(1), entry(String(repeating: "x", count: 500)))
        #expect(budget.usage == before + 497)
        // Larger than everything that there is room for.
        cache.update(0, key(1), entry(String(repeating: "x", count: 20_000)))
        #expect(cache.entry(0, key(1)) == nil)
        #expect(budget.usage == 0)
    }

    @Test func memstoresShareTheBudgetAndGiveItBack() async throws {
        let folder = try TemporaryFolder()
        let budget = EntryCacheBudget(bytes: 64 << 10)
        let engine = rocksDBEngine(folder.path, entryCache: budget)
        for number in 0..<4 {
            let id = PartitionID(keyspace: "shared", number: number)
            let memstore = try await engine.open(id, stores: [StoreDeclaration(name: "a", isOrdered: false)])
            for index in 0..<300 {
                try memstore.commit(
                    [MemStoreWrite(store: 0, key: key(index), entry: entry("\(index)"))], checkpoint: [1])
                #expect(try memstore.get(0, key(index)) == entry("\(index)"))
            }
            // Once more: some of them from the cache.
            for index in 0..<300 { #expect(try memstore.get(0, key(index)) == entry("\(index)")) }
            #expect(budget.usage > 0 && budget.usage <= budget.bytes)
            await memstore.close()
        }
        #expect(budget.usage == 0)
    }

    @Test func nothingIsKeptWithoutABudget() {
        var cache = EntryCache(EntryCacheBudget(bytes: 0), stores: 1)
        cache.insert(0, key(1), entry("x"))
        #expect(cache.entry(0, key(1)) == nil)
    }

    private func key(_ number: Int) -> [UInt8] { Array("key-\(number)".utf8) }
}
