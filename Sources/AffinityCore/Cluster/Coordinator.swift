/// The coordinator's word that a replica is master, and the number under which it is.
public struct Grant: Hashable, Sendable {
    /// Raised at each grant of the partition; never given twice, over restarts too.
    public let number: UInt64
    /// As long as it runs, nobody else serves; `nil` where nobody else can.
    public let lease: Lease?

    /// A grant of that number.
    public init(number: UInt64, lease: Lease? = nil) {
        self.number = number
        self.lease = lease
    }

    /// Grants of one number are the same if they rest on the same lease.
    public static func == (a: Grant, b: Grant) -> Bool { a.number == b.number && a.lease === b.lease }

    /// By the number.
    public func hash(into hasher: inout Hasher) { hasher.combine(number) }
}

/// What the coordinator says a replica of this node is to be.
public enum Mastership: Sendable, Equatable {
    /// Nothing: the partition's replicas are on other nodes.
    case absent
    /// A standby: another node's replica is master, or none is.
    case standby
    /// Master, under this grant.
    case master(Grant)
    /// Master under this grant, but to hand over as soon as what is in flight is answered (PROTOCOL §8).
    case retiring(Grant)
}

/// How far a replica is, for the coordinator to choose a master by.
public enum Readiness: Sendable, Hashable {
    /// It reads the log.
    case behind
    /// It has come to the log's end, and follows it.
    case level
    /// It is level, and serves as master.
    case serving
    /// It cannot go on by itself.
    case failed
}

/// Decides which replica of a partition is master. Every method can be called on any thread and blocks none.
///
/// The state is the coordinator's own; a replica that joins is told of each change, the newest last.
public protocol Coordinator: Sendable {
    /// Enters this node's replica of `partition` and reports what it is to be, now and at every change.
    ///
    /// - Parameter notify: called on any thread, one call after the other for a partition.
    func join(_ partition: PartitionID, notify: @escaping @Sendable (Mastership) -> Void) async throws(CoordinatorError)

    /// Says how far the replica is.
    func report(_ partition: PartitionID, _ readiness: Readiness)

    /// Asks for a grant above `grant`, after a master had to step down (PROTOCOL C2, W1).
    func renew(_ partition: PartitionID, above grant: UInt64) async throws(CoordinatorError)

    /// Returns when the lease of every former master has ended (Q2) and the mastership under `grant` is marked as one
    /// that may have served; the replica serves then, and not before.
    ///
    /// - Throws: `CoordinatorError` if the grant no longer holds; the newer word comes by `notify`.
    func confirm(_ partition: PartitionID, _ grant: UInt64) async throws(CoordinatorError)

    /// Gives the mastership under `grant` up: the replica has answered everything, and its log is settled (§8).
    func release(_ partition: PartitionID, _ grant: UInt64)

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
