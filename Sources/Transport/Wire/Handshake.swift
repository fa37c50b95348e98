internal import AffinityCore
internal import AffinityNet

/// How a connection begins, as values: frames come in, frames to be sent go out. See `FrameKind` for their layout.

/// What a hello says.
struct Hello {
    var version = protocolVersion
    let isSecured: Bool
    let system: String
    let asking: NodeID
    let meant: NodeID
    /// The payload that says it.
    let payload: [UInt8]
    private static let magic = Array("AFLK".utf8)
    static let nonceCount = 32

    init(_ identity: PeerIdentity, to peer: NodeID, nonce: [UInt8]) {
        isSecured = identity.secret != nil
        system = identity.system
        asking = identity.node
        meant = peer
        var payload = Self.magic + [UInt8(protocolVersion >> 8), UInt8(protocolVersion & 0xFF), isSecured ? 1 : 0]
        payload += nonce
        for name in [system, asking.description, meant.description] { payload.appendName(name.utf8) }
        self.payload = payload
    }

    init(_ bytes: UnsafeRawBufferPointer) throws(MalformedFrame) {
        payload = Array(bytes)
        var fields = FieldReader(bytes)
        guard try fields.bytes(4).elementsEqual(Self.magic) else {
            throw MalformedFrame("this is no peer's connection")
        }
        version = try fields.number(UInt16.self)
        // Another version's hello may go on in another way.
        guard version == protocolVersion else {
            (isSecured, system, asking, meant) = (false, "", NodeID(""), NodeID(""))
            return
        }
        isSecured = try fields.number(UInt8.self) & 1 == 1
        _ = try fields.bytes(Self.nonceCount)
        system = try fields.text()
        asking = NodeID(try fields.text())
        meant = NodeID(try fields.text())
    }

    /// What shows that a side has the secret.
    func proof(_ side: Side, _ secret: [UInt8], challenge: [UInt8]) -> [UInt8] {
        Digest.hmacSHA256(key: secret, Array(side.rawValue.utf8) + payload + challenge)
    }

    /// Whose proof it is.
    enum Side: String {
        case asker = "affinity peer asker "
        case answerer = "affinity peer answerer "
    }
}

/// Who a node is to its peers.
struct PeerIdentity: Sendable {
    let system: String
    let node: NodeID
    let secret: [UInt8]?
}

/// Why a connection is not to be: what the other side is told, in words.
struct Refusal: Error {
    let reason: String
    init(_ reason: String) { self.reason = reason }
}

/// What follows from a frame of the handshake.
enum GreetingStep {
    /// Send this and wait.
    case send(FrameKind, [UInt8])
    /// The other side is who it should be; send this, if there is something.
    case done(FrameKind?, [UInt8])
}

/// The side that opened the connection.
struct AskerGreeting {
    let hello: Hello
    private let secret: [UInt8]?
    private var challenge: [UInt8]?

    init(_ identity: PeerIdentity, to peer: NodeID) {
        secret = identity.secret
        hello = Hello(identity, to: peer, nonce: Digest.random(Hello.nonceCount))
    }

    mutating func take(_ frame: Frame) throws -> GreetingStep {
        switch frame.kind {
        case .challenge: return try answer(frame.payload)
        case .welcome: return try check(frame.payload)
        case .refusal, .goodbye: throw Refusal("it says: \(String(decoding: frame.payload, as: UTF8.self))")
        default: throw MalformedFrame("a handshake has no frame of kind \(frame.kind)")
        }
    }

    private mutating func answer(_ payload: UnsafeRawBufferPointer) throws -> GreetingStep {
        guard let secret, challenge == nil else { throw MalformedFrame("a challenge comes where none belongs") }
        guard payload.count == Hello.nonceCount else { throw MalformedFrame("a challenge has another length") }
        challenge = Array(payload)
        return .send(.proof, hello.proof(.asker, secret, challenge: Array(payload)))
    }

    private func check(_ payload: UnsafeRawBufferPointer) throws -> GreetingStep {
        guard let secret else { return .done(nil, []) }
        guard let challenge, Digest.isEqual(Array(payload), hello.proof(.answerer, secret, challenge: challenge)) else {
            throw Refusal("it does not have this node's secret")
        }
        return .done(nil, [])
    }
}

/// The side that accepted the connection.
struct AnswererGreeting {
    private let identity: PeerIdentity
    private var hello: Hello?
    private var challenge: [UInt8] = []
    /// Who asks, as it says.
    var asking: NodeID { hello?.asking ?? NodeID("?") }

    init(_ identity: PeerIdentity) { self.identity = identity }

    mutating func take(_ frame: Frame) throws -> GreetingStep {
        switch (frame.kind, hello) {
        case (.hello, nil): return try begin(Hello(frame.payload))
        case (.proof, let hello?): return try check(frame.payload, hello)
        default: throw MalformedFrame("a handshake has no frame of kind \(frame.kind) there")
        }
    }

    private mutating func begin(_ hello: Hello) throws -> GreetingStep {
        guard hello.version == protocolVersion else {
            throw Refusal("this node speaks version \(protocolVersion) of the protocol, not \(hello.version)")
        }
        self.hello = hello
        guard hello.isSecured == (identity.secret != nil) else {
            throw Refusal(hello.isSecured ? "this node has no secret" : "this node asks for a secret")
        }
        guard identity.secret != nil else {
            try checkNames(hello)
            return .done(.welcome, [])
        }
        challenge = Digest.random(Hello.nonceCount)
        return .send(.challenge, challenge)
    }

    private func check(_ payload: UnsafeRawBufferPointer, _ hello: Hello) throws -> GreetingStep {
        guard let secret = identity.secret else { throw MalformedFrame("a proof comes where none belongs") }
        guard Digest.isEqual(Array(payload), hello.proof(.asker, secret, challenge: challenge)) else {
            throw Refusal("this node has another secret")
        }
        // Only now: whoever does not have the secret is not told who is here.
        try checkNames(hello)
        return .done(.welcome, hello.proof(.answerer, secret, challenge: challenge))
    }

    private func checkNames(_ hello: Hello) throws(Refusal) {
        guard hello.system == identity.system else {
            throw Refusal("this node belongs to the system \(identity.system), not to \(hello.system)")
        }
        guard hello.meant == identity.node else {
            throw Refusal("this is the node \(identity.node), not \(hello.meant)")
        }
    }
}
