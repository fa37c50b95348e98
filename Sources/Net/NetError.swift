/// What goes wrong between this process and the network.
public struct NetError: Error, Sendable, CustomStringConvertible {
    /// What kind of thing it is.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case addressInUse, badAddress, badConfiguration, noResources, notPermitted, unreachable, timedOut, closed,
                refused, system
        }
        private let kind: Kind
        private init(_ kind: Kind) { self.kind = kind }

        /// Somebody else listens there.
        public static let addressInUse = Code(.addressInUse)
        /// The host is no address that can be used here, or its name cannot be resolved.
        public static let badAddress = Code(.badAddress)
        /// A configuration's value is outside of its limits.
        public static let badConfiguration = Code(.badConfiguration)
        /// The system has no more threads, descriptors or memory to give.
        public static let noResources = Code(.noResources)
        /// The process may not do that: for instance listen at a port below 1024.
        public static let notPermitted = Code(.notPermitted)
        /// Nobody answers there: the connection was refused, or there is no way to the host.
        public static let unreachable = Code(.unreachable)
        /// It took too long.
        public static let timedOut = Code(.timedOut)
        /// The server or the loops have been shut down.
        public static let closed = Code(.closed)
        /// The other side answered, and does not do what it was asked for.
        public static let refused = Code(.refused)
        /// Another error of the system: see ``NetError/underlying``.
        public static let system = Code(.system)

        /// The code's name.
        public var description: String { kind.rawValue }
    }

    /// What kind of thing it is.
    public let code: Code
    /// A sentence for an operator.
    public let reason: String
    /// The system's `errno`, where there is one, otherwise 0.
    public let underlying: Int32

    package init(_ code: Code, _ reason: String, underlying: Int32 = 0) {
        self.code = code
        self.reason = reason
        self.underlying = underlying
    }

    /// Whether the same call may succeed later.
    public var isRetriable: Bool { [.addressInUse, .noResources, .unreachable, .timedOut].contains(code) }

    /// The code and the reason.
    public var description: String { "\(code): \(reason)" }
}
