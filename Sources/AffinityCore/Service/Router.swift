internal import Synchronization

/// Finds the master of a partition on whatever node it is, and asks again where that is safe.
///
/// *Not applied* is asked again within the deadline, *unknown* only under an idempotency key. While a partition has no
/// master its requests are held, and what can be asked again does not wait for a master that has a follower. Called by
/// `Service`; calls `PeerLink`. Can be used on any thread.
@usableFromInline final class Router: Sendable {
    private let keyspace: String
    private let node: NodeID
    private let table: RoutingTable
    private let link: any PeerLink
    private let clock: any NodeClock
    let held: HeldRequests
    let sent: SentRequests
    private let asked = Atomic<UInt64>(0)
    private let failed = Atomic<UInt64>(0)

    /// The name of the requests between nodes that carry messages.
    static let requestType = "ask"
    /// How long a request waits at most before it looks again, if a node that should be master says that it is not:
    /// one of the two knows more, and the other is about to hear of it.
    private static let disagreement = Duration.milliseconds(50)

    /// - Parameter onMove: hears of partitions that have another master, on any thread.
    init(
        _ keyspace: String, partitions: Int, _ routing: PartitionEnvironment.Routing, node: NodeID,
        clock: any NodeClock, executor: any EventExecutor, onMove: @escaping @Sendable ([Int]) -> Void = { _ in }
    ) {
        self.keyspace = keyspace
        self.node = node
        table = routing.table
        link = routing.link
        self.clock = clock
        let held = HeldRequests(
            partitions: partitions, count: routing.heldRequests, bytes: routing.heldBytes, executor: executor)
        self.held = held
        let sent = SentRequests(partitions: partitions)
        self.sent = sent
        // Weak: the table keeps this.
        table.observe(keyspace) { [weak table] numbers in
            held.wake(numbers)
            onMove(numbers)
            guard let table else { return }
            for number in numbers { sent.move(number, to: table[PartitionID(keyspace: keyspace, number: number)]) }
        }
    }

    /// Where a request goes that is not for a master of this node.
    struct Path: Sendable {
        var partition: PartitionID
        var deadline: MonotonicTime
        /// What the message weighs while it is held.
        var bytes: Int
        /// Whether it may be asked again when it is unknown what became of it: a query, or a command with a key.
        var isIdempotent: Bool
        /// Whether a former try has left it unknown whether the command is applied.
        var isUnknown = false
    }

    /// Whom a request is sent to.
    struct Master: Sendable {
        var address: PeerAddress
        /// The grant that it is master under.
        var grant: UInt64

        /// Whether another node has followed. Under the same grant, or on the same node, an answer may come yet.
        func isOvertaken(by latest: RoutingTable.Route) -> Bool {
            guard let other = latest.master else { return false }
            return latest.grant > grant && other.node != address.node
        }
    }

    /// Tries a master of this node, or the node that has it, until one has answered or the deadline has passed.
    ///
    /// - Parameters:
    ///   - local: asks the replica of this node; `nil` inside if it does not serve.
    ///   - remote: asks another node.
    func route<Reply: Sendable>(
        _ path: Path, local: () async throws(AskError) -> Reply?,
        remote: (Master) async throws(AskError) -> Reply
    ) async throws(AskError) -> Reply {
        let number = path.partition.number
        var isUnknown = path.isUnknown
        while true {
            let changes = held.changes(number)
            var failure = AskError(.notApplied, .notReady, "partition \(path.partition) has no master")
            var latest = path.deadline
            do throws(AskError) {
                if let reply = try await local() { return reply }
                let route = table[path.partition]
                if let address = route.master, address.node != node {
                    return try await remote(Master(address: address, grant: route.grant))
                }
            } catch {
                isUnknown = isUnknown || error.outcome == .unknown
                guard error.isElsewhere || (error.outcome == .unknown && path.isIdempotent) else {
                    throw Self.final(error, isUnknown)
                }
                failure = error
                latest = min(latest, clock.monotonic.advanced(by: Self.disagreement))
            }
            guard clock.monotonic < path.deadline else { throw Self.final(failure, isUnknown) }
            switch await held.wait(number, since: changes, bytes: path.bytes, until: latest) {
            case .changed: break
            case .late: if clock.monotonic >= path.deadline { throw Self.final(failure, isUnknown) }
            case .full:
                throw Self.final(
                    AskError(.notApplied, .notReady, "too many requests wait for a master of \(path.partition)"),
                    isUnknown)
            }
        }
    }

    /// Once one try has had an unknown outcome, no later one makes it certain that the command is not applied.
    private static func final(_ error: AskError, _ isUnknown: Bool) -> AskError {
        guard isUnknown, error.outcome == .notApplied else { return error }
        return AskError(.unknown, error.code, error.reason, reached: error.reached)
    }

    // MARK: - Asking

    /// Asks another node to run a message; if it may be asked again, only until another node is master.
    ///
    /// - Parameter mayWrite: whether the outcome is unknown when no answer comes.
    func ask(
        _ master: Master, _ request: ForwardedRequest, _ path: Path, mayWrite: Bool
    ) async throws(AskError) -> ForwardedAnswer {
        let withdrawal = path.isIdempotent ? Withdrawal() : nil
        var number: UInt64?
        if let withdrawal {
            number = sent.add(withdrawal, path.partition.number, master)
            // What had changed before that took back the requests of others only.
            if master.isOvertaken(by: table[path.partition]) { withdrawal.withdraw() }
        }
        defer { if let number { sent.remove(number, path.partition.number) } }
        let peer = master.address
        asked.wrappingAdd(1, ordering: .relaxed)
        let answered: [UInt8]
        do throws(PeerError) {
            answered = try await link.ask(
                peer, Self.requestType, request.bytes, deadline: path.deadline, withdrawal: withdrawal)
        } catch {
            failed.wrappingAdd(1, ordering: .relaxed)
            throw Self.error(error, mayWrite)
        }
        let answer: ForwardedAnswer
        do throws(CBORError) { answer = try ForwardedAnswer(bytes: answered) } catch {
            throw AskError(mayWrite ? .unknown : .notApplied, .failed, "the answer of \(peer) cannot be read: \(error)")
        }
        if let error = answer.error(PartitionID(keyspace: keyspace, number: request.partition)) { throw error }
        return answer
    }

    var figures: ForwardingFigures {
        ForwardingFigures(
            asked: asked.load(ordering: .relaxed), failed: failed.load(ordering: .relaxed), sent: sent.count,
            held: held.count, heldBytes: held.bytes)
    }

    private static func error(_ error: PeerError, _ mayWrite: Bool) -> AskError {
        let outcome: AskError.Outcome = error.isNotSent || !mayWrite ? .notApplied : .unknown
        switch error.code {
        case .deadline: return AskError(outcome, .deadline, error.reason)
        case .overloaded: return AskError(outcome, .overloaded, error.reason)
        default: return AskError(outcome, .notReady, error.reason)
        }
    }
}
