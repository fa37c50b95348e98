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
        // It would take the place of all others.
        cache.update(0, key(1), entry(String(repeating: "x", count: 2_000)))
        #expect(cache.entry(0, key(1)) == nil)
        #expect(budget.usage == 0)
    }

    @Test func memstoresShareTheBudgetAndGiveItBack() async throws {
        let folder = try TemporaryFolder()
        let budget = EntryCacheBudget(bytes: 64 << 10)
        let engine = rocksDBEngine(folder.path, entryCache: budget)
        var memstores: [any MemStore] = []
        for number in 0..<4 {
            let id = PartitionID(keyspace: "shared", number: number)
            memstores.append(try await engine.open(id, stores: [StoreDeclaration(name: "a", isOrdered: false)]))
            // Enough for the shrinking of those that had more.
            for memstore in memstores { try fill(memstore) }
            #expect(budget.usage <= budget.bytes)
            #expect(budget.usage > budget.bytes * 3 / 4)
        }
        for memstore in memstores { await memstore.close() }
        memstores = []
        #expect(budget.usage == 0)
    }

    private func fill(_ memstore: any MemStore) throws {
        for index in 0..<400 {
            try memstore.commit(
                [MemStoreWrite(store: 0, key: key(index), entry: entry("\(index)"))], checkpoint: [1])
            #expect(try memstore.get(0, key(index)) == entry("\(index)"))
        }
    }

    /// A loop must not stand still because another memstore was opened.
    @Test func aShareThatBecomesSmallIsComeDownToInSmallSteps() {
        let budget = EntryCacheBudget(bytes: 1 << 20)
        var cache = EntryCache(budget, stores: 1)
        for number in 0..<4_000 { cache.insert(0, key(number), entry("x")) }
        let before = budget.usage
        let other = EntryCache(budget, stores: 1)
        cache.shrink()
        #expect(budget.usage < before && budget.usage > before - 100 * 200)
        for _ in 0..<200 { cache.shrink() }
        #expect(budget.usage <= budget.bytes / 2)
        withExtendedLifetime(other) {}
    }

    @Test func nothingIsKeptWithoutABudget() {
        var cache = EntryCache(EntryCacheBudget(bytes: 0), stores: 1)
        cache.insert(0, key(1), entry("x"))
        #expect(cache.entry(0, key(1)) == nil)
    }

    private func key(_ number: Int) -> [UInt8] { Array("key-\(number)".utf8) }
}
