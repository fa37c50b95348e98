/// The coordinator's word that a replica is master, and the number under which it is.
public struct Grant: Hashable, Sendable {
    /// Raised at each grant of the partition; never given twice, over restarts too.
    public let number: UInt64

    /// A grant of that number.
    public init(number: UInt64) { self.number = number }
}

/// What the coordinator says of a replica of this node.
public enum Mastership: Sendable, Equatable {
    /// The replica is master, under this grant.
    case master(Grant)
    /// Another node's replica is master, or none is.
    case standby(master: NodeID?)
}

/// Decides which replica of a partition is master. Every method can be called on any thread and blocks none.
///
/// The state is the coordinator's own; a replica that joins is told of each change, the newest last.
public protocol Coordinator: Sendable {
    /// Enters this node's replica of `partition` and reports what it is to be, now and at every change.
    ///
    /// - Parameter notify: called on any thread, one call after the other for a partition.
    func join(_ partition: PartitionID, notify: @escaping @Sendable (Mastership) -> Void) async throws(CoordinatorError)

    /// Asks for a grant above `grant`, after a master had to step down (PROTOCOL C2, W1).
    func renew(_ partition: PartitionID, above grant: UInt64) async throws(CoordinatorError)

    /// Gives the mastership up and takes the replica out; nothing is reported afterwards.
    func leave(_ partition: PartitionID) async
}

/// Why the coordinator could not do what it was asked.
public struct CoordinatorError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public struct Code: Hashable, Sendable {
        private enum Kind { case io, inUse, corrupt, closed }
        private let kind: Kind

        /// Its state could not be read or written.
        public static let io = Code(kind: .io)
        /// Another process has what only one may have.
        public static let inUse = Code(kind: .inUse)
        /// Its state is not what was written.
        public static let corrupt = Code(kind: .corrupt)
        /// The coordinator has ended.
        public static let closed = Code(kind: .closed)
    }

    /// What kind of failure it is.
    public let code: Code
    /// What happened, with the name of the file or node.
    public let reason: String

    /// A failure of that kind.
    public init(_ code: Code, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    /// Whether the same call may succeed later without anybody's help.
    public var isRetriable: Bool { code == .io }

    /// The reason.
    public var description: String { reason }
}
