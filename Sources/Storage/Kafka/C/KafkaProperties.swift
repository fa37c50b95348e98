internal import AffinityCore
internal import CRdKafka
internal import Glibc

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

    /// What may keep these values from being of use although nothing is wrong with them; `nil` for nothing.
    ///
    /// A librdkafka before 2.6.1 says a part of SCRAM's nonce twice. Brokers took that until Kafka 4; those end the
    /// connection, and librdkafka does not say why.
    var doubt: Report? {
        let mechanism = values.last { $0.name == "sasl.mechanism" || $0.name == "sasl.mechanisms" }?.value ?? ""
        guard mechanism.uppercased().hasPrefix("SCRAM-"), rd_kafka_version() < 0x0206_01FF else { return nil }
        return Report(
            .warning, "this librdkafka cannot log in at Kafka 4 with SCRAM",
            [("mechanism", mechanism), ("version", String(cString: rd_kafka_version_str())), ("needed", "2.6.1")])
    }

    /// The names of all properties that librdkafka has and that a text can be given for.
    ///
    /// They are read from the table that it prints of them: there is no other list that is complete.
    static let names: [String] = {
        var names: Set<String> = []
        for line in table.split(separator: "\n") where !line.contains("Type: pointer") {
            let columns = line.split(separator: "|", maxSplits: 2)
            let name = columns[0].trimmingSpaces
            if columns.count == 3, line.contains("Type:"), !line.contains("see dedicated API") { names.insert(name) }
        }
        // A short form of a name that goes on behind it could not stand beside it in a file.
        return names.filter { name in !names.contains { $0.hasPrefix("\(name).") } }.sorted()
    }()

    private static var table: String {
        var bytes: UnsafeMutablePointer<CChar>?
        var size = 0
        guard let file = open_memstream(&bytes, &size) else { return "" }
        rd_kafka_conf_properties_show(file)
        fclose(file)
        defer { free(bytes) }
        return bytes.map { String(cString: $0) } ?? ""
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

extension Substring {
    fileprivate var trimmingSpaces: String {
        String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}
