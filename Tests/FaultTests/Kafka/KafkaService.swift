import AffinityCore
import AffinityTestSupport
import Foundation
import Testing

/// `KeyValue` with its log in Kafka, in topics of its own.
struct KafkaService: Sendable {
    /// The name that the topics begin with.
    let system: String
    let brokers: String
    var partitions = 3
    var replication = 1
    /// Further arguments of every node.
    var arguments: [String] = []

    init(_ system: String, _ cluster: KafkaCluster, _ arguments: [String] = []) {
        self.system = system
        brokers = cluster.brokers
        self.arguments = arguments
    }

    // MARK: - Nodes

    /// Starts a node, whatever becomes of it.
    func start(_ data: String, _ memstore: KeyValueNode.MemStore = .rocksdb) throws -> Child {
        try KeyValueNode.start(data, memstore, partitions: partitions, allArguments)
    }

    /// Starts a node and returns once it listens.
    func listening(_ data: String, _ memstore: KeyValueNode.MemStore = .rocksdb) throws -> ServiceProcess {
        try KeyValueNode.listening(data, memstore, partitions: partitions, allArguments)
    }

    /// Starts a node and returns once every partition serves.
    func serving(_ data: String, _ memstore: KeyValueNode.MemStore = .rocksdb) throws -> ServiceProcess {
        try KeyValueNode.serving(data, memstore, partitions: partitions, allArguments)
    }

    private var allArguments: [String] {
        [
            "--system", system, "--storage.kind", "kafka", "--storage.brokers", brokers, "--storage.replication",
            "\(replication)",
        ] + arguments
    }

    // MARK: - Topics

    static let stores = ["_requests", "kv"]

    func topic(_ store: String) -> String { "\(system).kv.\(store)" }

    func partition(_ key: String) -> Int { Partitioner.partition(key, of: partitions) }

    /// A key of that partition which no load uses.
    func key(in partition: Int, _ prefix: String = "own") -> String {
        (0...).lazy.map { "\(prefix)-\($0)" }.first { self.partition($0) == partition } ?? ""
    }

    /// The settings of a topic as the service makes it, but for when its records are compacted.
    static func settings(lag: Duration, segment: Duration) -> [String: String] {
        [
            "cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime", "max.message.bytes": "1179648",
            "min.compaction.lag.ms": "\(Int(lag / .milliseconds(1)))", "delete.retention.ms": "86400000",
            "segment.ms": "\(Int(segment / .milliseconds(1)))", "min.cleanable.dirty.ratio": "0.0",
        ]
    }

    /// Makes the topics that compact from the beginning.
    func makeTopics(lag: Duration, segment: Duration) throws {
        let client = try TopicClient(brokers)
        for store in Self.stores {
            try client.create(topic(store), partitions: partitions, Self.settings(lag: lag, segment: segment))
        }
    }

    /// Lets compaction take from now on what it can.
    func letCompact() throws {
        let client = try TopicClient(brokers)
        let settings = Self.settings(lag: .zero, segment: .milliseconds(100))
        for store in Self.stores { try client.set(topic(store), settings) }
    }

    /// Returns when no record that stands in the topics now has a later one of its key there.
    ///
    /// Compaction leaves the newest segment alone, so something is written until there are newer ones.
    func waitForCompaction(_ node: ServiceProcess) throws {
        let client = try TopicClient(brokers)
        let connection = try node.connect()
        let places = Self.stores.flatMap { store in (0..<partitions).map { (store, $0) } }
        let ends = try places.map { try client.read(topic($0.0), $0.1).last?.offset ?? .zero }
        try node.waitUntil(within: 60) {
            for partition in 0..<partitions {
                let name = UUID().uuidString
                let answer = try connection.ask(
                    "POST", "/kv/\(key(in: partition))/add", [("Idempotency-Key", name)], json: "{\"by\":1}")
                guard answer.isGood || [503, 504].contains(answer.status) else { throw Failure("\(answer)") }
            }
            return try zip(places, ends).allSatisfy { place, end in
                let old = try client.read(topic(place.0), place.1).filter { $0.offset <= end }
                return Set(old.map(\.record.key)).count == old.count
            }
        }
    }

    // MARK: - What must be so in the end

    /// With nothing in flight: everything is there. Ends the node properly, and compares what it says with what new
    /// nodes make of the same end of the log, with either memstore, and with the topics themselves.
    func finish(
        _ node: ServiceProcess, _ load: Load, _ folder: TemporaryFolder, _ data: String,
        _ memstore: KeyValueNode.MemStore
    ) throws {
        try node.waitUntilQuiet()
        try load.checkAll(node.connect())
        let listing = try node.listing()
        #expect(!listing.isEmpty)
        #expect(try node.stop() == 0)
        let fresh = "\(folder.path)/fresh-\(UUID().uuidString)"
        for kind in KeyValueNode.MemStore.allCases {
            let other = try serving("\(fresh)-\(kind)", kind)
            let isSame = try other.listing() == listing
            #expect(isSame, "\(memstore), replayed into \(kind)")
            #expect(try other.stop() == 0)
        }
        let replay = try Replay("\(fresh)-rocksdb", partitions: partitions, topics: self)
        #expect(replay.differences.isEmpty, "\(replay.differences.prefix(3))")
        #expect(replay.entries["kv"] == listing.count && replay.entries["_requests", default: 0] > 0)
        #expect(replay.unread == 0, "the memstore was closed level with the log")
        if memstore == .rocksdb {
            let kept = try Replay(data, partitions: partitions, topics: self)
            #expect(kept.differences.isEmpty, "\(kept.differences.prefix(3))")
        }
        #expect(load.ledger.mistakes == [])
    }
}

/// A partition as `/status` shows it.
struct PartitionState: Decodable {
    var partition: Int
    var epoch: UInt64
    var run: UInt16
    var state: String
    var reason: String?
    var inFlight: Int

    var mastership: Epoch { Epoch(grant: epoch, run: run) }
}

extension ServiceProcess {
    func partitionStates() throws -> [PartitionState] {
        struct Status: Decodable {
            struct Keyspace: Decodable { let partitions: [PartitionState] }
            let keyspaces: [String: Keyspace]
        }
        let answer = try connect().ask("GET", "/status")
        let status = try JSONDecoder().decode(Status.self, from: Data(answer.text.utf8))
        return status.keyspaces["kv"]?.partitions ?? []
    }

    /// Returns when every partition serves and nothing is on its way to the log.
    func waitUntilQuiet() throws {
        try waitUntil {
            let states = try partitionStates()
            return !states.isEmpty && states.allSatisfy { $0.state == "serving" && $0.inFlight == 0 }
        }
    }
}
