import AffinityCore

/// A keyspace as in the documentation, for tests that need no more.
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

struct Add: Command {
    typealias Reply = Int
    let key: String
    let by: Int
}

struct Count: Query {
    typealias Reply = Int
    let key: String
}
