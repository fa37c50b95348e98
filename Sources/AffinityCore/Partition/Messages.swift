/// What commands and queries have in common: the contract between those who ask and a keyspace.
///
/// Messages may cross nodes, so they are `Codable`; their `name` is a part of the contract, and renaming the type
/// must not change it.
public protocol Message: Codable, Sendable {
    /// What the handler answers.
    associatedtype Reply: Codable & Sendable
    /// The type of what routes.
    associatedtype Key: RoutingKey

    /// The name on the wire: the type's, unless you say otherwise.
    static var name: String { get }
    /// What decides the partition.
    var key: Key { get }
}

extension Message {
    /// The type's own name.
    public static var name: String { String(describing: Self.self) }
}

/// A message that may write.
public protocol Command: Message {}

/// A message that only reads.
public protocol Query: Message {}

/// A query that is for every partition of the keyspace: it has no key, and is sent by `Service.scatter`.
public protocol ScatterQuery: Query where Key == Everywhere {}

extension ScatterQuery {
    /// It is for every partition.
    public var key: Everywhere { Everywhere() }
}

/// The key of messages that are for every partition.
public struct Everywhere: RoutingKey {
    /// No bytes: it routes nowhere in particular.
    public var routingBytes: [UInt8] { [] }

    init() {}
}

/// Something that happened, told to the subscribers of a service.
public protocol Event: Sendable {}

/// The handler's no: nothing was written.
public struct Rejected: Error, Codable, Hashable, Sendable, CustomStringConvertible {
    /// What kind of no it is: it decides the status that a gateway answers.
    public struct Kind: Codable, Hashable, Sendable {
        private let name: String

        private init(_ name: String) { self.name = name }

        /// The message makes no sense (400).
        public static let invalid = Kind("invalid")
        /// What it is about does not exist (404).
        public static let notFound = Kind("not found")
        /// It does not fit the state (409).
        public static let conflict = Kind("conflict")
        /// A condition that the caller set does not hold (412).
        public static let precondition = Kind("precondition")
        /// The logic of the keyspace refuses it (422).
        public static let refused = Kind("refused")

        /// Reads the name.
        public init(from decoder: any Decoder) throws { name = try decoder.singleValueContainer().decode(String.self) }

        /// Writes the name.
        public func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            try container.encode(name)
        }
    }

    /// What kind of no it is.
    public let kind: Kind
    /// Why, in words for the caller.
    public let reason: String
    /// Particulars for the caller, by name.
    public let details: [String: String]

    /// A no of that kind.
    public init(_ kind: Kind = .refused, _ reason: String, details: [String: String] = [:]) {
        self.kind = kind
        self.reason = reason
        self.details = details
    }

    /// The logic of the keyspace refuses it.
    public init(_ reason: String) { self.init(.refused, reason) }

    /// The reason.
    public var description: String { reason }
}
