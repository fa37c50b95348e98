public import AffinityConfiguration
public import AffinityCore
public import AffinityGateway
internal import AffinityKafka
public import AffinityObservability

/// The keys of a node: everything but those of its keyspaces.
public struct NodeConfiguration: Sendable {
    /// Which leaf decides who is master.
    public enum CoordinatorKind: String, CaseIterable, Sendable {
        /// The node is alone.
        case embedded
        /// Many nodes, through ZooKeeper.
        case zookeeper
    }

    /// Which leaf holds the changelogs.
    public enum StorageKind: String, CaseIterable, Sendable {
        /// The durable log in the node's own data folder.
        case local
        /// Topics of a Kafka cluster.
        case kafka
    }

    /// The name of the deployment.
    public var system: String
    /// The node's name.
    public var id: NodeID
    /// Where peers reach the node.
    public var host: String
    /// Where peers reach the node.
    public var port: Int
    /// Where the node listens for peers, if that is not where they reach it.
    public var listen: GatewayConfiguration.Listener?
    /// The folder of everything that the node keeps.
    public var data: String
    /// How many event loops the node runs; 0 for one a core.
    public var loops: Int
    /// How long SIGTERM waits for what is in flight.
    public var drain: Duration
    /// Who decides who is master.
    public var coordinator: CoordinatorKind
    /// What holds the changelogs.
    public var storage: StorageKind
    /// ZooKeeper's own keys.
    public var zookeeper: ZooKeeperKeys
    /// The keys of either log.
    public var log: LogKeys
    /// Kafka's own keys.
    public var kafka: KafkaKeys
    /// How much memory RocksDB may use for blocks that it has read.
    public var blockCache: ByteCount
    /// How much memory RocksDB may use for writes that it has not put on disk.
    public var writeBuffer: ByteCount
    /// How much memory the memstores in RocksDB may use for entries that were read.
    public var entryCache: ByteCount
    /// The keys under `gateway`.
    public var gateway: GatewayConfiguration
    /// Where operators reach the node; nowhere unless it is configured.
    public var admin: [GatewayConfiguration.Listener]
    /// The keys under `log`.
    public var logLines: LogConfiguration

    /// The keys under `coordinator` for `kind: zookeeper`, and of what nodes say to each other.
    public struct ZooKeeperKeys: Sendable {
        /// The servers, and the node that everything is below.
        public var connect: String
        /// How long ZooKeeper waits for word of a node before its masterships go to others.
        public var session: Duration
        /// Who the node is to ZooKeeper, if that asks.
        public var user: String?
        /// The user's secret.
        public var password: Secret?
        /// How long a node that went away keeps its replicas.
        public var grace: Duration
        /// How many partitions are handed over at a time.
        public var handovers: Int
        /// How much of the data the node is to hold, in relation to others.
        public var weight: Int
        /// What every node of the system has to know.
        public var secret: Secret?

        init(_ coordinator: ConfigurationReader, _ node: ConfigurationReader) {
            connect = coordinator.string(
                "connect", default: "",
                doc:
                    "ZooKeeper: the servers, host:port each, with commas between; a /path behind them is put before all."
            )
            session = coordinator.duration(
                "session", default: .seconds(4), in: .milliseconds(200) ... .seconds(600),
                doc:
                    "ZooKeeper: how long it waits for word of a node before others take its partitions; the servers have "
                    + "limits of their own. A quarter of it is the lease.")
            user = coordinator.string("user", doc: "ZooKeeper: who the node is (scheme digest); nobody without it.")
            password = coordinator.secret("password", doc: "ZooKeeper: the user's secret.")
            grace = coordinator.duration(
                "grace", default: .seconds(60), in: .zero ... .seconds(86_400),
                doc: "ZooKeeper: how long a node that went away keeps its replicas, so that a restart moves nothing.")
            handovers = coordinator.integer(
                "handovers", default: 16, in: 1...1024, unit: "partitions",
                doc: "ZooKeeper: how many partitions a node hands over at a time; four times as many warm up at a time."
            )
            weight = node.integer(
                "weight", default: 1, in: 1...65_536,
                doc: "How much of the data the node is to hold, in relation to other nodes.")
            secret = node.secret(
                "secret", doc: "What nodes prove to each other that they know; anybody may be a node without it.")
        }
    }

    /// The keys under `storage`.
    public struct LogKeys: Sendable {
        /// No record is compacted before it is so old.
        public var compactionLag: Duration
        /// So long a removal stays in the log.
        public var deleteRetention: Duration
        /// So often the embedded log looks for something to compact.
        public var compactionInterval: Duration

        init(_ storage: ConfigurationReader) {
            compactionLag = storage.duration(
                "compaction-lag", default: .seconds(86_400), in: .zero ... .seconds(31_536_000),
                doc: "No record is compacted before it is so old; a topic that is made is made so.")
            deleteRetention = storage.duration(
                "delete-retention", default: .seconds(86_400), in: .zero ... .seconds(31_536_000),
                doc: "So long a removal stays in the log; a topic that is made is made so.")
            compactionInterval = storage.duration(
                "compaction-interval", default: .seconds(300), in: .milliseconds(100) ... .seconds(86_400),
                doc: "So often the local log looks for something to compact.")
        }
    }

