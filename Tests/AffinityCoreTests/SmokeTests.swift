import AffinityCore
import AffinityMemStores
import AffinityTesting
import Testing

struct Add: Command {
    typealias Reply = Int
    let key: String
    let by: Int
}

struct Count: Query {
    typealias Reply = Int
    let key: String
}

final class Counters: Partition {
    let counts = Store<String, Int>("counts")

    override class func register(_ on: Handlers) {
        on.command(Add.self, add)
        on.query(Count.self, count)
    }

    func add(_ add: Add, _ tx: inout Transaction) throws(Rejected) -> Int {
        guard add.by != 0 else { throw Rejected("nothing to add") }
        tx[counts, add.key, default: 0] += add.by
        return tx[counts, add.key, default: 0]
    }

    func count(_ query: Count, _ view: borrowing View) -> Int { view[counts, query.key, default: 0] }
}

@Suite struct SmokeTests {
    @Test func aProbeRunsCommandsAndQueries() throws {
        let probe = try PartitionProbe(Counters.self)
        #expect(try probe.run(Add(key: "a", by: 2)) == 2)
        #expect(try probe.run(Add(key: "a", by: 3)) == 5)
        #expect(throws: Rejected.self) { try probe.run(Add(key: "a", by: 0)) }
        #expect(try probe.run(Count(key: "a")) == 5)
        #expect(probe[\.counts, "a"] == 5)
        #expect(probe.entry(\.counts, "a")?.version == Version(2))
    }
}
