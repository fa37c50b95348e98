/// What travels with a message: everything that is not the message itself.
public struct Envelope: Sendable {
    /// When the caller stops waiting. `never` means the service's own deadline.
    public var deadline: MonotonicTime
    /// The W3C trace context (`traceparent`) of the request; goes into the records' headers.
    public var traceparent: String?
    /// Who asks, as the gateway has found out.
    public var principal: String?
    /// Where the message comes from: the name of another system, for messages that were taken from elsewhere.
    public var origin: String?
    /// Makes repeats of the command harmless.
    public var idempotency: IdempotencyKey?
    /// For queries: answer only from a state that has come at least so far. By the numbers of the partitions; a
    /// partition that is not named here waits for nothing.
    public var positions: [Int: Position]
    /// For queries: how old the answer of a standby may be; `nil` if only the master will do.
    public var staleness: Duration?

    /// An envelope of those parts.
    public init(
        deadline: MonotonicTime = .never, traceparent: String? = nil, principal: String? = nil,
        origin: String? = nil, idempotency: IdempotencyKey? = nil, positions: [Int: Position] = [:],
        staleness: Duration? = nil
    ) {
        self.staleness = staleness
        self.deadline = deadline
        self.traceparent = traceparent
        self.principal = principal
        self.origin = origin
        self.idempotency = idempotency
        self.positions = positions
    }
}

/// The name that a client gave to one request, so that a repeat of it is recognised (PROTOCOL §9).
public struct IdempotencyKey: Hashable, Sendable {
    /// The client's name for the request; unique for the command's routing key.
    public let name: String
    /// What the request was, so that another one under the same name is recognised: a digest of all that matters.
    public let digest: [UInt8]

    /// The name of a request with that digest.
    public init(_ name: String, digest: [UInt8]) {
        self.name = name
        self.digest = digest
    }
}