    /// The keys under `storage` for `kind: kafka`.
    public struct KafkaKeys: Sendable {
        /// The first brokers to ask.
        public var brokers: [String]
        /// How many copies a topic that is made has.
        public var replication: Int
        /// How often the ends of changelogs are looked up.
        public var poll: Duration
        /// How long a record waits for others.
        public var linger: Duration
        /// Whether a read waits for the log's proof that no other node is master.
        public var provesReads: Bool
        /// Whether missing topics are made.
        public var createsTopics: Bool
        /// Further properties of librdkafka.
        public var properties: [String: Secret]

        init(_ storage: ConfigurationReader) {
            brokers = storage.list(
                "brokers", default: [], count: 0...64, doc: "Kafka: the first brokers to ask, host:port each.")
            replication = storage.integer(
                "replication", default: 3, in: 1...15, unit: "copies",
                doc: "Kafka: how many copies a topic that is made has; 1 where there is one broker.")
            poll = storage.duration(
                "poll", default: .milliseconds(100), in: .milliseconds(1) ... .seconds(60),
                doc: "Kafka: how often the ends of all changelogs are looked up, in one request to each broker.")
            linger = storage.duration(
                "linger", default: .zero, in: .zero ... .seconds(1),
                doc: "Kafka: how long a record waits for others to share a request with.")
            provesReads = storage.boolean(
                "prove-reads", default: false,
                doc:
                    "Kafka: whether a read waits for the log's word that no other node is master (a record in each topic "
                    + "for all reads of that moment). Not needed while one process runs.")
            createsTopics = storage.group("topics").boolean(
                "create", default: true, doc: "Kafka: whether missing topics are made; all are checked.")
            properties = storage.properties(
                "kafka", names: KafkaLogConfiguration.propertyNames, isSecret: KafkaLogConfiguration.isSecret,
                doc:
                    "Kafka: properties of librdkafka, as sasl.username or socket.timeout.ms; see its CONFIGURATION.md. "
                    + "A secret can be given as { file: path }. Those that correctness depends on cannot be changed.",
                problem: { KafkaLogConfiguration.problem(property: $0, value: $1) })
        }
    }

    /// Reads the keys.
    public init(_ reader: ConfigurationReader) {
        system = reader.string("system", default: "demo", .name, doc: "The name of the deployment.")
        let node = reader.group("node")
        id = NodeID(node.string("id", default: "n1", .name, doc: "The node's name; unique in the system."))
        host = node.string("host", default: "127.0.0.1", doc: "Where peers reach this node.")
        port = node.integer("port", default: 7001, in: 0...65_535, doc: "Where peers reach this node.")
        listen = node.string(
            "listen", TextRule("an address like 0.0.0.0:7001") { GatewayConfiguration.Listener("http://" + $0) != nil },
            doc: "Where this node listens for peers, if that is not host and port: behind a proxy, or at all addresses."
        ).flatMap { GatewayConfiguration.Listener("http://" + $0) }
        data = node.string("data", default: "data", doc: "The folder of everything that the node keeps.")
        loops = node.integer(
            "loops", default: 0, in: 0...256, unit: "threads",
            doc: "How many event loops serve connections and partitions; 0 for one a core.")
        drain = node.duration(
            "drain", default: .seconds(30), in: .zero ... .seconds(3600),
            doc: "How long SIGTERM waits for what is in flight.")
        let coordination = reader.group("coordinator")
        coordinator = coordination.choice(
            "kind", default: CoordinatorKind.embedded, doc: "Who decides which replica is master.")
        zookeeper = ZooKeeperKeys(coordination, node)
        let storage = reader.group("storage")
        self.storage = storage.choice("kind", default: StorageKind.local, doc: "What holds the changelogs.")
        log = LogKeys(storage)
        kafka = KafkaKeys(storage)
        if self.storage == .kafka && kafka.brokers.isEmpty {
            storage.reject("brokers", "is needed when storage.kind is kafka", expected: "127.0.0.1:9092, for example")
        }
        if coordinator == .zookeeper && zookeeper.connect.isEmpty {
            coordination.reject("connect", "is needed when coordinator.kind is zookeeper", expected: "127.0.0.1:2181")
        }
        if coordinator == .zookeeper && self.storage == .local {
            storage.reject("kind", "is local, but nodes of a cluster share their log", expected: "kafka")
        }
        let rocksdb = reader.group("rocksdb")
        blockCache = rocksdb.size(
            "block-cache", default: .mebibytes(128), in: .mebibytes(1) ... .tebibytes(1),
            doc: "Memory for blocks that were read, shared by all databases of the node.")
        writeBuffer = rocksdb.size(
            "write-buffer", default: .mebibytes(128), in: .mebibytes(1) ... .tebibytes(1),
            doc: "Memory for writes that are not on disk yet, shared by all databases of the node.")
        entryCache = rocksdb.size(
            "entry-cache", default: .mebibytes(64), in: .bytes(0) ... .tebibytes(1),
            doc: "Memory for entries that were read lately, found without RocksDB; an equal share for each partition.")
        gateway = GatewayConfiguration(reader)
        admin = GatewayConfiguration.listeners(
            reader.group("admin"), default: [],
            doc:
                "Where operators change what the cluster does (/admin), like http://127.0.0.1:8079; nowhere without it. "
                + "Whoever reaches it may do so.")
        logLines = LogConfiguration(reader)
    }
}

