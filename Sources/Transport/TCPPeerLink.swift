public import AffinityCore
public import AffinityNet
internal import Synchronization

/// Requests from node to node over TCP: one connection for each event loop and peer that its tasks ask, kept open.
///
/// Called by whoever forwards to other nodes, on any thread. Calls the handlers, on the event loops. `FrameKind` has the
/// layout of what goes over a connection.
///
/// What is asked, and what is answered, in one round of a loop goes out with one system call a connection. A request from
/// a task of one of the loops never leaves its thread; one from elsewhere goes over one of the loops in turn. Answers
/// come in any order. A connection is opened by the first request; those that come before it stands wait for it.
///
/// Nothing is encrypted. With a secret in the configuration both sides prove that they have it before anything else; it
/// keeps strangers and mistaken nodes away, not whoever can change what is under way.
public final class TCPPeerLink: PeerLink {
    let context: LinkContext
    let loops: [LoopPeers]
    private let listener: TCPListener
    private let turn = Atomic<Int>(0)

    /// A link that listens nowhere yet.
    ///
    /// - Parameters:
    ///   - group: the loops of its connections; shut it down after the link has been drained or closed.
    ///   - configuration: who this node is, and the limits.
    ///   - clock: what deadlines are measured with.
    ///   - report: called on any thread.
    /// - Throws: `NetError` with the code `badConfiguration` if a value cannot be used.
    public init(
        group: EventLoopGroup, configuration: PeerLinkConfiguration, clock: any NodeClock = SystemClock(),
        report: @escaping Reporter = { _ in }
    ) throws(NetError) {
        try configuration.validate()
        let context = LinkContext(configuration, clock, report)
        let loops = group.loops.map { LoopPeers($0, context) }
        self.context = context
        self.loops = loops
        listener = TCPListener(group: group, streamLimit: configuration.connectionLimit, report: report) { stream in
            loops.first { $0.loop === stream.loop }?.take(stream)
        }
    }

    deinit { close() }

    /// Begins to listen for peers at `host` (an address or a name of this machine) and `port`; can be called for several.
    ///
    /// - Returns: the port, which the system chose if `port` is 0.
    /// - Throws: `NetError`: the address is in use, no address of this machine, not permitted, or the link is closed.
    public nonisolated(nonsending) func listen(host: String, port: Int) async throws -> Int {
        try await listener.bind(host: host, port: port)
    }

    /// Names what answers requests of a type. To be called before the first can come, once for each type.
    ///
    /// - Parameters:
    ///   - type: 1 to 255 bytes.
    ///   - body: called for each request in a task of its own, which begins on the connection's event loop and prefers it;
    ///     the task is cancelled when the caller is gone or waits no longer. What it throws reaches the caller as it is.
    public func answer(
        _ type: String,
        _ body: @escaping @Sendable (_ request: [UInt8], _ deadline: MonotonicTime) async throws(PeerError) -> [UInt8]
    ) { context.handlers.add(type, body) }

    /// Ends everything as it stands: requests that wait fail with `lost`, handlers are cancelled, and what answers requests
    /// is let go. Can be called again.
    public func close() {
        listener.close()
        context.handlers.removeAll()
        for loop in loops { loop.loop.post { loop.close() } }
    }

    func stopListening() { listener.close() }

    /// What its connections have done so far.
    package func statistics() async -> PeerLinkStatistics {
        var sum = PeerLinkStatistics()
        for loop in loops { sum.add(await loop.onLoop { $0.statistics }) }
        return sum
    }
}

// MARK: - Asking

extension TCPPeerLink {
    /// Sends a request and returns what the peer's handler for `type` answers.
    ///
    /// When the task is cancelled, or the request is withdrawn, the peer is told, and the call throws `lost` at once.
    ///
    /// - Throws: `PeerError`, which says whether the peer may have acted.
    public func ask(
        _ peer: PeerAddress, _ type: String, _ body: [UInt8], deadline: MonotonicTime, withdrawal: Withdrawal?
    ) async throws(PeerError) -> [UInt8] {
        guard deadline > context.clock.monotonic else {
            throw PeerError(.deadline, isNotSent: true, "the deadline of a request to \(peer) has passed")
        }
        guard !Task.isCancelled, withdrawal?.isWithdrawn != true else {
            throw PeerError(.lost, isNotSent: true, "the request to \(peer) was cancelled")
        }
        guard let loop = current else { return try await askFromElsewhere(peer, type, body, deadline, withdrawal) }
        let connection = try loop.connection(to: peer)
        let id = try connection.reserve(type, body)
        return try await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                // A task without isolation and preference may have left the loop's thread.
                if loop.loop.isCurrent {
                    connection.send(id, type, body, deadline, continuation)
                } else {
                    loop.loop.post { connection.send(id, type, body, deadline, continuation) }
                }
                // After it was sent, and so it is on the loop. An id is never given twice.
                withdrawal?.onWithdraw { loop.loop.post { connection.cancel(id) } }
            }
        } onCancel: {
            // Later, even on this thread: the continuation is there by then.
            loop.loop.post { connection.cancel(id) }
        }.get()
    }

    /// The connections of the loop that the caller runs on.
    private var current: LoopPeers? {
        guard let loop = EventLoop.current else { return nil }
        for peers in loops where peers.loop === loop { return peers }
        return nil
    }

    private func askFromElsewhere(
        _ peer: PeerAddress, _ type: String, _ body: [UInt8], _ deadline: MonotonicTime, _ withdrawal: Withdrawal?
    ) async throws(PeerError) -> [UInt8] {
        let call = DistantCall(next())
        return try await withTaskCancellationHandler {
            await withUnsafeContinuation {
                call.post(peer, type, body, deadline, $0)
                withdrawal?.onWithdraw { call.cancel() }
            }
        } onCancel: {
            call.cancel()
        }.get()
    }

    private func next() -> LoopPeers {
        let index = turn.wrappingAdd(1, ordering: .relaxed).oldValue
        return loops[Int(UInt(bitPattern: index) % UInt(loops.count))]
    }
}

/// A request whose caller runs on none of the loops.
///
/// Unchecked, because what changes is touched on the thread of its loop only.
private final class DistantCall: @unchecked Sendable {
    private let peers: LoopPeers
    private var sent: (connection: OutgoingConnection, id: UInt64)?
    private var isCancelled = false

    init(_ peers: LoopPeers) { self.peers = peers }

    func post(
        _ peer: PeerAddress, _ type: String, _ body: [UInt8], _ deadline: MonotonicTime,
        _ continuation: UnsafeContinuation<Answer, Never>
    ) {
        let isPosted = peers.loop.postIfRunning { self.send(peer, type, body, deadline, continuation) }
        if isPosted { return }
        let error = PeerError(.unreachable, isNotSent: true, "the event loops of this node's link have ended")
        continuation.resume(returning: .failure(error))
    }

    func cancel() {
        peers.loop.post {
            self.isCancelled = true
            if let (connection, id) = self.sent { connection.cancel(id) }
        }
    }

    private func send(
        _ peer: PeerAddress, _ type: String, _ body: [UInt8], _ deadline: MonotonicTime,
        _ continuation: UnsafeContinuation<Answer, Never>
    ) {
        do throws(PeerError) {
            if isCancelled { throw PeerError(.lost, isNotSent: true, "the request to \(peer) was cancelled") }
            let connection = try peers.connection(to: peer)
            let id = try connection.reserve(type, body)
            sent = (connection, id)
            connection.send(id, type, body, deadline, continuation)
        } catch {
            continuation.resume(returning: .failure(error))
        }
    }
}
