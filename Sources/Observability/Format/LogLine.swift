internal import AffinityCore

/// Turns a report into one line, as text or as JSON; pure.
///
/// Whatever is in message and fields, the line stays one line, within bounds, and without anything that a terminal
/// would obey: what comes in requests ends up in logs.
enum LogLine {
    /// Bytes of a message or of a value, about; what is longer is cut and ends in `…`.
    static let textMax = 8_192
    /// Fields of a line; further ones are left out.
    static let fieldsMax = 64

    static func word(_ level: Report.Level) -> String {
        switch level {
        case .debug: "debug"
        case .info: "info"
        case .warning: "warning"
        case .error: "error"
        }
    }

    static func format(_ report: Report, at time: Timestamp, asJSON: Bool) -> String {
        asJSON ? json(report, time) : text(report, time)
    }

    private static func json(_ report: Report, _ time: Timestamp) -> String {
        var line = "{\"time\":\"\(RFC3339.text(time))\",\"level\":\"\(word(report.level))\",\"message\":"
        appendQuoted(report.message, to: &line)
        line += ",\"fields\":{"
        var names: Set<String> = []
        for (index, field) in report.fields.prefix(fieldsMax).enumerated() {
            if index > 0 { line += "," }
            // Two members of one name are no JSON that programs agree on.
            var name = field.name
            while !names.insert(name).inserted { name += "'" }
            appendQuoted(name, to: &line)
            line += ":"
            appendQuoted(field.value, to: &line)
        }
        return line + "}}"
    }

    private static func text(_ report: Report, _ time: Timestamp) -> String {
        let level = word(report.level).uppercased()
        var line = "\(RFC3339.text(time)) \(level)\(String(repeating: " ", count: 8 - level.count))"
        append(report.message, to: &line)
        for field in report.fields.prefix(fieldsMax) {
            line += " "
            append(field.name, to: &line)
            line += "="
            if field.value.isEmpty || field.value.utf8.contains(where: isSpecial) {
                appendQuoted(field.value, to: &line)
            } else {
                append(field.value, to: &line)
            }
        }
        return line
    }

    /// Bytes that make a value of a text line need quotes.
    private static func isSpecial(_ byte: UInt8) -> Bool {
        byte <= 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "=") || byte == UInt8(ascii: "\\")
    }

    private static func appendQuoted(_ text: String, to line: inout String) {
        line += "\""
        append(text, to: &line, inQuotes: true)
        line += "\""
    }

    private static func append(_ text: String, to line: inout String, inQuotes: Bool = false) {
        var count = 0
        for scalar in text.unicodeScalars {
            count += UTF8.width(scalar)
            guard count <= textMax else {
                line += "…"
                return
            }
            switch scalar {
            case "\"" where inQuotes: line += "\\\""
            case "\\" where inQuotes: line += "\\\\"
            case "\n": line += "\\n"
            case "\r": line += "\\r"
            case "\t": line += "\\t"
            // Controls, and what ends lines or turns the direction of writing for some who display it.
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{200E}"..."\u{200F}", "\u{2028}"..."\u{202E}",
                "\u{2066}"..."\u{2069}":
                let digits = String(scalar.value, radix: 16)
                line += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: line.unicodeScalars.append(scalar)
            }
        }
    }
}
