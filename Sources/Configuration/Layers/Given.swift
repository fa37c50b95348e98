/// What one layer says about a key.
struct Given: Sendable {
    enum Value: Sendable {
        /// From any layer; a list stands in it with commas.
        case text(String)
        /// From a file.
        case list([Item])
        /// A key of the file behind which nothing stands.
        case nothing
        /// A map of the file, where a value may be expected.
        case group
    }

    /// A list's item; `text` is `nil` if it is no text.
    struct Item: Sendable {
        var text: String?
        var source: ConfigurationSource
    }

    var value: Value
    /// Where the value stands.
    var source: ConfigurationSource
    /// Where its key stands, which is the same in all layers but the file.
    var keySource: ConfigurationSource

    init(_ value: Value, _ source: ConfigurationSource, keySource: ConfigurationSource? = nil) {
        self.value = value
        self.source = source
        self.keySource = keySource ?? source
    }

    var isGroup: Bool {
        if case .group = value { true } else { false }
    }
}

/// A key's value is not what it should be.
struct Problem: Error {
    var problem: String
    var expected: String?
    var suggestion: String?
    /// Where it stands, if more is known than where the value begins.
    var source: ConfigurationSource?
}
