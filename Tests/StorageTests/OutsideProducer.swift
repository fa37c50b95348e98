import AffinityTestSupport
import CRdKafka

/// A producer that knows nothing of Affinity, as other programs have one; with transactions if it is to.
final class OutsideProducer: @unchecked Sendable {
    private let handle: OpaquePointer

    init(brokers: String, transactional id: String? = nil) throws {
        let configuration = rd_kafka_conf_new()
        var properties = ["bootstrap.servers": brokers, "linger.ms": "0"]
        properties["transactional.id"] = id
        for (name, value) in properties { rd_kafka_conf_set(configuration, name, value, nil, 0) }
        guard let handle = rd_kafka_new(RD_KAFKA_PRODUCER, configuration, nil, 0) else { throw Failure("no producer") }
        self.handle = handle
        if id != nil { try check(rd_kafka_init_transactions(handle, 30_000)) }
    }

    deinit { rd_kafka_destroy(handle) }

    func begin() throws { try check(rd_kafka_begin_transaction(handle)) }
    func commit() throws { try check(rd_kafka_commit_transaction(handle, 30_000)) }
    func abort() throws { try check(rd_kafka_abort_transaction(handle, 30_000)) }

    /// Writes a record and returns when the broker has it.
    func write(
        _ topic: String, _ partition: Int32, _ key: String?, _ value: String?, headers: [(String, [UInt8])] = []
    ) throws {
        guard let topic = rd_kafka_topic_new(handle, topic, nil) else { throw Failure("no topic") }
        defer { rd_kafka_topic_destroy(topic) }
        let list = rd_kafka_headers_new(1)
        for (name, bytes) in headers { rd_kafka_header_add(list, name, name.utf8.count, bytes, bytes.count) }
        let (keyBytes, valueBytes) = (key.map { Array($0.utf8) }, value.map { Array($0.utf8) })
        let code = crdkafka_produce(
            handle, topic, partition, keyBytes, keyBytes?.count ?? 0, valueBytes, valueBytes?.count ?? 0, list, nil)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw Failure(String(cString: rd_kafka_err2str(code))) }
        guard rd_kafka_flush(handle, 30_000) == RD_KAFKA_RESP_ERR_NO_ERROR else { throw Failure("not written") }
    }

    private func check(_ error: OpaquePointer?) throws {
        guard let error else { return }
        defer { rd_kafka_error_destroy(error) }
        throw Failure(String(cString: rd_kafka_error_string(error)))
    }
}
