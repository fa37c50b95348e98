import Affinity

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
        let (sum, overflow) = tx[counts, add.key, default: 0].addingReportingOverflow(add.by)
        if overflow { throw Rejected("the counter is full") }
        tx[counts, add.key] = sum
        return sum
    }

    func count(_ query: Count, _ view: borrowing View) -> Int { view[counts, query.key, default: 0] }
}

await Node.main { node in
    let counters = try node.keyspace("counters", Counters.self)
    return try HTTPGateway { routes in
        routes.post("/counters/:name") { (by: Int, name: String) in try await counters.ask(Add(key: name, by: by)) }
        routes.get("/counters/:name") { (name: String) in try await counters.ask(Count(key: name)) }
        routes.watch("/counters/:name", counters, \.counts)
        routes.operations(node)
    }
}
