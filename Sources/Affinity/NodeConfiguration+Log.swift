package import AffinityKafka
internal import AffinityNet

extension NodeConfiguration {
    /// How the log in Kafka is opened.
    ///
    /// - Parameter partitions: how many each keyspace has.
    package func kafkaLog(partitions: [String: Int] = [:]) -> KafkaLogConfiguration {
        var configuration = KafkaLogConfiguration(
            system: system, brokers: kafka.brokers.joined(separator: ","), partitions: partitions)
        configuration.replication = kafka.replication
        configuration.createsTopics = kafka.createsTopics
        configuration.poll = kafka.poll
        configuration.linger = kafka.linger
        configuration.maxMessageBytes = maxRecordBytes
        configuration.compactionLag = log.compactionLag
        configuration.deleteRetention = log.deleteRetention
        configuration.properties = kafka.properties.mapValues { $0.reveal() }
        return configuration
    }

    /// Beyond what partitions allow, with room for headers: what the log refuses ends a mastership.
    var maxRecordBytes: Int { gateway.server.bodyLimit + (128 << 10) }
}
