/// The small tree of versioned nodes that all processes of a system share: as much of ZooKeeper's data model as a
/// cluster needs, and its promises.
///
/// Writes are linearizable. A read may be of an older state (a follower's), but never of one before what this session
/// has read or written. Called by `ClusterCoordinator`.
public protocol CoordinationTree: Sendable {
    /// Opens a session; waits, and says so in the log lines, for as long as no server can be reached.
    ///
    /// - Throws: `.refused` if the servers do not let this process in, `.ended` if the task is cancelled.
    func open() async throws(TreeError) -> any TreeSession
}

/// One session of this process. Once it has ended it never comes back: what it owned is, or will be, deleted.
///
/// Every method can be called on any thread. Requests of a session are carried out in the order of their calls, so a
/// thousand of them can be on their way at once.
public protocol TreeSession: Sendable {
    /// What stands as `owner` in the ephemeral nodes of this session.
    var id: Int64 { get }
    /// How long the servers wait for word of this session before they end it: what was negotiated.
    var timeout: Duration { get }

    /// Returns when the session has ended: expired, or closed.
    func ended() async

    /// Reads a node; `nil` if there is none.
    ///
    /// - Parameter onChange: called once on any thread, some time after the node was changed, deleted, or made where
    ///   there was none; and when the session ends. May be called without need.
    func read(
        _ path: String, onChange: (@Sendable () -> Void)?
    ) async throws(TreeError) -> TreeNode?

    /// The names of a node's children, in any order; `nil` if there is no such node.
    ///
    /// - Parameter onChange: as for `read`, for children that are made or deleted; not if there is no such node.
    func children(
        of path: String, onChange: (@Sendable () -> Void)?
    ) async throws(TreeError) -> [String]?

    /// Does all of the changes, or none.
    ///
    /// - Throws: `.conflict` if one does not fit the state, `.unknown` if the answer did not come, `.ended`.
    func commit(_ changes: [TreeChange]) async throws(TreeError)

    /// Ends the session; its ephemeral nodes are gone when this returns, or will be when the servers have missed it.
    func close() async
}

/// A node of the tree, as it was read.
public struct TreeNode: Sendable, Equatable {
    /// What it says.
    public var data: [UInt8]
    /// How often the data was set.
    public var version: Int32
    /// The session that the node ends with; `nil` for one that stays.
    public var owner: Int64?

    /// A node of those parts.
    public init(data: [UInt8], version: Int32, owner: Int64?) {
        self.data = data
        self.version = version
        self.owner = owner
    }
}

/// A change of one node.
public enum TreeChange: Sendable, Equatable {
    /// Makes a node; does not fit where there is one, or no parent.
    case create(String, [UInt8], isEphemeral: Bool)
    /// Sets a node's data; does not fit where there is none, or one of another version than the one given.
    case set(String, [UInt8], version: Int32?)
    /// Deletes a node without children; fits as `set` does.
    case delete(String, version: Int32?)
    /// Changes nothing, and fits as `set` does.
    case check(String, version: Int32)
}

/// Why the tree could not be read or changed.
public struct TreeError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public struct Code: Hashable, Sendable {
        private enum Kind { case conflict, unknown, ended, refused }
        private let kind: Kind

        /// The changes do not fit the state. Nothing was changed.
        public static let conflict = Code(kind: .conflict)
        /// The answer did not come: the changes may have been made.
        public static let unknown = Code(kind: .unknown)
        /// The session has ended; what was asked last may have been done before.
        public static let ended = Code(kind: .ended)
        /// The servers refuse it: no permission, too large, a name that cannot be.
        public static let refused = Code(kind: .refused)
    }

    /// What kind of failure it is.
    public let code: Code
    /// What happened, with the path.
    public let reason: String

    /// A failure of that kind.
    public init(_ code: Code, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    /// The reason.
    public var description: String { reason }
}
