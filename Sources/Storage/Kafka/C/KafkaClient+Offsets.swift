internal import AffinityCore
internal import CRdKafka

/// One partition of a topic.
struct KafkaPlace: Hashable, Sendable, CustomStringConvertible {
    var topic: String
    var partition: Int32

    var description: String { "\(topic)/\(partition)" }
}

extension KafkaClient {
    /// Which offset of a partition is asked for.
    enum Bound: Int64 {
        /// The first that may hold a record.
        case first = -2
        /// The end: with a client that reads uncommitted records, the high watermark.
        case end = -1
    }

    /// Asks the brokers, with one request to each of them. Waits, no longer than `timeout`.
    ///
    /// - Returns: an offset for each place, or why there is none.
    /// - Throws: why the brokers could not be asked; one partition without a leader is reason enough.
    func offsets(
        _ bound: Bound, of places: [KafkaPlace], within timeout: Duration
    ) throws(LogError) -> [Result<Offset, LogError>] {
        if places.isEmpty { return [] }
        guard let list = rd_kafka_topic_partition_list_new(Int32(clamping: places.count)) else {
            throw LogError(.io, "no list of partitions")
        }
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for place in places {
            // The request is for a time; these two stand for what no time could ask for.
            rd_kafka_topic_partition_list_add(list, place.topic, place.partition)?.pointee.offset = bound.rawValue
        }
        let code = rd_kafka_offsets_for_times(handle, list, Int32(clamping: timeout.wholeMilliseconds))
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw Self.lookUpError(code, "looking up offsets") }
        return places.map { place in
            guard let found = rd_kafka_topic_partition_list_find(list, place.topic, place.partition)?.pointee else {
                return .failure(LogError(.io, "\(place): no offset came back"))
            }
            if found.err != RD_KAFKA_RESP_ERR_NO_ERROR { return .failure(Self.lookUpError(found.err, "\(place)")) }
            guard found.offset >= 0 else { return .failure(LogError(.io, "\(place): no offset came back")) }
            return .success(Offset(found.offset))
        }
    }

    /// A broker that does not know a topic may only not have heard of it yet. Whether there is one is found out where
    /// a partition is opened; here it is a reason to ask again.
    private static func lookUpError(_ code: rd_kafka_resp_err_t, _ what: String) -> LogError {
        let error = KafkaErrors.error(code, what)
        return error.code == .shape ? LogError(.io, error.reason) : error
    }

    /// The end that the last fetched records came with; `nil` if none have been fetched. Returns at once.
    func fetchedEnd(_ place: KafkaPlace) -> Offset? {
        var (low, high) = (Int64(-1), Int64(-1))
        let code = rd_kafka_get_watermark_offsets(handle, place.topic, place.partition, &low, &high)
        return code == RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0 ? Offset(high) : nil
    }
}
