/// A message on its way to the node of its master.
struct ForwardedRequest: Codable, Sendable {
    var keyspace: String
    var partition: Int
    /// Whether the caller does not wait until the command is durable.
    var isTold: Bool
    /// The name of the message's type, and its own serialization.
    var name: String
    var message: [UInt8]
    var traceparent: String?
    var principal: String?
    var origin: String?
    /// The client's name for the request, and its digest.
    var idempotency: String?
    var digest: [UInt8]?
    /// The offsets that the partition must have come to.
    var position: [Int64]?

    init(_ partition: PartitionID, _ name: String, _ message: [UInt8], _ envelope: Envelope, isTold: Bool = false) {
        keyspace = partition.keyspace
        self.partition = partition.number
        self.isTold = isTold
        self.name = name
        self.message = message
        traceparent = envelope.traceparent
        principal = envelope.principal
        origin = envelope.origin
        idempotency = envelope.idempotency?.name
        digest = envelope.idempotency?.digest
        position = envelope.positions[partition.number]?.offsets.map(\.rawValue)
    }

    /// The envelope as the caller's node had it.
    func envelope(deadline: MonotonicTime) -> Envelope {
        var envelope = Envelope(
            deadline: deadline, traceparent: traceparent, principal: principal, origin: origin,
            idempotency: idempotency.map { IdempotencyKey($0, digest: digest ?? []) })
        if let position { envelope.positions[partition] = Position(position.map(Offset.init)) }
        return envelope
    }
}

/// What came of a forwarded message.
@usableFromInline struct ForwardedAnswer: Codable, Sendable {
    struct Failure: Codable, Sendable {
        var outcome: String
        var code: String
        var reason: String
        var rejection: Rejected?
    }

    var reply: [UInt8]?
    var version: UInt64 = 0
    var position: [Int64]?
    var isReplay = false
    var failure: Failure?

    init() {}

    init(_ error: AskError) {
        failure = Failure(
            outcome: error.outcome.rawValue, code: error.code.name, reason: error.reason, rejection: error.rejection)
        position = error.reached.map { $0.position.offsets.map(\.rawValue) }
        isReplay = error.isReplay
    }

    func reached(_ partition: PartitionID) -> AskError.Reached {
        AskError.Reached(partition, Position((position ?? []).map(Offset.init)))
    }

    /// The error that the master's node gave, if it gave one.
    func error(_ partition: PartitionID) -> AskError? {
        guard let failure else { return nil }
        let reached = position == nil ? nil : reached(partition)
        if let rejection = failure.rejection {
            return AskError(rejected: rejection, reached: reached, isReplay: isReplay)
        }
        // What is not understood may have been applied.
        return AskError(
            AskError.Outcome(rawValue: failure.outcome) ?? .unknown, AskError.Code(name: failure.code) ?? .failed,
            failure.reason, reached: reached, isReplay: isReplay)
    }
}

/// Who runs a message of a type that only the handlers' table knows.
@usableFromInline protocol ForwardTarget: Sendable {
    func commit<C: Command>(_ command: C, _ envelope: Envelope) async throws(AskError) -> Commit<C.Reply>
    func tell<C: Command>(_ command: C, _ envelope: Envelope) async throws(AskError)
    func read<Q: Query>(_ query: Q, _ envelope: Envelope) async throws(AskError) -> Answer<Q.Reply>
}

/// Runs a message in its serialization.
@usableFromInline typealias Forward =
    @Sendable (any ForwardTarget, ForwardedMessage, Envelope) async throws(AskError) -> ForwardedAnswer

@usableFromInline struct ForwardedMessage: Sendable {
    var bytes: [UInt8]
    var isTold: Bool
}

/// How messages of a type become bytes and are run from them. The name is what goes over the wire, not the type.
@usableFromInline enum Forwarding {
    @usableFromInline static func run<C: Command>(
        _ type: C.Type, _ target: any ForwardTarget, _ message: ForwardedMessage, _ envelope: Envelope
    ) async throws(AskError) -> ForwardedAnswer {
        let command = try decode(type, message.bytes)
        var answer = ForwardedAnswer()
        if message.isTold {
            try await target.tell(command, envelope)
            return answer
        }
        let commit = try await target.commit(command, envelope)
        answer.reply = try encode(commit.reply, outcome: .unknown)
        answer.version = commit.version.rawValue
        answer.position = commit.reached.position.offsets.map(\.rawValue)
        answer.isReplay = commit.isReplay
        return answer
    }

