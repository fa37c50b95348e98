internal import FoundationEssentials
internal import Synchronization

/// What somebody configured, in layers: command line over environment over file over default.
///
/// A component declares its keys by reading them once, into a plain struct; when all have read, `validate()` reports
/// every mistake of every layer together. The same declarations make the reference (`--help`, `Docs`).
///
/// ```swift
/// let configuration = Configuration.load()
/// let gateway = GatewayConfiguration(configuration.reader)
/// if configuration.wantsHelp { print(configuration.reference.text); return }
/// try configuration.validate()
/// ```
///
/// Called by whoever builds a node. Calls `Layers/`, which reads the sources, and `ConfigurationReader`.
public final class Configuration: Sendable {
    let layers: Layers
    private let state = Mutex(State())

    private struct State {
        var keys: [ConfigurationKey] = []
        var index: [String: Int] = [:]
        var mistakes: [ConfigurationMistake] = []
    }

    init(layers: Layers) { self.layers = layers }

    /// Nothing given: every key has its default.
    public convenience init() { self.init(layers: Layers()) }

    /// Values given in code, as they would be written on a command line; for tests and programs without a file.
    public convenience init(_ values: [String: String]) {
        var layers = Layers()
        layers.program = values
        self.init(layers: layers)
    }

    /// Reads the command line, the environment, and the file that one of them names.
    ///
    /// Never fails and never ends the process: what is wrong is reported by `validate()`, and a wish for help stands
    /// in `wantsHelp`.
    ///
    /// - Parameters:
    ///   - arguments: the words of the command line, the program's name first. Understood are `--key value`,
    ///     `--key=value`, `--config FILE` and `--help`.
    ///   - environment: the variables; those that begin with `AFFINITY_` have to be known ones. Without it, those of
    ///     the process.
    public static func load(
        arguments: [String] = CommandLine.arguments, environment: [String: String]? = nil
    ) -> Configuration {
        var layers = Layers()
        layers.arguments = ArgumentLayer(arguments.dropFirst())
        layers.environment = EnvironmentLayer(environment ?? ProcessInfo.processInfo.environment)
        if let path = layers.arguments.file ?? layers.environment.file { layers.file = FileLayer(path: path) }
        return Configuration(layers: layers)
    }

    /// The same with a file's content in place of a file: for tests and for programs that carry their configuration.
    ///
    /// - Parameters:
    ///   - yaml: the content.
    ///   - name: what messages call it.
    ///   - arguments: the words behind the program's name.
    ///   - environment: the variables.
    public static func load(
        yaml: String, name: String = "configuration", arguments: [String] = [], environment: [String: String] = [:]
    ) -> Configuration {
        load(bytes: Array(yaml.utf8), name: name, arguments: arguments, environment: environment)
    }

    static func load(
        bytes: [UInt8], name: String, arguments: [String] = [], environment: [String: String] = [:]
    ) -> Configuration {
        var layers = Layers()
        layers.arguments = ArgumentLayer(arguments)
        layers.environment = EnvironmentLayer(environment)
        layers.file = FileLayer(bytes: bytes, path: name)
        return Configuration(layers: layers)
    }

    /// Whether `--help` was given. The caller prints `reference.text` and ends.
    public var wantsHelp: Bool { layers.arguments.wantsHelp }

    /// Reads keys by their full names.
    public var reader: ConfigurationReader { ConfigurationReader(self, prefix: "") }

    /// Everything that was declared so far, for `--help` and for the documentation.
    public var reference: ConfigurationReference {
        ConfigurationReference(keys: state.withLock { $0.keys.filter(\.isListed) })
    }

    /// Reports every mistake, once all components have read their keys.
    ///
    /// - Throws: `ConfigurationError` with all of them: unreadable files, values of the wrong type or beyond their
    ///   limits, keys that nobody declared.
    public func validate() throws(ConfigurationError) {
        let (names, found) = state.withLock { ($0.keys.map(\.name), $0.mistakes) }
        let unknown = UnknownKeys(in: layers, declared: names).mistakes
        let mistakes = (layers.mistakes + found + unknown).sorted { $0.source.order < $1.source.order }
        if !mistakes.isEmpty { throw ConfigurationError(mistakes) }
    }

    /// Enters a key that a component reads, and what was wrong with what it read.
    ///
    /// Two components may read one key, if they agree on what it is.
    func declare(_ key: ConfigurationKey, _ mistakes: [ConfigurationMistake]) {
        state.withLock { state in
            if let index = state.index[key.name] {
                guard !state.keys[index].isSameDeclaration(as: key) else { return }
                let problem = "is declared twice, differently"
                state.mistakes.append(ConfigurationMistake(.program, key: key.name, problem))
            } else {
                state.index[key.name] = state.keys.count
                state.keys.append(key)
                state.mistakes += mistakes
            }
        }
    }

    func reject(_ mistake: ConfigurationMistake) { state.withLock { $0.mistakes.append(mistake) } }
}
