/// A message on its way to the node of its master.
///
/// Its fields have fixed places, in this order, because every forwarded request is written and read; a link speaks one
/// version of them. The message itself is in its own serialization.
struct ForwardedRequest: Sendable {
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
    var idempotency: IdempotencyKey?
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
        idempotency = envelope.idempotency
        position = envelope.positions[partition.number]?.offsets.map(\.rawValue)
    }

    /// The envelope as the caller's node had it.
    func envelope(deadline: MonotonicTime) -> Envelope {
        var envelope = Envelope(
            deadline: deadline, traceparent: traceparent, principal: principal, origin: origin, idempotency: idempotency
        )
        if let position { envelope.positions[partition] = Position(position.map(Offset.init)) }
        return envelope
    }

    /// Which of the fields are there that may be missing.
    private struct Parts: OptionSet {
        let rawValue: UInt8

        static let isTold = Parts(rawValue: 1)
        static let traceparent = Parts(rawValue: 2)
        static let principal = Parts(rawValue: 4)
        static let origin = Parts(rawValue: 8)
        static let idempotency = Parts(rawValue: 16)
        static let position = Parts(rawValue: 32)
    }

    var bytes: [UInt8] {
        var parts: Parts = isTold ? .isTold : []
        if traceparent != nil { parts.insert(.traceparent) }
        if principal != nil { parts.insert(.principal) }
        if origin != nil { parts.insert(.origin) }
        if idempotency != nil { parts.insert(.idempotency) }
        if position != nil { parts.insert(.position) }
        var fields = FieldWriter(capacity: message.count + keyspace.utf8.count + name.utf8.count + 128)
        fields.write(parts.rawValue)
        fields.write(UInt32(clamping: partition))
        fields.write(keyspace)
        fields.write(name)
        if let traceparent { fields.write(traceparent) }
        if let principal { fields.write(principal) }
        if let origin { fields.write(origin) }
        if let idempotency {
            fields.write(idempotency.name)
            fields.write(idempotency.digest)
        }
        if let position { fields.write(position) }
        fields.writeRest(message)
        return fields.bytes
    }

    init(bytes: [UInt8]) throws(CBORError) {
        var fields = FieldReader(bytes)
        let parts = Parts(rawValue: try fields.number())
        isTold = parts.contains(.isTold)
        partition = Int(try fields.number(UInt32.self))
        keyspace = try fields.text()
        name = try fields.text()
        if parts.contains(.traceparent) { traceparent = try fields.text() }
        if parts.contains(.principal) { principal = try fields.text() }
        if parts.contains(.origin) { origin = try fields.text() }
        if parts.contains(.idempotency) { idempotency = IdempotencyKey(try fields.text(), digest: try fields.field()) }
        if parts.contains(.position) { position = try fields.position() }
        message = fields.rest()
    }
}

/// What came of a forwarded message.
@usableFromInline struct ForwardedAnswer: Sendable {
    struct Failure: Sendable {
        var outcome: String
        var code: String
        var reason: String
        var rejection: Rejected?
    }

    var reply: [UInt8] = []
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

    private struct Parts: OptionSet {
        let rawValue: UInt8

        static let isReplay = Parts(rawValue: 1)
        static let position = Parts(rawValue: 2)
        static let failure = Parts(rawValue: 4)
        static let rejection = Parts(rawValue: 8)
    }

    func bytes() throws(CBORError) -> [UInt8] {
        var parts: Parts = isReplay ? .isReplay : []
        if position != nil { parts.insert(.position) }
        if failure != nil { parts.insert(.failure) }
        if failure?.rejection != nil { parts.insert(.rejection) }
        var fields = FieldWriter(capacity: reply.count + 64)
        fields.write(parts.rawValue)
        fields.write(version)
        if let position { fields.write(position) }
        guard let failure else {
            fields.writeRest(reply)
            return fields.bytes
        }
        fields.write(failure.outcome)
        fields.write(failure.code)
        fields.write(failure.reason)
        if let rejection = failure.rejection { fields.writeRest(try CBOR.encode(rejection)) }
        return fields.bytes
    }

    init(bytes: [UInt8]) throws(CBORError) {
        var fields = FieldReader(bytes)
        let parts = Parts(rawValue: try fields.number())
        isReplay = parts.contains(.isReplay)
        version = try fields.number()
        if parts.contains(.position) { position = try fields.position() }
        guard parts.contains(.failure) else {
            reply = fields.rest()
            return
        }
        var failure = Failure(outcome: try fields.text(), code: try fields.text(), reason: try fields.text())
        if parts.contains(.rejection) { failure.rejection = try CBOR.decode(Rejected.self, from: fields.rest()) }
        self.failure = failure
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
        do throws(CBORError) { request = try ForwardedRequest(bytes: bytes) } catch {
            throw PeerError(.refused, isNotSent: true, "the request cannot be read: \(error)")
        }
        guard let service = self[request.keyspace] as? any ForwardingService else {
            throw PeerError(.refused, isNotSent: true, "there is no keyspace \(request.keyspace) here")
        }
        let answer = await service.run(request, deadline)
        do throws(CBORError) { return try answer.bytes() } catch {
            throw PeerError(.refused, isNotSent: false, "the answer cannot be sent: \(error)")
        }
    }

    /// Answers what other nodes send by a link.
    package func serve(_ link: any PeerLink) {
        link.answer(Router.requestType) { [weak self] bytes, deadline throws(PeerError) in
            guard let self else { throw PeerError(.refused, isNotSent: true, "the node has stopped") }
            return try await self.answer(bytes, deadline)
        }
        link.answer(WatchPoll.requestType) { [weak self] bytes, _ throws(PeerError) in
            guard let self else { throw PeerError(.refused, isNotSent: true, "the node has stopped") }
            let poll: WatchPoll
            do throws(CBORError) { poll = try WatchPoll(bytes: bytes) } catch {
                throw PeerError(.refused, isNotSent: true, "the request cannot be read: \(error)")
            }
            guard let service = self[poll.keyspace] as? any ForwardingService else {
                throw PeerError(.refused, isNotSent: true, "there is no keyspace \(poll.keyspace) here")
            }
            return try await service.poll(poll)
        }
    }
}

/// A service with its type out of sight.
protocol ForwardingService: Sendable {
    /// Runs a message that another node has sent.
    func run(_ request: ForwardedRequest, _ deadline: MonotonicTime) async -> ForwardedAnswer

    /// Gives another node's watches what they have missed, once there is something.
    func poll(_ request: WatchPoll) async throws(PeerError) -> [UInt8]
}