    @usableFromInline static func run<Q: Query>(
        _ type: Q.Type, _ target: any ForwardTarget, _ message: ForwardedMessage, _ envelope: Envelope
    ) async throws(AskError) -> ForwardedAnswer {
        let read = try await target.read(try decode(type, message.bytes), envelope)
        var answer = ForwardedAnswer()
        answer.reply = try encode(read.reply, outcome: .notApplied)
        answer.position = read.reached.position.offsets.map(\.rawValue)
        return answer
    }

    static func decode<M: Decodable>(
        _ type: M.Type, _ bytes: [UInt8], outcome: AskError.Outcome = .notApplied
    ) throws(AskError) -> M {
        do throws(CBORError) { return try CBOR.decode(type, from: bytes) } catch {
            throw AskError(outcome, .failed, "\(type) from another node cannot be read: \(error)")
        }
    }

    static func encode<M: Encodable>(_ message: M, outcome: AskError.Outcome) throws(AskError) -> [UInt8] {
        do throws(CBORError) { return try CBOR.encode(message) } catch {
            throw AskError(outcome, .failed, "\(M.self) cannot be sent to another node: \(error)")
        }
    }
}

// MARK: - On the node of the master

/// A replica of this node, for messages that were sent to it as to the master.
struct LocalTarget<P: Partition>: ForwardTarget {
    let replica: PartitionReplica<P>
    let held: HeldRequests
    let clock: any NodeClock

    func commit<C: Command>(_ command: C, _ envelope: Envelope) async throws(AskError) -> Commit<C.Reply> {
        try await waitUntilServing(envelope.deadline)
        return try await replica.commit(command, envelope)
    }

    func tell<C: Command>(_ command: C, _ envelope: Envelope) async throws(AskError) {
        try await waitUntilServing(envelope.deadline)
        try await replica.tell(command, envelope)
    }

    func read<Q: Query>(_ query: Q, _ envelope: Envelope) async throws(AskError) -> Answer<Q.Reply> {
        try await waitUntilServing(envelope.deadline)
        return try await replica.read(query, envelope)
    }

    /// Whoever is about to serve is waited for here; whoever is not says so, and the caller looks elsewhere.
    private func waitUntilServing(_ deadline: MonotonicTime) async throws(AskError) {
        while !replica.serves.isSet {
            let changes = held.changes(replica.id.number)
            guard await replica.isBecomingMaster else {
                if replica.serves.isSet { return }
                throw AskError(.notApplied, .moved, "another node is master of \(replica.id)")
            }
            // Not only for the change: one that gives up says nothing.
            let latest = min(deadline, clock.monotonic.advanced(by: .milliseconds(100)))
            let end = await held.wait(replica.id.number, since: changes, bytes: 0, until: latest)
            guard end != .full, clock.monotonic < deadline else {
                throw AskError(.notApplied, .notReady, "\(replica.id) is not ready yet")
            }
        }
    }
}

extension ServiceRegistry {
    /// Runs a message that another node has sent to a master of this one.
    ///
    /// - Throws: `PeerError.refused` if it cannot be read, or is for a keyspace that is not here.
    package func answer(_ bytes: [UInt8], _ deadline: MonotonicTime) async throws(PeerError) -> [UInt8] {
        let request: ForwardedRequest
        do throws(CBORError) { request = try CBOR.decode(ForwardedRequest.self, from: bytes) } catch {
            throw PeerError(.refused, isNotSent: true, "the request cannot be read: \(error)")
        }
        guard let service = self[request.keyspace] as? any ForwardingService else {
            throw PeerError(.refused, isNotSent: true, "there is no keyspace \(request.keyspace) here")
        }
        let answer = await service.run(request, deadline)
        do throws(CBORError) { return try CBOR.encode(answer) } catch {
            throw PeerError(.refused, isNotSent: false, "the answer cannot be sent: \(error)")
        }
    }

    /// Answers what other nodes send by a link.
    package func serve(_ link: any PeerLink) {
        link.answer(Router.requestType) { [weak self] bytes, deadline throws(PeerError) in
            guard let self else { throw PeerError(.refused, isNotSent: true, "the node has stopped") }
            return try await self.answer(bytes, deadline)
        }
    }
}

/// A service with its type out of sight.
protocol ForwardingService: Sendable {
    /// Runs a message that another node has sent.
    func run(_ request: ForwardedRequest, _ deadline: MonotonicTime) async -> ForwardedAnswer
}
