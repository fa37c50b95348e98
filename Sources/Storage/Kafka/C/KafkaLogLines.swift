internal import AffinityCore
internal import CRdKafka

/// Takes the log lines of one client of librdkafka; called on its threads.
final class KafkaLogLines: Sendable {
    private let name: String
    private let report: Reporter

    init(_ name: String, _ report: @escaping Reporter) {
        self.name = name
        self.report = report
    }

    fileprivate func take(_ severity: Int32, _ facility: String, _ text: String) {
        if facility == "CONFWARN" && Self.isExpected(text) { return }
        report(
            Report(
                // A broker that has just started says this until it is ready.
                text.hasSuffix("retrying") ? .info : Self.level(severity), "librdkafka",
                [("client", name), ("facility", facility), ("reason", text)]))
    }

    /// Both clients get the same properties, and some are known to be legacy or experimental.
    private static func isExpected(_ text: String) -> Bool {
        text.contains("property and will be ignored by this") || text.contains(" auto.commit.enable is deprecated")
            || text.contains(" enable.gapless.guarantee is experimental")
    }

    /// The severities are those of syslog.
    private static func level(_ severity: Int32) -> Report.Level {
        switch severity {
        case ...2: .error
        // A broker that cannot be reached for a moment is an error to librdkafka, which goes on trying.
        case 3, 4: .warning
        case 5, 6: .info
        default: .debug
        }
    }
}

/// Called by C: the client's opaque value is the `KafkaLogLines` that its owner keeps.
func takeKafkaLogLine(
    _ client: OpaquePointer?, _ severity: Int32, _ facility: UnsafePointer<CChar>?, _ text: UnsafePointer<CChar>?
) {
    guard let client, let opaque = rd_kafka_opaque(client) else { return }
    let lines = Unmanaged<KafkaLogLines>.fromOpaque(opaque).takeUnretainedValue()
    lines.take(severity, facility.map { String(cString: $0) } ?? "", text.map { String(cString: $0) } ?? "")
}
