import AffinityTestSupport

/// What the program is told to do.
struct Options {
    enum Mode {
        /// Every fault in turn, in an order that the seed decides, until the time is over.
        case faults
        /// So many masters are killed, and the time without a write is measured.
        case kills(Int)
        /// Every node is restarted so many times under load, and nothing may fail.
        case rolling(Int)
    }

    var mode = Mode.faults
    var seconds = 120.0
    var seed = UInt64.random(in: 0...UInt64(UInt32.max))
    /// The only faults that happen; all of them if there is none here.
    var only: [String] = []
    /// Where everything of the run is; left there when the run fails.
    var folder = ""
    /// How many ZooKeeper servers there are.
    var servers = 3
    var nodes = 3
    var partitions = 4
    var replicas = 2
    var memstore = "rocksdb"
    /// ZooKeeper's session, in milliseconds.
    var session = 2_000

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { throw Failure("\(name) needs a value") }
            try set(name, value)
        }
        if folder.isEmpty { throw Failure("--folder is needed") }
        let known = Set(Fault.all.map(\.name))
        guard known.isSuperset(of: only) else {
            throw Failure("--fault: one of \(known.sorted().joined(separator: " "))")
        }
        guard (2...9).contains(nodes), (1...nodes).contains(replicas), [1, 3].contains(servers) else {
            throw Failure("2 to 9 nodes, as many replicas at most, 1 or 3 servers")
        }
    }

    private mutating func set(_ name: String, _ value: String) throws {
        func number() throws -> Int {
            guard let number = Int(value), number > 0 else { throw Failure("\(name) \(value): no positive number") }
            return number
        }
        switch name {
        case "--kills": mode = .kills(try number())
        case "--rolling": mode = .rolling(try number())
        case "--seconds": seconds = Double(try number())
        case "--seed":
            guard let given = UInt64(value) else { throw Failure("--seed \(value)") }
            seed = given
        case "--fault": only.append(value)
        case "--folder": folder = value
        case "--servers": servers = try number()
        case "--nodes": nodes = try number()
        case "--partitions": partitions = try number()
        case "--replicas": replicas = try number()
        case "--memstore": memstore = value
        case "--session": session = try number()
        default: throw Failure("there is no option \(name)")
        }
    }
}
