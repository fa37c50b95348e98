/// What can be configured, as text for `--help` and as Markdown for the documentation.
///
/// It is made of the declarations of the keys that were read, so it cannot say anything else than the code does.
public struct ConfigurationReference: Sendable {
    /// The keys in the order in which they were declared, grouped by their first part.
    public let keys: [ConfigurationKey]

    init(keys: [ConfigurationKey]) {
        var order: [String] = []
        var groups: [String: [ConfigurationKey]] = [:]
        for key in keys {
            let group = Self.group(key)
            if groups[group] == nil { order.append(group) }
            groups[group, default: []].append(key)
        }
        self.keys = order.flatMap { groups[$0] ?? [] }
    }

    /// The width that `text` keeps to, unless a single name is longer.
    private static let columns = 100
    /// Names up to this length stand beside their description, longer ones above it.
    private static let nameMax = 34

    /// For a terminal of 100 columns.
    public var text: String {
        let nameWidth = min(Self.nameMax, keys.map(\.name.count).max() ?? 0)
        let indent = String(repeating: " ", count: nameWidth + 4)
        var lines = [
            "Each key is given as --key VALUE, as variable AFFINITY_KEY (dots and hyphens as underscores), or in",
            "the YAML file that --config FILE or AFFINITY_CONFIG names; the first of these counts.",
        ]
        var group: String?
        for key in keys {
            if Self.group(key) != group {
                group = Self.group(key)
                lines += ["", Self.group(key)]
            }
            var head = "  \(key.name)"
            if head.count + 2 > indent.count {
                lines.append(head)
                head = indent
            } else {
                head += String(repeating: " ", count: indent.count - head.count)
            }
            let about = Self.wrapped(Self.summary(key), Self.columns - indent.count)
            let rest = about.dropFirst() + Self.wrapped(key.documentation, Self.columns - indent.count)
            lines.append(head + (about.first ?? ""))
            lines += rest.map { indent + $0 }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// A table for each group.
    public var markdown: String {
        var lines: [String] = []
        var group: String?
        for key in keys {
            if Self.group(key) != group {
                if group != nil { lines.append("") }
                group = Self.group(key)
                lines += [
                    "## \(Self.group(key))", "", "| key | type | default | limits | meaning |", "|---|---|---|---|---|",
                ]
            }
            let cells = [
                "`\(key.name)`", key.type, key.defaultValue.map { $0.isEmpty ? "empty" : "`\($0)`" } ?? "–",
                key.limits ?? "–",
                key.documentation,
            ]
            lines.append("| " + cells.map(Self.cell).joined(separator: " | ") + " |")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func group(_ key: ConfigurationKey) -> String {
        key.name.split(separator: ".").first.map(String.init) ?? key.name
    }

    private static func summary(_ key: ConfigurationKey) -> String {
        var text = key.type
        if let limits = key.limits { text += ", \(limits)" }
        return text + (key.defaultValue.map { "; default \($0)" } ?? "; no default")
    }

    private static func cell(_ text: String) -> String {
        text.split(separator: "\n").joined(separator: " ").split(separator: "|", omittingEmptySubsequences: false)
            .joined(separator: "\\|")
    }

    private static func wrapped(_ text: String, _ width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(whereSeparator: \.isWhitespace) {
            if !line.isEmpty, line.count + 1 + word.count > width {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? String(word) : " \(word)"
        }
        return line.isEmpty ? lines : lines + [line]
    }
}
