internal import AffinityCore
internal import CRdKafka

/// What librdkafka or a broker said was wrong, as the log says it.
enum KafkaErrors {
    /// The error's own words: `Local: Broker transport failure`.
    static func text(_ code: rd_kafka_resp_err_t) -> String {
        guard let text = rd_kafka_err2str(code) else { return "error \(code.rawValue)" }
        return String(cString: text)
    }

    /// A failure of `what`, a topic and partition or a call.
    static func error(_ code: rd_kafka_resp_err_t, _ what: String) -> LogError {
        LogError(kind(code), "\(what): \(text(code))")
    }

    private static func kind(_ code: rd_kafka_resp_err_t) -> LogError.Code {
        switch code {
        case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE: .tooLarge
        case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE: .outOfRange
        case RD_KAFKA_RESP_ERR__BAD_MSG, RD_KAFKA_RESP_ERR_INVALID_MSG, RD_KAFKA_RESP_ERR__BAD_COMPRESSION: .corrupt
        // Also that a topic is unknown: a broker may not have heard of it yet. Opening decides whether it is gone.
        default: .io
        }
    }

    /// The text that a C function has written into `buffer`.
    static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
