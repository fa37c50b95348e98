/// Where another node of the system is reached.
public struct PeerAddress: Hashable, Sendable, CustomStringConvertible {
    /// Who is meant: whoever else answers there is refused.
    public var node: NodeID
    /// A name or an address.
    public var host: String
    /// The port of its peer listener.
    public var port: Int

    /// An address of those parts.
    public init(node: NodeID, host: String, port: Int) {
        self.node = node
        self.host = host
        self.port = port
    }

    /// `node at host:port`.
    public var description: String { "\(node) at \(host):\(port)" }
}

/// Requests from node to node, and their answers. Every method can be called on any thread.
public protocol PeerLink: Sendable {
    /// Sends a request and returns what the peer's handler for `type` answers.
    ///
    /// When the task is cancelled, or the request is withdrawn, the peer is told, and the call throws `lost` at once.
    ///
    /// - Parameter withdrawal: takes the request back from elsewhere.
    /// - Throws: `PeerError`, which says whether the peer may have acted.
    func ask(
        _ peer: PeerAddress, _ type: String, _ body: [UInt8], deadline: MonotonicTime, withdrawal: Withdrawal?
    ) async throws(PeerError) -> [UInt8]

    /// Names what answers requests of a type. To be called before the first can come, once for each type.
    ///
    /// - Parameter body: called for each request, in a task of its own that is cancelled when the caller is gone or no
    ///   longer waits; what it throws reaches the caller as it is.
    func answer(
        _ type: String,
        _ body: @escaping @Sendable (_ request: [UInt8], _ deadline: MonotonicTime) async throws(PeerError) -> [UInt8])
}

extension PeerLink {
    /// Sends a request that nobody but its task takes back.
    ///
    /// - Throws: `PeerError`, which says whether the peer may have acted.
    public func ask(
        _ peer: PeerAddress, _ type: String, _ body: [UInt8], deadline: MonotonicTime
    ) async throws(PeerError) -> [UInt8] {
        try await ask(peer, type, body, deadline: deadline, withdrawal: nil)
    }
}

/// Why a request got no answer.
public struct PeerError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public struct Code: Hashable, Sendable {
        private enum Kind { case unreachable, overloaded, refused, deadline, lost }
        private let kind: Kind

        /// The peer could not be reached: nothing was sent.
        public static let unreachable = Code(kind: .unreachable)
        /// Too much is on its way to the peer, or at the peer: it did not act.
        public static let overloaded = Code(kind: .overloaded)
        /// The peer did not act: another system, secret or protocol, an unknown type, a frame beyond the limit.
        public static let refused = Code(kind: .refused)
        /// The deadline passed.
        public static let deadline = Code(kind: .deadline)
        /// The connection ended before the answer came.
        public static let lost = Code(kind: .lost)
    }

    /// What kind of failure it is.
    public let code: Code
    /// Whether it is certain that the peer's handler did not, and will not, run.
    public let isNotSent: Bool
    /// What happened, with the peer.
    public let reason: String

    /// A failure of that kind.
    public init(_ code: Code, isNotSent: Bool, _ reason: String) {
        self.code = code
        self.isNotSent = isNotSent
        self.reason = reason
    }

    /// The reason.
    public var description: String { reason }
}
