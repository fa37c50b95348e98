import AffinityTestSupport
import CRdKafka

/// Brokers that librdkafka plays within the test process: they answer with the errors that they are told to.
///
/// They know less than real ones: no administration, no transactions, and they take what comes without a look at its
/// sequence. So whoever has them refuse a record has one request in flight, or they would take the next one before it.
final class MockBrokers: @unchecked Sendable {
    /// What is asked of a broker, by its number in Kafka's protocol.
    enum Request: Int16 {
        case produce = 0
        case fetch = 1
        case listOffsets = 2
        case initProducerID = 22
    }

    let brokers: String
    private let client: OpaquePointer
    private let cluster: OpaquePointer

    /// Starts brokers 1 to `count`, on free ports of the loopback.
    init(_ count: Int = 1) throws {
        // The brokers run in the threads of a client that has no cluster to talk to, and would say so.
        let configuration = rd_kafka_conf_new()
        rd_kafka_conf_set(configuration, "log_level", "3", nil, 0)
        guard let client = rd_kafka_new(RD_KAFKA_PRODUCER, configuration, nil, 0) else { throw Failure("no client") }
        guard let cluster = rd_kafka_mock_cluster_new(client, Int32(count)) else {
            rd_kafka_destroy(client)
            throw Failure("no mock brokers")
        }
        self.client = client
        self.cluster = cluster
        brokers = String(cString: rd_kafka_mock_cluster_bootstraps(cluster))
    }

    deinit {
        rd_kafka_mock_cluster_destroy(cluster)
        rd_kafka_destroy(client)
    }

    /// Makes a topic, each partition of which has one copy.
    func make(_ topic: String, partitions: Int) throws {
        try check(rd_kafka_mock_topic_create(cluster, topic, Int32(partitions), 1))
    }

    /// Answers the next requests of a kind with these errors, one each, whoever sends them.
    func refuse(_ request: Request, with errors: [rd_kafka_resp_err_t]) {
        rd_kafka_mock_push_request_errors_array(cluster, request.rawValue, errors.count, errors)
    }

    /// Makes another broker the leader of a partition; 0 for none.
    func lead(_ topic: String, _ partition: Int32, by broker: Int) throws {
        try check(rd_kafka_mock_partition_set_leader(cluster, topic, partition, broker == 0 ? -1 : Int32(broker)))
    }

    /// Ends the connections of all brokers, and lets nobody connect.
    func goDown() throws { try check(rd_kafka_mock_broker_set_down(cluster, -1)) }

    func comeUp() throws { try check(rd_kafka_mock_broker_set_up(cluster, -1)) }

    private func check(_ code: rd_kafka_resp_err_t) throws {
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw Failure(String(cString: rd_kafka_err2str(code))) }
    }
}
