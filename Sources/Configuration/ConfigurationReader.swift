/// What a component reads its keys with; reading a key declares it.
///
/// Nothing here throws: a value that is missing or wrong reads as its default, and the mistake is reported by
/// `Configuration.validate()` together with all others. Every method can be called on any thread.
public struct ConfigurationReader: Sendable {
    /// Where the keys are declared.
    public let configuration: Configuration
    /// What stands before each key that is read: empty, or `keyspaces.kv`.
    public let prefix: String
    /// Whether the reference lists the keys.
    var isListed = true

    init(_ configuration: Configuration, prefix: String) {
        self.configuration = configuration
        self.prefix = prefix
    }

    /// Reads the keys below `name`, which may be made up at run time: `reader.group("keyspaces.\(keyspace)")`.
    ///
    /// For the reference, groups of that kind are read once with a placeholder for the name.
    public func group(_ name: String) -> ConfigurationReader {
        var reader = ConfigurationReader(configuration, prefix: fullName(name))
        reader.isListed = isListed
        return reader
    }

    /// The full name of a key of this reader.
    public func fullName(_ key: String) -> String { prefix.isEmpty ? key : "\(prefix).\(key)" }

    /// Whether anybody gave the key a value; a default does not count.
    public func isGiven(_ key: String) -> Bool { !configuration.layers.given(fullName(key)).isEmpty }

    /// The names directly below this reader's prefix that the file or the command line has something under, in order:
    /// for groups whose names are made up by whoever configures them.
    public func givenNames() -> [String] {
        let layers = configuration.layers
        let start = prefix.isEmpty ? "" : "\(prefix)."
        var names: Set<String> = []
        let keys = Array(layers.file.given.keys) + Array(layers.arguments.given.keys) + Array(layers.program.keys)
        for key in keys where key.hasPrefix(start) {
            names.formUnion(key.dropFirst(start.count).split(separator: ".").prefix(1).map(String.init))
        }
        return names.sorted()
    }

    /// Reports a value that is good by itself but not together with others.
    ///
    /// - Parameters:
    ///   - key: the key that should be changed; its source is named.
    ///   - problem: what is wrong: `is needed when storage.kind is kafka`.
    ///   - expected: what would be right.
    public func reject(_ key: String, _ problem: String, expected: String? = nil) {
        let name = fullName(key)
        let source = configuration.layers.given(name).first?.source ?? .program
        configuration.reject(ConfigurationMistake(source, key: name, problem, expected: expected))
    }

    /// What all reading methods have in common.
    ///
    /// Every layer's value is checked, also below the one that counts: a mistake that only shows when a variable
    /// is taken away shows at the wrong time.
    ///
    /// - Parameters:
    ///   - write: the value as it would be written in a file.
    ///   - parse: reads what one layer gave. It must not trap on anything.
    func read<Value>(
        _ key: String, _ kind: ValueKind, default fallback: Value, doc: String, write: (Value) -> String?,
        parse: (Given) throws(Problem) -> Value
    ) -> Value {
        let name = fullName(key)
        var mistakes: [ConfigurationMistake] = []
        var counting: (value: Value, source: ConfigurationSource)?
        for given in configuration.layers.given(name) {
            do throws(Problem) {
                let value = try parse(given)
                counting = counting ?? (value, given.source)
            } catch {
                mistakes.append(
                    ConfigurationMistake(
                        error.source ?? given.source, key: name, error.problem,
                        expected: error.expected ?? kind.expected, suggestion: error.suggestion))
            }
        }
        let value = counting?.value ?? fallback
        configuration.declare(
            ConfigurationKey(
                name: name, type: kind.type, defaultValue: kind.isSecret ? nil : write(fallback), limits: kind.limits,
                documentation: doc, value: write(value), source: counting?.source ?? .program, isListed: isListed),
            mistakes)
        return value
    }
}

/// How a type is called, in the reference and in mistakes.
struct ValueKind {
    var type: String
    var limits: String?
    /// Behind "expected".
    var expected: String
    var isSecret = false
}

extension Given {
    /// The text that was given, where a single value is expected.
    func text() throws(Problem) -> String {
        switch value {
        case .text(let text): return text
        case .list: throw Problem(problem: "is a list")
        case .nothing: throw Problem(problem: "has no value")
        case .group: throw Problem(problem: "is a map")
        }
    }
}
