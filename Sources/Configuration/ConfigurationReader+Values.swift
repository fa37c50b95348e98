extension ConfigurationReader {
    /// Reads a text.
    ///
    /// - Parameters:
    ///   - key: the key, below this reader's prefix.
    ///   - value: the default.
    ///   - rule: what the text has to be like.
    ///   - doc: what the key is for, one or two sentences.
    public func string(
        _ key: String, default value: String, _ rule: TextRule = .notEmpty, doc: String
    ) -> String {
        read(key, .text(rule), default: value, doc: doc, write: { $0 }) { given throws(Problem) in
            try Self.text(given, rule)
        }
    }

    /// Reads a text that nobody has to give; `nil` if nobody did.
    public func string(_ key: String, _ rule: TextRule = .notEmpty, doc: String) -> String? {
        read(key, .text(rule), default: nil, doc: doc, write: { $0 }) { given throws(Problem) in
            try Self.text(given, rule)
        }
    }

    /// Reads `true` or `false`, and nothing else: half of the world's `yes`, `on` and `1` are typing errors.
    public func boolean(_ key: String, default value: Bool, doc: String) -> Bool {
        let kind = ValueKind(type: "boolean", limits: nil, expected: "true or false")
        return read(key, kind, default: value, doc: doc, write: { "\($0)" }) { given throws(Problem) in
            switch try given.text() {
            case "true": return true
            case "false": return false
            case let text: throw Problem(problem: "\(Shown.quoted(text)) is neither true nor false")
            }
        }
    }

    /// Reads a whole number in decimal.
    ///
    /// - Parameters:
    ///   - key: the key, below this reader's prefix.
    ///   - value: the default.
    ///   - limits: the least and the greatest that will do.
    ///   - unit: what is counted, for the reference: `connections`.
    ///   - doc: what the key is for.
    public func integer(
        _ key: String, default value: Int, in limits: ClosedRange<Int>, unit: String? = nil, doc: String
    ) -> Int {
        let range = "\(limits.lowerBound)…\(limits.upperBound)"
        let kind = ValueKind(
            type: "integer", limits: unit.map { "\(range) \($0)" } ?? range,
            expected: "a whole number from \(limits.lowerBound) to \(limits.upperBound)")
        return read(key, kind, default: value, doc: doc, write: { "\($0)" }) { given throws(Problem) in
            let text = try given.text()
            guard let number = Numeral.integer(text) else {
                throw Problem(problem: "\(Shown.quoted(text)) is no whole number")
            }
            return try Self.within(number, limits, { "\($0)" })
        }
    }

    /// Reads an amount of bytes: `64KiB`, `1MiB`, `1048576`.
    ///
    /// - Parameters:
    ///   - key: the key, below this reader's prefix.
    ///   - value: the default.
    ///   - limits: the least and the greatest that will do.
    ///   - doc: what the key is for.
    public func size(
        _ key: String, default value: ByteCount, in limits: ClosedRange<ByteCount>, doc: String
    ) -> ByteCount {
        let kind = ValueKind(
            type: "size", limits: "\(limits.lowerBound)…\(limits.upperBound)",
            expected: "bytes, as 64KiB or 1048576, from \(limits.lowerBound) to \(limits.upperBound)")
        return read(key, kind, default: value, doc: doc, write: \.description) { given throws(Problem) in
            let text = try given.text()
            guard let size = ByteCount(text) else {
                throw Problem(problem: "\(Shown.quoted(text)) is no size")
            }
            return try Self.within(size, limits, \.description)
        }
    }

    /// Reads a duration: `500ms`, `2s`, `10m`, `1h`, `1d`.
    ///
    /// - Parameters:
    ///   - key: the key, below this reader's prefix.
    ///   - value: the default.
    ///   - limits: the shortest and the longest that will do.
    ///   - doc: what the key is for.
    public func duration(
        _ key: String, default value: Duration, in limits: ClosedRange<Duration>, doc: String
    ) -> Duration {
        let least = DurationText.text(limits.lowerBound)
        let most = DurationText.text(limits.upperBound)
        let kind = ValueKind(
            type: "duration", limits: "\(least)…\(most)",
            expected: "a duration, as 500ms, 2s, 10m, 1h or 1d, from \(least) to \(most)")
        return read(key, kind, default: value, doc: doc, write: DurationText.text) { given throws(Problem) in
            let text = try given.text()
            guard let duration = DurationText.parse(text) else {
                throw Problem(problem: "\(Shown.quoted(text)) is no duration")
            }
            return try Self.within(duration, limits, DurationText.text)
        }
    }

    /// Reads one of several words.
    ///
    /// - Parameters:
    ///   - key: the key, below this reader's prefix.
    ///   - words: the words that will do.
    ///   - value: the default.
    ///   - doc: what the key is for.
    public func choice(_ key: String, _ words: [String], default value: String, doc: String) -> String {
        let kind = ValueKind(
            type: "choice", limits: words.joined(separator: ", "),
            expected: "one of \(words.joined(separator: ", "))")
        return read(key, kind, default: value, doc: doc, write: { $0 }) { given throws(Problem) in
            let text = try given.text()
            guard words.contains(text) else {
                throw Problem(
                    problem: "\(Shown.quoted(text)) is none of the choices",
                    suggestion: NearestName.find(text, in: words))
            }
            return text
        }
    }

    /// Reads one of the cases of an enumeration, which are written as their raw values.
    public func choice<Choice: CaseIterable & RawRepresentable & Sendable>(
        _ key: String, default value: Choice, doc: String
    ) -> Choice where Choice.RawValue == String {
        let word = choice(key, Choice.allCases.map(\.rawValue), default: value.rawValue, doc: doc)
        return Choice(rawValue: word) ?? value
    }

    static func text(_ given: Given, _ rule: TextRule) throws(Problem) -> String {
        let text = try given.text()
        guard rule.accepts(text) else { throw Problem(problem: "\(Shown.quoted(text)) will not do") }
        return text
    }

    private static func within<Value: Comparable>(
        _ value: Value, _ limits: ClosedRange<Value>, _ write: (Value) -> String
    ) throws(Problem) -> Value {
        if value < limits.lowerBound { throw Problem(problem: "\(write(value)) is too little") }
        if value > limits.upperBound { throw Problem(problem: "\(write(value)) is too much") }
        return value
    }
}

extension ValueKind {
    static func text(_ rule: TextRule) -> ValueKind {
        ValueKind(type: "text", limits: nil, expected: rule.description)
    }
}
