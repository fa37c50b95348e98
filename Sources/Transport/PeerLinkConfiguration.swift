public import AffinityCore
public import AffinityNet

/// Who a node is to its peers, and the limits of a ``TCPPeerLink``. Every limit is enforced before more is read or kept.
public struct PeerLinkConfiguration: Sendable {
    /// The system: nodes of another are refused. At most 255 bytes.
    public var system: String
    /// This node, as its peers' addresses name it. At most 255 bytes.
    public var node: NodeID
    /// What all nodes of the system share, 16 to 1,024 bytes: each side of a connection proves to the other that it has
    /// it. Without one, whoever reaches the port is a peer. It does not hide what is sent.
    public var secret: [UInt8]?
    /// Bytes of a frame: a request with the name of its type, or an answer. Default 1 MiB and 128 KiB.
    public var frameLimit = (1024 + 128) * 1024
    /// Bytes that wait to be sent over one connection. Beyond them a request fails with `overloaded`, and an answer is
    /// replaced by the error `lost`; from half of them on, no more requests are read. Default 8 MiB.
    public var unsentLimit = 8 * 1024 * 1024
    /// Requests that wait for their answers over one connection. Beyond them a request fails with `overloaded`. Default
    /// 4,096.
    public var requestLimit = 4096
    /// Handlers that run at once on one event loop, for all its connections. Beyond them a request is answered with
    /// `overloaded`. Default 16,384.
    public var handlerLimit = 16_384
    /// Bytes of the requests of those handlers. Beyond them a request is answered with `overloaded`. Default 64 MiB.
    public var handledBytesLimit = 64 * 1024 * 1024
    /// Connections accepted from peers; each loop of each peer opens one. More are closed as they come. Default 4,096.
    public var connectionLimit = 4096
    /// Peers that one event loop has asked. Beyond them a request to another one fails with `overloaded`. Default 1,024.
    public var peerLimit = 1024
    /// From resolving a peer's name to the end of the handshake. Default 5 s.
    public var connectTime: Duration = .seconds(5)
    /// After that much silence the other side is asked for a sign of life. Default 5 s.
    public var keepAliveInterval: Duration = .seconds(5)
    /// How long it may take for that sign, or for the system to send anything of what waits; then the connection ends,
    /// and what waits for an answer fails with `lost`. Default 5 s.
    public var keepAlivePatience: Duration = .seconds(5)
    /// How long a peer that could not be reached is left alone, the first time; twice as long each further time. Requests
    /// to it fail at once meanwhile. Default 50 ms.
    public var retryTime: Duration = .milliseconds(50)
    /// The longest that a peer is left alone. Default 2 s.
    public var retryTimeLimit: Duration = .seconds(2)
    /// How long, at the end of a connection, the other side may take to end it too, or to take anything of what is still
    /// to be sent. Default 1 s.
    public var lingerTime: Duration = .seconds(1)

    /// The defaults, for a node of a system.
    public init(system: String, node: NodeID, secret: [UInt8]? = nil) {
        self.system = system
        self.node = node
        self.secret = secret
    }

    /// Checks that every value can be used.
    ///
    /// - Throws: `NetError` with the code `badConfiguration`, naming the first that cannot.
    public func validate() throws(NetError) {
        try validateIdentity()
        let sizes = [
            ("frameLimit", frameLimit, 4096), ("unsentLimit", unsentLimit, frameLimit),
            ("requestLimit", requestLimit, 1), ("handlerLimit", handlerLimit, 1),
            ("handledBytesLimit", handledBytesLimit, frameLimit), ("connectionLimit", connectionLimit, 1),
            ("peerLimit", peerLimit, 1),
        ]
        for (name, value, least) in sizes where value < least || value > 1 << 30 {
            throw NetError(.badConfiguration, "\(name) is \(value); it must be from \(least) to 2^30")
        }
        let times = [
            ("connectTime", connectTime), ("keepAliveInterval", keepAliveInterval),
            ("keepAlivePatience", keepAlivePatience), ("retryTime", retryTime), ("retryTimeLimit", retryTimeLimit),
            ("lingerTime", lingerTime),
        ]
        for (name, value) in times where value < .milliseconds(1) || value > .seconds(86_400) {
            throw NetError(.badConfiguration, "\(name) is \(value); it must be from 1 ms to a day")
        }
    }

    private func validateIdentity() throws(NetError) {
        for (name, value) in [("system", system), ("node", node.description)]
        where value.isEmpty || value.utf8.count > 255 {
            throw NetError(.badConfiguration, "\(name) is \"\(value)\"; it must have from 1 to 255 bytes")
        }
        if let secret, secret.count < 16 || secret.count > 1024 {
            throw NetError(.badConfiguration, "secret has \(secret.count) bytes; it must have from 16 to 1,024")
        }
    }

    var identity: PeerIdentity { PeerIdentity(system: system, node: node, secret: secret) }
}

extension PeerLinkConfiguration: CustomStringConvertible, CustomReflectable {
    /// The system and the node; never the secret.
    public var description: String { "\(node) of \(system)" }
    /// A mirror without the secret, so that `dump` does not show it either.
    public var customMirror: Mirror { Mirror(self, children: ["system": system, "node": node.description]) }
}
