/// The variables of the environment that begin with `AFFINITY_`.
struct EnvironmentLayer: Sendable {
    /// Values by variable, without those that are no keys.
    private(set) var variables: [String: String] = [:]
    /// The value of `AFFINITY_CONFIG`.
    private(set) var file: String?

    static let prefix = "AFFINITY_"

    init(_ environment: [String: String]) {
        variables = environment.filter { $0.key.hasPrefix(Self.prefix) }
        file = variables.removeValue(forKey: "AFFINITY_CONFIG")
        // Those of the command `affinity`, which may be set where a node is started.
        for name in ["AFFINITY_ADMIN", "AFFINITY_URL"] { variables[name] = nil }
    }

    /// The variable of a key: dots and hyphens are underscores, letters are upper case. Several keys may share one.
    static func variable(of key: String) -> String {
        prefix + key.uppercased().map { $0 == "." || $0 == "-" ? "_" : String($0) }.joined()
    }

    func given(_ key: String) -> Given? {
        let variable = Self.variable(of: key)
        return variables[variable].map { Given(.text($0), .environment(variable)) }
    }
}
