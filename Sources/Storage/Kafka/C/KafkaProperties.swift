internal import AffinityCore
internal import CRdKafka

/// The properties that librdkafka is given.
struct KafkaProperties {
    private(set) var values: [(name: String, value: String)] = []

    /// A later value of a name replaces an earlier one.
    mutating func set(_ name: String, _ value: String) {
        values.removeAll { $0.name == name }
        values.append((name, value))
    }

    /// Whether a value must not be seen.
    static func isSecret(_ name: String) -> Bool {
        let parts = name.split(separator: ".")
        return parts.contains { $0 == "password" || $0 == "secret" || $0 == "pem" } || name == "sasl.oauthbearer.config"
    }

    /// Why `value` cannot be given; `nil` if it can. Never says the value of a secret.
    static func problem(_ name: String, _ value: String) -> String? {
        guard let configuration = rd_kafka_conf_new() else { return "librdkafka gives no configuration" }
        defer { rd_kafka_conf_destroy(configuration) }
        return set(configuration, name, value)
    }

    /// The names of all properties that librdkafka has.
    static var names: [String] {
        var names: [String] = []
        var count = 0
        if let configuration = rd_kafka_conf_new() {
            let dump = rd_kafka_conf_dump(configuration, &count)
            names += self.names(dump, count)
            rd_kafka_conf_destroy(configuration)
        }
        if let configuration = rd_kafka_topic_conf_new() {
            let dump = rd_kafka_topic_conf_dump(configuration, &count)
            names += self.names(dump, count)
            rd_kafka_topic_conf_destroy(configuration)
        }
        return Array(Set(names)).sorted()
    }

    /// The names of a dump, which has names and values in turn; frees it.
    private static func names(_ dump: UnsafeMutablePointer<UnsafePointer<CChar>?>?, _ count: Int) -> [String] {
        guard let dump else { return [] }
        defer { rd_kafka_conf_dump_free(dump, count) }
        return stride(from: 0, to: count, by: 2).compactMap { dump[$0].map { String(cString: $0) } }
    }

    /// Calls `body` with a configuration of these values, which it takes over if it returns true.
    func withConfiguration(_ body: (OpaquePointer) throws(LogError) -> Bool) throws(LogError) {
        guard let configuration = rd_kafka_conf_new() else { throw LogError(.io, "librdkafka gives no configuration") }
        var isTaken = false
        defer { if !isTaken { rd_kafka_conf_destroy(configuration) } }
        for (name, value) in values {
            if let problem = Self.set(configuration, name, value) {
                throw LogError(.shape, "property \(name): \(problem)")
            }
        }
        isTaken = try body(configuration)
    }

    private static func set(_ configuration: OpaquePointer, _ name: String, _ value: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 512)
        if rd_kafka_conf_set(configuration, name, value, &buffer, buffer.count) == RD_KAFKA_CONF_OK { return nil }
        return isSecret(name) ? "the value will not do" : KafkaErrors.text(buffer)
    }
}
