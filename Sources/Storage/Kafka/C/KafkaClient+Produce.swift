internal import AffinityCore
internal import CRdKafka

/// The word on one record that a producer was handed.
struct DeliveryReport {
    /// What the record was handed over with.
    var token: UInt64
    var result: Result<Offset, LogError>
}

/// What a producer has said since it was last asked.
struct ProducerNews {
    var reports: [DeliveryReport] = []
    /// The producer is of no use any more.
    var isFatal = false
}

extension KafkaClient {
    /// What handing a record over came to.
    enum Handover {
        /// A report with its token comes.
        case taken
        /// There is no room now; a later try may find some.
        case full
        case refused(LogError)
    }

    /// Hands a record over. Never blocks.
    ///
    /// - Parameter token: what its report comes with; not 0.
    func produce(_ record: Record, to topic: KafkaTopic, _ partition: Int32, token: UInt64) -> Handover {
        let headers = rd_kafka_headers_new(2)
        record.headers.forEach { name, value in
            value.withUnsafeBytes { value in
                name.withUTF8Buffer { name in
                    name.withMemoryRebound(to: CChar.self) { name in
                        _ = rd_kafka_header_add(
                            headers, name.baseAddress, name.count, value.baseAddress ?? Self.emptiness, value.count)
                    }
                }
            }
        }
        let code = record.key.withUnsafeBytes { key in
            record.value.withUnsafeBytes { value in
                crdkafka_produce(
                    handle, topic.handle, partition, key.baseAddress ?? Self.emptiness, key.count, value?.baseAddress,
                    value?.count ?? 0, headers, UnsafeMutableRawPointer(bitPattern: UInt(token)))
            }
        }
        if code == RD_KAFKA_RESP_ERR_NO_ERROR { return .taken }
        rd_kafka_headers_destroy(headers)
        if code == RD_KAFKA_RESP_ERR__QUEUE_FULL { return .full }
        return .refused(fatalError ?? KafkaErrors.error(code, "a record"))
    }

    /// Something to point at where there are no bytes: no pointer at all would mean no key.
    fileprivate static var emptiness: UnsafeRawPointer? { UnsafeRawPointer(bitPattern: 8) }

    /// Waits for news of the producer, then takes all that is there. One thread at a time.
    func awaitNews(_ queue: borrowing KafkaQueue, atMost timeout: Duration) -> ProducerNews {
        var news = ProducerNews()
        var timeout = Int32(clamping: timeout.wholeMilliseconds)
        // Bounded, so that the first ones do not wait for the last under load.
        while news.reports.count < 5_000, let event = rd_kafka_queue_poll(queue.handle, timeout) {
            timeout = 0
            switch rd_kafka_event_type(event) {
            case RD_KAFKA_EVENT_DR:
                while let message = rd_kafka_event_message_next(event) { news.reports.append(Self.report(message)) }
            case RD_KAFKA_EVENT_ERROR:
                if rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__FATAL { news.isFatal = true }
            default: break
            }
            rd_kafka_event_destroy(event)
        }
        return news
    }

    private static func report(_ message: UnsafePointer<rd_kafka_message_t>) -> DeliveryReport {
        let message = message.pointee
        let token = UInt64(UInt(bitPattern: message._private))
        if message.err != RD_KAFKA_RESP_ERR_NO_ERROR {
            let error = KafkaErrors.error(message.err, "a record")
            // Damaged on its way to the broker: the log is as it was, and the next try may be good.
            let code = error.code == .corrupt ? LogError.Code.io : error.code
            return DeliveryReport(token: token, result: .failure(LogError(code, error.reason)))
        }
        // The broker has it, but a lost answer and a repetition have lost its place.
        guard message.offset >= 0 else {
            return DeliveryReport(token: token, result: .failure(LogError(.io, "a record was written, but not where")))
        }
        return DeliveryReport(token: token, result: .success(Offset(message.offset)))
    }
}

extension [UInt8]? {
    /// The bytes, with an address even if there are none; `nil` for `nil`.
    fileprivate func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer?) -> Result) -> Result {
        guard let bytes = self else { return body(nil) }
        return bytes.withUnsafeBytes { bytes in
            body(bytes.isEmpty ? UnsafeRawBufferPointer(start: KafkaClient.emptiness, count: 0) : bytes)
        }
    }
}
