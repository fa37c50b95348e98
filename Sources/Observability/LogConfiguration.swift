public import AffinityConfiguration
public import AffinityCore

/// How log lines look.
public enum LogFormat: String, CaseIterable, Sendable {
    /// Text on a terminal, JSON everywhere else.
    case auto
    /// For people.
    case text
    /// For programs: one object a line.
    case json
}

/// The keys below `log`.
public struct LogConfiguration: Sendable {
    /// What is less important than this is not written.
    public var level: Report.Level
    /// How lines look.
    public var format: LogFormat

    /// A configuration in code.
    public init(level: Report.Level = .info, format: LogFormat = .auto) {
        self.level = level
        self.format = format
    }

    /// Reads `log.level` and `log.format`.
    public init(_ reader: ConfigurationReader) {
        let words = Report.Level.allCases.map(LogLine.word)
        let word = reader.choice(
            "log.level", words, default: LogLine.word(.info), doc: "What is less important is not written.")
        level = Report.Level.allCases.first { LogLine.word($0) == word } ?? .info
        format = reader.choice(
            "log.format", default: LogFormat.auto,
            doc: "How log lines on standard error look; auto is text on a terminal and JSON everywhere else.")
    }
}
