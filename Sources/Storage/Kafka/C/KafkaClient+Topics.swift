internal import AffinityCore
internal import CRdKafka

/// A topic that is to be made.
struct KafkaTopicPlan: Sendable {
    var name: String
    var partitions: Int
    var replication: Int
    var settings: [(name: String, value: String)]
}

/// What a topic is like.
struct KafkaTopicFacts: Sendable {
    var partitions: Int
    /// How many copies the partition with the fewest has.
    var replication: Int
    /// The partitions that nobody leads at the moment.
    var leaderless: Set<Int32>
}

extension KafkaClient {
    /// Asks for a topic's partitions. Waits, no longer than `timeout`.
    ///
    /// - Returns: `nil` if there is no such topic.
    func facts(_ topic: KafkaTopic, _ name: String, within timeout: Duration) throws(LogError) -> KafkaTopicFacts? {
        var found: UnsafePointer<rd_kafka_metadata>?
        let code = rd_kafka_metadata(handle, 0, topic.handle, &found, Int32(clamping: timeout.wholeMilliseconds))
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let found else { throw KafkaErrors.error(code, "topic \(name)") }
        defer { rd_kafka_metadata_destroy(found) }
        guard found.pointee.topic_cnt > 0 else { return nil }
        let topic = found.pointee.topics[0]
        if topic.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART { return nil }
        guard topic.err == RD_KAFKA_RESP_ERR_NO_ERROR || topic.err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE else {
            throw KafkaErrors.error(topic.err, "topic \(name)")
        }
        let partitions = UnsafeBufferPointer(start: topic.partitions, count: Int(topic.partition_cnt))
        return KafkaTopicFacts(
            partitions: partitions.count, replication: Int(partitions.map(\.replica_cnt).min() ?? 0),
            leaderless: Set(partitions.filter { $0.leader < 0 }.map(\.id)))
    }

    /// Asks for all topics whose names begin like that, and how many partitions each has. Waits, no longer than `timeout`.
    func topics(beginning prefix: String, within timeout: Duration) throws(LogError) -> [(
        name: String, partitions: Int
    )] {
        var found: UnsafePointer<rd_kafka_metadata>?
        let code = rd_kafka_metadata(handle, 1, nil, &found, Int32(clamping: timeout.wholeMilliseconds))
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let found else { throw KafkaErrors.error(code, "looking up topics") }
        defer { rd_kafka_metadata_destroy(found) }
        let topics = UnsafeBufferPointer(start: found.pointee.topics, count: Int(found.pointee.topic_cnt))
        return topics.compactMap { topic in
            guard let name = topic.topic.map({ String(cString: $0) }), name.hasPrefix(prefix) else { return nil }
            return (name, Int(topic.partition_cnt))
        }
    }

    /// Makes a topic. Waits, no longer than `timeout`.
    ///
    /// - Returns: false if there is one of that name already.
    func create(_ plan: KafkaTopicPlan, within timeout: Duration) throws(LogError) -> Bool {
        var buffer = [CChar](repeating: 0, count: 512)
        guard
            let topic = rd_kafka_NewTopic_new(
                plan.name, Int32(clamping: plan.partitions), Int32(clamping: plan.replication), &buffer, buffer.count)
        else { throw LogError(.shape, "topic \(plan.name): \(KafkaErrors.text(buffer))") }
        defer { rd_kafka_NewTopic_destroy(topic) }
        for (name, value) in plan.settings { rd_kafka_NewTopic_set_config(topic, name, value) }
        let event = try answer(RD_KAFKA_ADMIN_OP_CREATETOPICS, "making topic \(plan.name)", timeout) { options, queue in
            var topics: [OpaquePointer?] = [topic]
            rd_kafka_CreateTopics(handle, &topics, 1, options, queue)
        }
        defer { rd_kafka_event_destroy(event) }
        var count = 0
        guard let result = rd_kafka_event_CreateTopics_result(event),
            let results = rd_kafka_CreateTopics_result_topics(result, &count), count == 1, let first = results[0]
        else { throw LogError(.io, "making topic \(plan.name): no answer") }
        let code = rd_kafka_topic_result_error(first)
        if code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS { return false }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            let text = rd_kafka_topic_result_error_string(first).map { String(cString: $0) } ?? KafkaErrors.text(code)
            throw LogError(Self.isPassing(code) ? .io : .shape, "making topic \(plan.name): \(text)")
        }
        return true
    }

    /// Asks for a topic's settings. Waits, no longer than `timeout`.
    func settings(ofTopic name: String, within timeout: Duration) throws(LogError) -> [String: String] {
        guard let resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name) else {
            throw LogError(.io, "topic \(name): no request")
        }
        defer { rd_kafka_ConfigResource_destroy(resource) }
        let what = "the settings of topic \(name)"
        let event = try answer(RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, what, timeout) { options, queue in
            var resources: [OpaquePointer?] = [resource]
            rd_kafka_DescribeConfigs(handle, &resources, 1, options, queue)
        }
        defer { rd_kafka_event_destroy(event) }
        var count = 0
        guard let result = rd_kafka_event_DescribeConfigs_result(event),
            let results = rd_kafka_DescribeConfigs_result_resources(result, &count), count == 1, let first = results[0]
        else { throw LogError(.io, "\(what): no answer") }
        let code = rd_kafka_ConfigResource_error(first)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaErrors.error(code, what) }
        var entryCount = 0
        guard let entries = rd_kafka_ConfigResource_configs(first, &entryCount) else { return [:] }
        var settings: [String: String] = [:]
        for index in 0..<entryCount {
            guard let entry = entries[index], let name = rd_kafka_ConfigEntry_name(entry),
                let value = rd_kafka_ConfigEntry_value(entry)
            else { continue }
            settings[String(cString: name)] = String(cString: value)
        }
        return settings
    }

    /// Sends a request of the administration and waits for its answer, which the caller destroys.
    private func answer(
        _ kind: rd_kafka_admin_op_t, _ what: String, _ timeout: Duration,
        _ send: (_ options: OpaquePointer, _ queue: OpaquePointer) -> Void
    ) throws(LogError) -> OpaquePointer {
        let milliseconds = Int32(clamping: timeout.wholeMilliseconds)
        guard let options = rd_kafka_AdminOptions_new(handle, kind) else { throw LogError(.io, "\(what): no request") }
        defer { rd_kafka_AdminOptions_destroy(options) }
        rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, nil, 0)
        let queue = try KafkaQueue(of: self)
        send(options, queue.handle)
        // The request ends by itself; its answer has a moment more to arrive.
        guard let event = rd_kafka_queue_poll(queue.handle, milliseconds + 1_000) else {
            throw LogError(.io, "\(what): no answer within \(timeout)")
        }
        let code = rd_kafka_event_error(event)
        if code == RD_KAFKA_RESP_ERR_NO_ERROR { return event }
        let text = rd_kafka_event_error_string(event).map { String(cString: $0) } ?? KafkaErrors.text(code)
        rd_kafka_event_destroy(event)
        throw LogError(.io, "\(what): \(text)")
    }

    /// Whether the same request may be granted later: brokers are starting, a controller is being elected.
    private static func isPassing(_ code: rd_kafka_resp_err_t) -> Bool {
        switch code {
        case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, RD_KAFKA_RESP_ERR_NOT_CONTROLLER,
            RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__TRANSPORT,
            RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
            RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
            true
        default: false
        }
    }
}
