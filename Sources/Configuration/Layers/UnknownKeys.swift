/// What was given although nobody reads it.
struct UnknownKeys {
    private let declared: Set<String>
    private let inOrder: [String]
    /// Every proper beginning of a declared key: `gateway`, `gateway.limits`.
    private let groups: Set<String>
    /// What a wrong key may have been meant to be.
    private let candidates: [String]
    private(set) var mistakes: [ConfigurationMistake] = []

    /// Collects the unknown keys of `layers`, measured against the declared ones.
    init(in layers: Layers, declared names: [String]) {
        // What stands for many keys in the reference, `storage.kafka.*`, is none itself.
        inOrder = names.filter { !$0.hasSuffix(".*") }
        declared = Set(inOrder)
        var groups: Set<String> = []
        for key in inOrder {
            for end in key.indices where key[end] == "." { groups.insert(String(key[..<end])) }
        }
        self.groups = groups
        candidates = inOrder + groups.sorted()
        for (key, given) in layers.file.given { check(file: key, given, layers) }
        for (key, given) in layers.arguments.given where !declared.contains(key) {
            report(key, given.source, word: "--\(Shown.word(key))", prefix: "--")
        }
        for key in layers.program.keys where !declared.contains(key) { report(key, .program, word: nil, prefix: "") }
        checkEnvironment(layers.environment)
    }

    private mutating func check(file key: String, _ given: Given, _ layers: Layers) {
        guard !declared.contains(key) else { return }
        if groups.contains(key) {
            switch given.value {
            // A group of which every line is a comment.
            case .group, .nothing: return
            case .text, .list:
                let example = inOrder.first { $0.hasPrefix("\(key).") } ?? key
                mistakes.append(
                    ConfigurationMistake(
                        given.source, key: key, "is a group of keys and has no value itself",
                        expected: "a map with keys such as \(example.dropFirst(key.utf8.count + 1))"))
            }
            return
        }
        // Inside an unknown group, the group is the mistake. Inside a key that is no group, its reader has complained.
        var end = key.endIndex
        while let dot = key[..<end].lastIndex(of: ".") {
            let outer = String(key[..<dot])
            if layers.file.given[outer] != nil, !groups.contains(outer) { return }
            end = dot
        }
        report(key, given.keySource, word: nil, prefix: "")
    }

    private mutating func report(_ key: String, _ source: ConfigurationSource, word: String?, prefix: String) {
        // The guess is only made for what will be listed: it costs a comparison with every declared key.
        let isListed = mistakes.count < ConfigurationError.listedMax
        mistakes.append(
            ConfigurationMistake(
                source, key: word == nil ? key : nil, "there is no such key",
                suggestion: isListed ? NearestName.find(key, in: candidates).map { prefix + $0 } : nil))
    }

    private mutating func checkEnvironment(_ environment: EnvironmentLayer) {
        var keys: [String: [String]] = [:]
        for key in inOrder { keys[EnvironmentLayer.variable(of: key), default: []].append(key) }
        for variable in environment.variables.keys {
            let source = ConfigurationSource.environment(variable)
            let matches = keys[variable] ?? []
            if matches.count > 1 {
                mistakes.append(
                    ConfigurationMistake(
                        source, "is the variable of several keys: \(matches.joined(separator: ", "))",
                        expected: "them in the file or on the command line"))
            } else if matches.isEmpty {
                let isListed = mistakes.count < ConfigurationError.listedMax
                let near = isListed ? NearestName.find(variable.uppercased(), in: keys.keys.sorted()) : nil
                mistakes.append(
                    ConfigurationMistake(
                        source, "no key has this variable", expected: Self.expected(variable), suggestion: near))
            }
        }
    }

    /// Kubernetes gives every pod variables for every service; those of a service called `affinity` look like ours.
    private static func expected(_ variable: String) -> String? {
        let isService =
            variable.hasPrefix("AFFINITY_SERVICE_") || variable.hasPrefix("AFFINITY_PORT_")
            || variable == "AFFINITY_PORT"
        return isService ? "enableServiceLinks: false, if Kubernetes set it for a service called affinity" : nil
    }
}
