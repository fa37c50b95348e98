package import AffinityCore

/// What tells the numbers of one metric apart: names and values, in order.
public typealias MetricLabels = KeyValuePairs<String, String>

/// A metric with all of its numbers, at one moment.
package struct MetricFamily: Sendable {
    /// What kind of numbers they are.
    package enum Kind: String, Sendable {
        /// They only grow, until the process ends.
        case counter
        /// They go up and down.
        case gauge
        /// Each is how often something took how long.
        case histogram
    }

    package let name: String
    package let help: String
    package let kind: Kind
    /// The lines behind its head.
    private(set) var lines: [String] = []

    /// A metric without numbers.
    ///
    /// - Precondition: the name is one of Prometheus': letters, digits and underscores.
    package init(_ name: String, _ kind: Kind, _ help: String) {
        precondition(MetricText.isName(name), "\"\(name)\" is no name of a metric")
        (self.name, self.kind, self.help) = (name, kind, help)
    }

    /// A metric with one number.
    package init(_ name: String, _ kind: Kind, _ help: String, _ value: Double) {
        self.init(name, kind, help)
        add([:], value)
    }

    package mutating func add(_ labels: MetricLabels, _ value: Double) {
        lines.append(MetricText.line(name, labels.map { ($0.key, $0.value) }, value))
    }

    package mutating func add(_ labels: MetricLabels, _ value: some BinaryInteger) { add(labels, Double(value)) }

    /// Adds how often it took how long: cumulative, as Prometheus has it, and in seconds.
    package mutating func add(_ labels: MetricLabels, _ counts: DurationCounts) {
        let pairs = labels.map { ($0.key, $0.value) }
        var sum: UInt64 = 0
        for (index, count) in counts.buckets.enumerated() {
            sum &+= count
            let bound =
                index < DurationBuckets.bounds.count
                ? MetricText.number(Double(DurationBuckets.bounds[index]) / 1e9) : "+Inf"
            lines.append(MetricText.line(name + "_bucket", pairs + [("le", bound)], Double(sum)))
        }
        lines.append(MetricText.line(name + "_sum", pairs, Double(counts.nanoseconds) / 1e9))
        lines.append(MetricText.line(name + "_count", pairs, Double(sum)))
    }

    /// Takes the numbers of another part of the same metric in.
    mutating func add(_ other: MetricFamily) { lines += other.lines }

    /// The metric in Prometheus' text format; nothing if it has no numbers.
    var text: String {
        if lines.isEmpty { return "" }
        return "# HELP \(name) \(MetricText.escaped(help, quotes: false))\n# TYPE \(name) \(kind.rawValue)\n"
            + lines.joined(separator: "\n") + "\n"
    }
}

/// Prometheus' text format 0.0.4; pure.
enum MetricText {
    /// Whether it is a name, of a metric or a label, without colons: those are for rules.
    static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }

    static func line(_ name: String, _ labels: [(String, String)], _ value: Double) -> String {
        if labels.isEmpty { return "\(name) \(number(value))" }
        let pairs = labels.map { name, value in
            precondition(isName(name), "\"\(name)\" is no name of a label")
            return "\(name)=\"\(escaped(value, quotes: true))\""
        }
        return "\(name){\(pairs.joined(separator: ","))} \(number(value))"
    }

    /// Whole numbers without a point; what is no number as Prometheus writes it.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == value.rounded(), abs(value) < 9e15 { return String(Int64(value)) }
        return value.description
    }

    static func escaped(_ text: String, quotes: Bool) -> String {
        guard text.utf8.contains(where: { $0 == 0x5C || $0 == 0x0A || (quotes && $0 == 0x22) }) else { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
