/// One mistake in what somebody configured.
public struct ConfigurationMistake: Hashable, Sendable, CustomStringConvertible {
    /// Where it stands.
    public let source: ConfigurationSource
    /// The key that it concerns, if it concerns one.
    public let key: String?
    /// What is wrong.
    public let problem: String
    /// What would have been right, limits included.
    public let expected: String?
    /// The known name that was probably meant.
    public let suggestion: String?

    /// A mistake of those parts.
    public init(
        _ source: ConfigurationSource, key: String? = nil, _ problem: String, expected: String? = nil,
        suggestion: String? = nil
    ) {
        self.source = source
        self.key = key
        self.problem = problem
        self.expected = expected
        self.suggestion = suggestion
    }

    /// The mistake in one line.
    public var description: String {
        var text = "\(source): "
        if let key { text += "\(Shown.word(key)): " }
        text += problem
        if let expected { text += "; expected \(expected)" }
        if let suggestion { text += "; did you mean \(suggestion)?" }
        return text
    }
}

/// Everything that is wrong with a configuration, at once, so that nobody has to find it out one start at a time.
public struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The mistakes: those of the file by line, then those of the environment, then those of the command line.
    public let mistakes: [ConfigurationMistake]
    /// How many further mistakes there are that are not listed.
    public let omitted: Int

    /// More mistakes than this are counted instead of listed.
    public static let listedMax = 100

    /// An error of those mistakes, of which the first hundred are kept.
    public init(_ mistakes: [ConfigurationMistake], omitted: Int = 0) {
        self.mistakes = Array(mistakes.prefix(Self.listedMax))
        self.omitted = omitted + max(0, mistakes.count - Self.listedMax)
    }

    /// The same call gives the same answer until somebody corrects the configuration.
    public var isRetriable: Bool { false }

    /// One mistake a line.
    public var description: String {
        var lines = mistakes.map(\.description)
        if omitted > 0 { lines.append("and \(omitted) more") }
        return lines.joined(separator: "\n")
    }
}
