import Affinity
import AffinityNet
import Foundation

extension Subcommand {
    static let config = Subcommand(
        "config", "prints the keys of a node's configuration, or checks a file",
        options: [
            Option("check", "FILE", "says all that is wrong with a configuration file"),
            Option("markdown", nil, "prints the reference as Docs/Configuration.md has it"),
        ],
        details: """
            The keys of all nodes: those that a program declares besides are printed by its own --help, and count as
            unknown here. A check looks at the file alone, and takes every keyspace in it for one that the program has.
            """
    ) { call in
        if let file = call["check"] {
            try check(file, call)
        } else if call["markdown"] != nil {
            print(NodeKeys.reference.document, terminator: "")
        } else if call.wantsJSON {
            print(try json(NodeKeys.reference.keys.map(Described.init)))
        } else {
            print(NodeKeys.reference.text, terminator: "")
        }
    }

    private static func check(_ file: String, _ call: Invocation) throws {
        let keys = NodeKeys(.load(arguments: ["affinity", "--config", file], environment: [:]))
        do {
            try keys.configuration.validate()
            print(call.wantsJSON ? "[]" : "\(file): good")
        } catch {
            if call.wantsJSON { print(try json(error.mistakes.map(Mistake.init))) }
            throw Failure(.refused, call.wantsJSON ? "\(error.mistakes.count + error.omitted) mistakes" : "\(error)")
        }
    }

    /// A key, for a program.
    private struct Described: Encodable {
        var key: String
        var type: String
        var `default`: String?
        var limits: String?
        var meaning: String
        var variable: String

        init(_ key: ConfigurationKey) {
            self.key = key.name
            (type, `default`, limits) = (key.type, key.defaultValue, key.limits)
            (meaning, variable) = (key.documentation, key.environmentVariable)
        }
    }

    /// A mistake, for a program.
    private struct Mistake: Encodable {
        var file: String?
        var line: Int?
        var column: Int?
        var key: String?
        var problem: String
        var expected: String?
        var suggestion: String?

        init(_ mistake: ConfigurationMistake) {
            if case .file(let file, let line, let column) = mistake.source {
                (self.file, self.line, self.column) = (file, line, column)
            }
            (key, problem, expected) = (mistake.key, mistake.problem, mistake.expected)
            suggestion = mistake.suggestion
        }
    }
}

/// The keys of a node, without a program that has keyspaces: those that are given count as its own.
struct NodeKeys {
    let configuration: Configuration
    let settings: NodeConfiguration
    let keyspaces: [String: KeyspaceConfiguration]

    init(_ configuration: Configuration, keyspaces names: [String]? = nil) {
        let reader = configuration.reader
        let settings = NodeConfiguration(reader)
        let names = names ?? reader.group("keyspaces").givenNames()
        self.configuration = configuration
        self.settings = settings
        keyspaces = Dictionary(
            uniqueKeysWithValues: names.map {
                ($0, KeyspaceConfiguration($0, reader, body: settings.gateway.server.bodyLimit))
            })
    }

    /// What a node would be run with that was called as the tool was.
    init(of call: Invocation) {
        self.init(.load(arguments: ["affinity"] + call.configuration))
    }

    static let reference = NodeKeys(Configuration(), keyspaces: ["<name>"]).configuration.reference
}

extension ConfigurationReference {
    /// The whole of Docs/Configuration.md.
    fileprivate var document: String {
        """
        # Configuration

        Every key of a node, as `affinity config` knows them; this page is made by `affinity config --markdown`. A key is
        given on the command line (`--gateway.deadline 5s`), as an environment variable (`AFFINITY_GATEWAY_DEADLINE`: upper
        case, dots and hyphens as underscores), or in the YAML file that `--config FILE` or `AFFINITY_CONFIG` names; the
        first of these counts. `affinity config --check FILE` says all that is wrong with a file.

        `<name>` stands for the name of a keyspace. Sizes are written `64KiB`, `1MiB`, durations `250ms`, `2s`, `10m`, lists
        with commas between their items, or as lists of YAML. A secret is a text, or is taken from a file: `{ file: path }`.
        A program that reads keys of its own lists them with its `--help`.

        \(markdown)
        """
    }
}
