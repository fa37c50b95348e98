extension ConfigurationReader {
    /// Reads the properties of a library, which has its own names and rules for them: `storage.kafka.sasl.username`.
    ///
    /// Each name is a key of its own, so an unknown one is a mistake and the environment can set them all; but the
    /// reference lists them as one key, `storage.kafka.*`.
    ///
    /// - Parameters:
    ///   - group: the key above them, below this reader's prefix.
    ///   - names: all that there are.
    ///   - isSecret: whether the value must not be seen; it can then come from a file as well.
    ///   - problem: why a value cannot be given; `nil` if it can. Must not say the value of a secret.
    ///   - doc: what the library is, and where its properties are described.
    /// - Returns: those that were given.
    public func properties(
        _ group: String, names: [String], isSecret: (String) -> Bool, doc: String,
        problem: (_ name: String, _ value: String) -> String?
    ) -> [String: Secret] {
        let kind = ValueKind(type: "properties", limits: nil, expected: "properties")
        configuration.declare(
            ConfigurationKey(
                name: fullName("\(group).*"), type: kind.type, defaultValue: nil, limits: nil, documentation: doc,
                value: nil, source: .program), [])
        var reader = self.group(group)
        reader.isListed = false
        var values: [String: Secret] = [:]
        for name in names {
            let text = "A property of a library."
            guard let value = isSecret(name) ? reader.secret(name, doc: text) : reader.plain(name, doc: text) else {
                continue
            }
            if let problem = problem(name, value.reveal()) { reader.reject(name, problem) }
            values[name] = value
        }
        return values
    }

    private func plain(_ name: String, doc: String) -> Secret? {
        string(name, .any, doc: doc).map { Secret($0) }
    }
}
