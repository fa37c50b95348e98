internal import AffinityCore
internal import CRdKafka

/// Which Kafka cluster holds the changelogs, and how it is talked to.
public struct KafkaLogConfiguration: Sendable {
    /// The name of the deployment, with which its topics begin.
    public var system: String
    /// The first brokers to ask: `host:port`, joined by commas.
    public var brokers: String
    /// How many partitions each keyspace has, and so each topic of it.
    public var partitions: [String: Int]
    /// How many copies a topic that is made has.
    public var replication = 3
    /// Whether missing topics are made.
    public var createsTopics = true
    /// How often the log looks where its changelogs end.
    public var poll = Duration.milliseconds(100)
    /// How long a record may wait for others to share a request with.
    public var linger = Duration.zero
    /// The largest request of one record: key, value, headers, and what Kafka adds.
    public var maxMessageBytes = (1 << 20) + (128 << 10)
    /// No record is compacted before it is so old.
    public var compactionLag = Duration.seconds(24 * 3600)
    /// So long a tombstone stays.
    public var deleteRetention = Duration.seconds(24 * 3600)
    /// How long opening a partition, or finding out where it ends, may wait for a broker.
    public var patience = Duration.seconds(5)
    /// Further properties of librdkafka, by their names.
    public var properties: [String: String] = [:]

    /// A cluster with the defaults for everything else.
    public init(system: String, brokers: String, partitions: [String: Int]) {
        self.system = system
        self.brokers = brokers
        self.partitions = partitions
    }

    /// The names of all properties, also of those that cannot be changed.
    public static var propertyNames: [String] { KafkaProperties.names }

    /// Whether the value of that property must not be seen.
    public static func isSecret(_ property: String) -> Bool { KafkaProperties.isSecret(property) }

    /// Why a property cannot have that value; `nil` if it can. Never shows the value of a secret.
    public static func problem(property: String, value: String) -> String? {
        if let reason = reserved[property] { return "cannot be changed: \(reason)" }
        return KafkaProperties.problem(property, value)
    }

    /// What the protocol depends on, and what has a key of its own.
    private static let reserved: [String: String] = {
        var reserved = ["bootstrap.servers": "storage.brokers", "metadata.broker.list": "storage.brokers"]
        for name in ["linger.ms", "queue.buffering.max.ms"] { reserved[name] = "storage.linger" }
        for name in ["message.max.bytes", "message.copy.max.bytes"] { reserved[name] = "gateway.limits.body" }
        for name in ["auto.commit.enable", "enable.auto.commit", "group.id", "group.instance.id", "transactional.id"] {
            reserved[name] = "positions are kept by the partitions"
        }
        for name in [
            "acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee", "message.timeout.ms",
            "delivery.timeout.ms", "isolation.level", "auto.offset.reset", "enable.partition.eof",
            "allow.auto.create.topics", "retries", "message.send.max.retries", "queuing.strategy", "partitioner",
            "delivery.report.only.error", "produce.offset.report", "consume.callback.max.messages", "log.queue",
        ] where reserved[name] == nil {
            reserved[name] = "the log protocol needs it as it is"
        }
        return reserved
    }()

    /// The version of the library: `2.0.2`.
    package static var libraryVersion: String { String(cString: rd_kafka_version_str()) }

    // MARK: - For librdkafka

    /// A producer that neither loses nor swaps records, and never gives up (PROTOCOL W1).
    var producer: KafkaProperties {
        var all = KafkaProperties()
        // Measured with one and with three brokers: more requests are smaller ones, and cost the broker more than the
        // waiting does.
        all.set("max.in.flight.requests.per.connection", "2")
        all = common(all)
        all.set("enable.idempotence", "true")
        all.set("acks", "all")
        all.set("enable.gapless.guarantee", "true")
        all.set("message.timeout.ms", "0")
        all.set("message.max.bytes", String(maxMessageBytes))
        all.set("linger.ms", String(Double(linger.wholeNanoseconds) / 1_000_000))
        // For looking up offsets: the end is the high watermark, not that of committed transactions.
        all.set("isolation.level", "read_uncommitted")
        return all
    }

    /// What reads from an offset, or says that it cannot; ends of changelogs are told.
    var consumer: KafkaProperties {
        var all = KafkaProperties()
        all.set("fetch.wait.max.ms", "50")
        // What is fetched ahead of a reader, for each changelog that is being read.
        all.set("queued.min.messages", "50000")
        all.set("queued.max.messages.kbytes", "8192")
        all.set("fetch.message.max.bytes", "1048576")
        all = common(all)
        all.set("isolation.level", "read_committed")
        all.set("auto.offset.reset", "error")
        all.set("enable.auto.commit", "false")
        all.set("auto.commit.enable", "false")
        all.set("allow.auto.create.topics", "false")
        all.set("enable.partition.eof", "true")
        return all
    }

    private func common(_ defaults: KafkaProperties) -> KafkaProperties {
        var all = defaults
        all.set("client.id", "affinity-\(system)")
        all.set("socket.nagle.disable", "true")
        all.set("topic.metadata.propagation.max.ms", "5000")
        all.set("reconnect.backoff.max.ms", "1000")
        // Each goes to both clients; one that is not for a client is ignored by it.
        for (name, value) in properties.sorted(by: { $0.key < $1.key }) { all.set(name, value) }
        all.set("bootstrap.servers", brokers)
        return all
    }
}
