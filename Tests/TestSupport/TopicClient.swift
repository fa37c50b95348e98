package import AffinityCore
import CRdKafka
import Foundation

/// Somebody else's program at the same topics: librdkafka, without any code of the project's own log.
///
/// Used by one thread, and every call waits for the brokers.
package final class TopicClient {
    package struct Outgoing {
        package var topic: String
        package var partition: Int
        package var key: [UInt8]
        /// `nil` for a tombstone.
        package var value: [UInt8]?
        package var headers = RecordHeaders()

        package init(
            topic: String, partition: Int, key: [UInt8], value: [UInt8]?, headers: RecordHeaders = RecordHeaders()
        ) {
            (self.topic, self.partition, self.key, self.value, self.headers) = (topic, partition, key, value, headers)
        }
    }

    private let brokers: String
    private let handle: OpaquePointer
    private let queue: OpaquePointer
    private var consumer: OpaquePointer?

    /// - Parameter transactions: the name of a transactional producer.
    package init(_ brokers: String, transactions: String? = nil) throws {
        self.brokers = brokers
        var properties = ["bootstrap.servers": brokers, "acks": "all", "linger.ms": "0"]
        properties["transactional.id"] = transactions
        handle = try Self.open(RD_KAFKA_PRODUCER, properties)
        queue = rd_kafka_queue_get_main(handle)
        if transactions != nil { try Self.check(rd_kafka_init_transactions(handle, 30_000)) }
    }

    deinit {
        if let consumer { rd_kafka_destroy(consumer) }
        rd_kafka_queue_destroy(queue)
        rd_kafka_destroy(handle)
    }

    private static func open(_ kind: rd_kafka_type_t, _ properties: [String: String]) throws -> OpaquePointer {
        var buffer = [CChar](repeating: 0, count: 512)
        let configuration = rd_kafka_conf_new()
        for (name, value) in properties {
            guard rd_kafka_conf_set(configuration, name, value, &buffer, buffer.count) == RD_KAFKA_CONF_OK else {
                throw Failure("\(name): \(Self.text(buffer))")
            }
        }
        rd_kafka_conf_set_events(configuration, RD_KAFKA_EVENT_DR)
        // A broker that is down is what the tests are about.
        rd_kafka_conf_set_log_cb(configuration) { _, _, _, _ in }
        guard let handle = rd_kafka_new(kind, configuration, &buffer, buffer.count) else {
            throw Failure(Self.text(buffer))
        }
        return handle
    }

    private static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    private static func check(_ code: rd_kafka_resp_err_t, _ what: String) throws {
        if code != RD_KAFKA_RESP_ERR_NO_ERROR { throw Failure("\(what): \(String(cString: rd_kafka_err2str(code)))") }
    }

    private static func check(_ error: OpaquePointer?) throws {
        guard let error else { return }
        defer { rd_kafka_error_destroy(error) }
        throw Failure(String(cString: rd_kafka_error_string(error)))
    }

    // MARK: - Writing

    /// Writes records, and gives the offset of each.
    @discardableResult
    package func send(_ records: [Outgoing]) throws -> [Int64] {
        for (index, record) in records.enumerated() { try hand(record, index + 1) }
        var offsets = records.map { _ in Int64(-1) }
        var left = records.count
        let deadline = ContinuousClock.now + .seconds(60)
        while left > 0 {
            guard ContinuousClock.now < deadline else { throw Failure("records are not acknowledged") }
            guard let event = rd_kafka_queue_poll(queue, 100) else { continue }
            defer { rd_kafka_event_destroy(event) }
            while let message = rd_kafka_event_message_next(event) {
                try Self.check(message.pointee.err, "a record")
                offsets[Int(bitPattern: message.pointee._private) - 1] = message.pointee.offset
                left -= 1
            }
        }
        return offsets
    }

    private func hand(_ record: Outgoing, _ token: Int) throws {
        let topic = rd_kafka_topic_new(handle, record.topic, nil)
        defer { rd_kafka_topic_destroy(topic) }
        let headers = rd_kafka_headers_new(2)
        record.headers.forEach { name, value in
            value.withUnsafeBytes { _ = rd_kafka_header_add(headers, "\(name)", -1, $0.baseAddress, $0.count) }
        }
        // No pointer at all would mean no key.
        let nothing = UnsafeRawPointer(bitPattern: 8)
        let code = record.key.withUnsafeBytes { key in
            (record.value ?? []).withUnsafeBytes { value in
                crdkafka_produce(
                    handle, topic, Int32(record.partition), key.baseAddress ?? nothing, key.count,
                    record.value == nil ? nil : value.baseAddress ?? nothing, value.count, headers,
                    UnsafeMutableRawPointer(bitPattern: token))
            }
        }
        try Self.check(code, "a record")
    }

    package func begin() throws { try Self.check(rd_kafka_begin_transaction(handle)) }
    package func commit() throws { try Self.check(rd_kafka_commit_transaction(handle, 30_000)) }
    package func abort() throws { try Self.check(rd_kafka_abort_transaction(handle, 30_000)) }

    // MARK: - Reading

    /// All records of a partition that are committed.
    package func read(_ name: String, _ partition: Int) throws -> [LoggedRecord] {
        let consumer = try openConsumer()
        let topic = rd_kafka_topic_new(consumer, name, nil)
        defer { rd_kafka_topic_destroy(topic) }
        let beginning: Int64 = -2
        guard rd_kafka_consume_start(topic, Int32(partition), beginning) == 0 else {
            throw Failure("\(name): \(String(cString: rd_kafka_err2str(rd_kafka_last_error())))")
        }
        defer { rd_kafka_consume_stop(topic, Int32(partition)) }
        var records: [LoggedRecord] = []
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            guard let message = rd_kafka_consume(topic, Int32(partition), 100) else { continue }
            defer { rd_kafka_message_destroy(message) }
            if message.pointee.err == RD_KAFKA_RESP_ERR__PARTITION_EOF { return records }
            try Self.check(message.pointee.err, name)
            records.append(Self.record(message))
        }
        throw Failure("\(name)/\(partition) cannot be read to its end")
    }

    private func openConsumer() throws -> OpaquePointer {
        if let consumer { return consumer }
        let opened = try Self.open(
            RD_KAFKA_CONSUMER,
            [
                "bootstrap.servers": brokers, "enable.partition.eof": "true", "isolation.level": "read_committed",
                "auto.offset.reset": "error", "fetch.wait.max.ms": "10",
            ])
        consumer = opened
        return opened
    }

    private static func record(_ message: UnsafeMutablePointer<rd_kafka_message_t>) -> LoggedRecord {
        func bytes(_ start: UnsafeMutableRawPointer?, _ count: Int) -> [UInt8]? {
            start.map { Array(UnsafeRawBufferPointer(start: $0, count: count)) }
        }
        var headers = RecordHeaders()
        var list: OpaquePointer?
        var (index, name, value, size) = (0, UnsafePointer<CChar>?.none, UnsafeRawPointer?.none, 0)
        if rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list {
            while rd_kafka_header_get_all(list, index, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR {
                index += 1
                guard let name else { continue }
                let bytes = value.map { Array(UnsafeRawBufferPointer(start: $0, count: size)) } ?? []
                try? headers.take(String(cString: name), bytes)
            }
        }
        return LoggedRecord(
            offset: Offset(message.pointee.offset),
            appended: Timestamp(milliseconds: rd_kafka_message_timestamp(message, nil)),
            record: Record(
                key: bytes(message.pointee.key, message.pointee.key_len) ?? [],
                value: bytes(message.pointee.payload, message.pointee.len), headers: headers))
    }

    // MARK: - Administration

    package struct Replicas {
        package var leader: Int
        package var inSync: Int
    }

    /// Who leads each partition of a topic, and how many copies are in sync.
    package func replicas(_ name: String) throws -> [Replicas] {
        let topic = rd_kafka_topic_new(handle, name, nil)
        defer { rd_kafka_topic_destroy(topic) }
        var found: UnsafePointer<rd_kafka_metadata>?
        try Self.check(rd_kafka_metadata(handle, 0, topic, &found, 10_000), name)
        defer { rd_kafka_metadata_destroy(found) }
        guard let facts = found?.pointee.topics?.pointee else { throw Failure("no topic \(name)") }
        return UnsafeBufferPointer(start: facts.partitions, count: Int(facts.partition_cnt))
            .sorted { $0.id < $1.id }.map { Replicas(leader: Int($0.leader), inSync: Int($0.isr_cnt)) }
    }

    package func create(_ name: String, partitions: Int, replication: Int = 1, _ settings: [String: String]) throws {
        let topic = rd_kafka_NewTopic_new(name, Int32(partitions), Int32(replication), nil, 0)
        defer { rd_kafka_NewTopic_destroy(topic) }
        for (setting, value) in settings { rd_kafka_NewTopic_set_config(topic, setting, value) }
        let event = try answer(RD_KAFKA_ADMIN_OP_CREATETOPICS, "making \(name)") { options, answers in
            var topics = [topic]
            rd_kafka_CreateTopics(handle, &topics, 1, options, answers)
        }
        defer { rd_kafka_event_destroy(event) }
        var count = 0
        let results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count)
        try Self.check(rd_kafka_topic_result_error(results?[0]), "making \(name)")
    }

    package func delete(_ name: String) throws {
        let topic = rd_kafka_DeleteTopic_new(name)
        defer { rd_kafka_DeleteTopic_destroy(topic) }
        let event = try answer(RD_KAFKA_ADMIN_OP_DELETETOPICS, "deleting \(name)") { options, answers in
            var topics = [topic]
            rd_kafka_DeleteTopics(handle, &topics, 1, options, answers)
        }
        defer { rd_kafka_event_destroy(event) }
        var count = 0
        let results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count)
        try Self.check(rd_kafka_topic_result_error(results?[0]), "deleting \(name)")
    }

    /// Gives a topic these settings and no others.
    package func set(_ name: String, _ settings: [String: String]) throws {
        let resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name)
        defer { rd_kafka_ConfigResource_destroy(resource) }
        for (setting, value) in settings { rd_kafka_ConfigResource_set_config(resource, setting, value) }
        let event = try answer(RD_KAFKA_ADMIN_OP_ALTERCONFIGS, "settings of \(name)") { options, answers in
            var resources = [resource]
            rd_kafka_AlterConfigs(handle, &resources, 1, options, answers)
        }
        defer { rd_kafka_event_destroy(event) }
        var count = 0
        let results = rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &count)
        try Self.check(rd_kafka_ConfigResource_error(results?[0]), "settings of \(name)")
    }

    /// Sends a request and waits for its answer, which the caller destroys.
    private func answer(
        _ kind: rd_kafka_admin_op_t, _ what: String,
        _ send: (_ options: OpaquePointer?, _ answers: OpaquePointer?) -> Void
    ) throws -> OpaquePointer {
        let options = rd_kafka_AdminOptions_new(handle, kind)
        let answers = rd_kafka_queue_new(handle)
        defer {
            rd_kafka_AdminOptions_destroy(options)
            rd_kafka_queue_destroy(answers)
        }
        rd_kafka_AdminOptions_set_request_timeout(options, 30_000, nil, 0)
        send(options, answers)
        guard let event = rd_kafka_queue_poll(answers, 31_000) else { throw Failure("\(what): no answer") }
        let code = rd_kafka_event_error(event)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            rd_kafka_event_destroy(event)
            throw Failure("\(what): \(String(cString: rd_kafka_err2str(code)))")
        }
        return event
    }
}
