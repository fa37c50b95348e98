/// One declared key: what the reference says about it, and the value that it has.
public struct ConfigurationKey: Sendable {
    /// The full name, `gateway.limits.body`.
    public let name: String
    /// What it holds: `integer`, `size`, `duration`, `list`, ….
    public let type: String
    /// The default as it would be written in a file; `nil` if there is none.
    public let defaultValue: String?
    /// What is allowed: `1…1024 connections`, `local, kafka`; `nil` if everything is.
    public let limits: String?
    /// What the key is for.
    public let documentation: String
    /// The value that counts, as it would be written; `***` for a secret, `nil` for none.
    public let value: String?
    /// Where that value comes from.
    public let source: ConfigurationSource
    /// Whether it stands in the reference by itself.
    var isListed = true

    /// The variable of the environment that sets the key.
    public var environmentVariable: String { EnvironmentLayer.variable(of: name) }

    func isSameDeclaration(as other: ConfigurationKey) -> Bool {
        type == other.type && defaultValue == other.defaultValue && limits == other.limits
    }
}
