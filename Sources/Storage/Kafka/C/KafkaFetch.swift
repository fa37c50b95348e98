internal import AffinityCore
internal import CRdKafka
internal import Glibc

/// The records of one partition as they are being fetched, ahead of whoever reads them.
///
/// librdkafka fetches on until the queue holds `queued.min.messages` records or `queued.max.messages.kbytes`. Used by
/// the reader's thread alone, but that `announce` is called on librdkafka's threads.
final class KafkaFetch {
    /// What came out of the queue.
    enum Item {
        case record(LoggedRecord)
        /// Nothing more can be read now; the next record will have this offset or a later one.
        case end(Offset)
        case failure(LogError)
    }

    /// Called on a thread of librdkafka when the queue is no longer empty; must return at once.
    final class Announcement: Sendable {
        let call: @Sendable () -> Void

        init(_ call: @escaping @Sendable () -> Void) { self.call = call }
    }

    private let client: KafkaClient
    private let place: KafkaPlace
    private let topic: KafkaTopic
    private let queue: KafkaQueue
    private let announcement: Unmanaged<Announcement>
    private var messages: [UnsafeMutablePointer<rd_kafka_message_t>?]

    /// Begins to fetch from `offset` on.
    init(
        _ client: KafkaClient, _ place: KafkaPlace, from offset: Offset, announce: @escaping @Sendable () -> Void
    ) throws(LogError) {
        self.client = client
        self.place = place
        topic = try client.topic(place.topic)
        queue = try KafkaQueue(of: client)
        announcement = Unmanaged.passRetained(Announcement(announce))
        messages = Array(repeating: nil, count: 500)
        rd_kafka_queue_cb_event_enable(queue.handle, announceKafkaRecords, announcement.toOpaque())
        guard rd_kafka_consume_start_queue(topic.handle, place.partition, offset.rawValue, queue.handle) == 0 else {
            rd_kafka_queue_cb_event_enable(queue.handle, nil, nil)
            announcement.release()
            throw KafkaErrors.error(rd_kafka_last_error(), "\(place)")
        }
    }

    /// Ends fetching; waits for librdkafka's main thread, which does not wait for a broker.
    deinit {
        rd_kafka_consume_stop(topic.handle, place.partition)
        rd_kafka_queue_cb_event_enable(queue.handle, nil, nil)
        announcement.release()
    }

    /// Takes what is there, up to a few hundred records, in order. Returns at once.
    func take(_ body: (Item) -> Void) {
        let count = rd_kafka_consume_batch_queue(queue.handle, 0, &messages, messages.count)
        for index in 0..<max(0, Int(count)) {
            guard let message = messages[index] else { continue }
            body(item(message.pointee, message))
            rd_kafka_message_destroy(message)
        }
    }

    private func item(_ message: rd_kafka_message_t, _ pointer: UnsafeMutablePointer<rd_kafka_message_t>) -> Item {
        switch message.err {
        case RD_KAFKA_RESP_ERR_NO_ERROR:
            return .record(
                LoggedRecord(
                    offset: Offset(message.offset),
                    appended: Timestamp(milliseconds: rd_kafka_message_timestamp(pointer, nil)),
                    record: Record(
                        key: Self.bytes(message.key, message.key_len) ?? [],
                        value: Self.bytes(message.payload, message.len), headers: Self.headers(pointer))))
        case RD_KAFKA_RESP_ERR__PARTITION_EOF: return .end(Offset(message.offset))
        default:
            let text = rd_kafka_message_errstr(pointer).map { String(cString: $0) } ?? ""
            return .failure(LogError(KafkaErrors.error(message.err, "").code, "\(place): \(text)"))
        }
    }

    private static func bytes(_ start: UnsafeMutableRawPointer?, _ count: Int) -> [UInt8]? {
        start.map { Array(UnsafeRawBufferPointer(start: $0, count: count)) }
    }

    /// A header that is not what its name says is somebody else's: a record with such an `affinity` is foreign.
    private static func headers(_ message: UnsafeMutablePointer<rd_kafka_message_t>) -> RecordHeaders {
        var headers = RecordHeaders()
        var list: OpaquePointer?
        guard rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list else { return headers }
        var index = 0
        var (name, value, size) = (UnsafePointer<CChar>?.none, UnsafeRawPointer?.none, 0)
        while rd_kafka_header_get_all(list, index, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR {
            index += 1
            guard let name else { continue }
            try? headers.take(
                name: UnsafeRawBufferPointer(start: name, count: strlen(name)).bytes,
                UnsafeRawBufferPointer(start: value, count: value == nil ? 0 : size).bytes)
        }
        return headers
    }
}

/// Called by C, on librdkafka's threads.
private func announceKafkaRecords(_ client: OpaquePointer?, _ opaque: UnsafeMutableRawPointer?) {
    guard let opaque else { return }
    Unmanaged<KafkaFetch.Announcement>.fromOpaque(opaque).takeUnretainedValue().call()
}