/// The keys of one keyspace: `keyspaces.<name>`.
public struct KeyspaceConfiguration: Sendable {
    /// Which engine keeps the state beside the logic.
    public enum MemStoreKind: String, CaseIterable, Sendable {
        /// A hash table; restarts replay the log.
        case memory
        /// RocksDB; restarts go on from where it was.
        case rocksdb
    }

    /// How many partitions the keyspace has, for ever.
    public var partitions: Int
    /// How many copies each partition has.
    public var replicas: Int
    /// What keeps the state.
    public var memstore: MemStoreKind
    /// What bounds the work of one partition.
    public var limits: StateLimits

    /// Reads the keys.
    ///
    /// - Parameters:
    ///   - name: the keyspace's.
    ///   - reader: of all keys.
    ///   - body: how long a request body may be; records may be somewhat longer.
    public init(_ name: String, _ reader: ConfigurationReader, body: Int) {
        let keyspace = reader.group("keyspaces").group(name)
        partitions = keyspace.integer(
            "partitions", default: 4, in: 1...65_536, doc: "How many partitions the keyspace has; never to be changed.")
        replicas = keyspace.integer(
            "replicas", default: 1, in: 1...16, doc: "How many nodes have a copy of each partition.")
        memstore = keyspace.choice(
            "memstore", default: MemStoreKind.memory, doc: "What keeps the state beside the logic.")
        var limits = StateLimits()
        limits.record = body + (64 << 10)
        limits.idempotency = keyspace.duration(
            "idempotency", default: .seconds(600), in: .seconds(1) ... .seconds(604_800),
            doc: "How long the outcome of a request with an idempotency key is kept.")
        let inFlight = keyspace.group("in-flight")
        limits.commands = inFlight.integer(
            "commands", default: limits.commands, in: 1...1_000_000, unit: "commands",
            doc: "How many commands of a partition may be on their way to the log; more wait.")
        limits.bytes =
            inFlight.size(
                "bytes", default: .bytes(limits.bytes), in: .kibibytes(1) ... .gibibytes(16),
                doc: "How many bytes of a partition may be on their way to the log; more wait."
            ).bytes
        limits.waiting = inFlight.integer(
            "waiting", default: limits.waiting, in: 0...1_000_000, unit: "callers",
            doc: "How many callers of a partition may wait for a place; more are refused with 429.")
        limits.watches = Self.watches(keyspace.group("watches"))
        limits.handler = keyspace.duration(
            "slow-handler", default: limits.handler, in: .milliseconds(1) ... .seconds(3600),
            doc: "A handler that runs longer is reported.")
        self.limits = limits
    }

    private static func watches(_ group: ConfigurationReader) -> WatchLimits {
        var limits = WatchLimits()
        limits.watches = group.integer(
            "open", default: limits.watches, in: 1...10_000_000, unit: "watches",
            doc:
                "How many watches a node may have open on the keyspace, its own and those of other nodes; more are refused."
        )
        limits.changes = group.integer(
            "changes", default: limits.changes, in: 0...10_000_000, unit: "changes",
            doc: "How many of the newest changes of a partition are kept in memory for those who come back.")
        limits.bytes =
            group.size(
                "bytes", default: .bytes(limits.bytes), in: .bytes(0) ... .gibibytes(16), doc: "How many bytes of them."
            ).bytes
        limits.waiting = group.integer(
            "waiting", default: limits.waiting, in: 1...1_000_000, unit: "watches",
            doc: "How many watches of a partition may wait to go on from the changelog; more try again a moment later.")
        limits.replays = group.integer(
            "replays", default: limits.replays, in: 1...1024,
            doc:
                "How many changelogs of the keyspace a node reads at a time for those who go on from there; others wait."
        )
        limits.replay =
            group.size(
                "replay", default: .bytes(limits.replay), in: .kibibytes(64) ... .gibibytes(1),
                doc: "How much of a changelog is read before it is the next one's turn."
            ).bytes
        limits.piece =
            group.size(
                "piece", default: .bytes(limits.piece), in: .kibibytes(4) ... .mebibytes(64),
                doc: "How much a watch is handed at once of what it has missed; more is read when that was taken."
            ).bytes
        return limits
    }
}
