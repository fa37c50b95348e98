internal import AffinityCore
internal import AffinityNet

/// The connections of one event loop: to the peers that its tasks ask, and from those that ask this node.
///
/// Called by `TCPPeerLink` and the connections, on the loop.
///
/// Unchecked, because it is touched on the thread of its loop only.
final class LoopPeers: @unchecked Sendable {
    let loop: EventLoop
    let context: LinkContext
    private var peers: [PeerAddress: Peer] = [:]
    private var outgoing: [ObjectIdentifier: OutgoingConnection] = [:]
    private var incoming: [ObjectIdentifier: IncomingConnection] = [:]
    private var handlers = 0
    private var handledBytes = 0
    private var phase = Phase.open
    private var waiters: [UnsafeContinuation<Void, Never>] = []
    private var ended = PeerLinkStatistics()
    private var strangers = 0
    private var strangersFrom = MonotonicTime(nanoseconds: .min)

    private enum Phase { case open, answersNoMore, closed }

    /// What is known of a peer that was asked.
    private struct Peer {
        var connection: OutgoingConnection?
        var failures = 0
        var retryAt = MonotonicTime(nanoseconds: .min)
        var failure: PeerError?
    }

    init(_ loop: EventLoop, _ context: LinkContext) {
        self.loop = loop
        self.context = context
    }

    // MARK: - Connections to peers

    /// The connection to a peer, which may have to be made first.
    func connection(to address: PeerAddress) throws(PeerError) -> OutgoingConnection {
        if let connection = peers[address]?.connection { return connection }
        guard phase != .closed else { throw PeerError(.unreachable, isNotSent: true, "this node's link is closed") }
        let peer = peers[address] ?? Peer()
        if let failure = peer.failure, context.clock.monotonic < peer.retryAt { throw failure }
        try makeRoom(for: address)
        let connection = OutgoingConnection(address, self)
        peers[address, default: peer].connection = connection
        outgoing[ObjectIdentifier(connection)] = connection
        connection.connect()
        return connection
    }

    private func makeRoom(for address: PeerAddress) throws(PeerError) {
        guard peers[address] == nil, peers.count >= context.configuration.peerLimit else { return }
        peers = peers.filter { $0.value.connection != nil }
        if peers.count < context.configuration.peerLimit { return }
        throw PeerError(.overloaded, isNotSent: true, "there are connections to too many peers")
    }

    /// The handshake has succeeded.
    func stands(_ connection: OutgoingConnection) {
        peers[connection.peer]?.failures = 0
        peers[connection.peer]?.failure = nil
        context.report(Report(.debug, "a connection to a peer stands", [("peer", connection.peer.description)]))
    }

    /// The peer takes no more requests over it: the next gets another one.
    func leaves(_ connection: OutgoingConnection, _ reason: String) {
        if peers[connection.peer]?.connection === connection { peers[connection.peer]?.connection = nil }
    }

    /// It is over; `failure` is what requests fail with until the next attempt, if it never stood.
    func ended(_ connection: OutgoingConnection, _ failure: PeerError) {
        outgoing[ObjectIdentifier(connection)] = nil
        ended.add(connection.frames.stream)
        if peers[connection.peer]?.connection === connection {
            peers[connection.peer]?.connection = nil
            if failure.code != .lost {
                leaveAlone(connection.peer, failure)
            } else if phase != .closed {
                context.report(Report(.warning, "a connection to a peer ended", [("reason", failure.reason)]))
            }
        }
        tellWaiters()
    }

    private func leaveAlone(_ address: PeerAddress, _ failure: PeerError) {
        guard var peer = peers[address] else { return }
        let limits = context.configuration
        let time = min(limits.retryTime * (1 << min(peer.failures, 20)), limits.retryTimeLimit)
        peer.failures += 1
        peer.failure = failure
        // Not all loops and nodes at the same moment.
        peer.retryAt = context.clock.monotonic.advanced(by: time * Double.random(in: 0.75...1))
        peers[address] = peer
        context.report(Report(.warning, "a peer cannot be asked", [("reason", failure.reason)]))
    }

    // MARK: - Connections from peers

    /// Takes an accepted connection in.
    func take(_ stream: TCPStream) {
        // Without an owner it is closed.
        guard phase == .open else { return }
        let connection = IncomingConnection(stream, self)
        incoming[ObjectIdentifier(connection)] = connection
        connection.attach()
    }

    /// It is over.
    func ended(_ connection: IncomingConnection) {
        incoming[ObjectIdentifier(connection)] = nil
        ended.add(connection.frames.stream)
        tellWaiters()
    }

    /// Reports a connection that came to nothing; whoever opens many does not fill the log with it.
    func reportStranger(_ fields: [(name: String, value: String)]) {
        let now = context.clock.monotonic
        guard now >= strangersFrom else { return strangers += 1 }
        let fields = strangers > 0 ? fields + [("others", String(strangers))] : fields
        context.report(Report(.warning, "a peer's connection came to nothing", fields))
        (strangersFrom, strangers) = (now.advanced(by: .seconds(1)), 0)
    }

    /// Whether the handler of one more request, of that size, may run.
    func hasRoom(forBytes count: Int) -> Bool {
        handlers < context.configuration.handlerLimit && handledBytes + count <= context.configuration.handledBytesLimit
    }

    /// A handler runs.
    func began(bytes: Int) {
        handlers += 1
        handledBytes += bytes
    }

    /// A handler has ended.
    func ended(bytes: Int) {
        handlers -= 1
        handledBytes -= bytes
    }

    // MARK: - Ending

    /// Takes no more requests of peers, and no more connections.
    func drainIncoming() {
        if phase == .open { phase = .answersNoMore }
        for connection in incoming.values { connection.drain() }
    }

    /// Asks no more.
    func drainOutgoing() {
        phase = .closed
        for connection in outgoing.values { connection.drain() }
    }

    /// Ends everything as it stands.
    func close() {
        phase = .closed
        for connection in incoming.values { connection.frames.close("this node's link is closed") }
        for connection in outgoing.values { connection.frames.close("this node's link is closed") }
    }

    /// Resumes `waiter` when no connection of that direction is left. One waiter at a time.
    func whenEmpty(_ waiter: UnsafeContinuation<Void, Never>) {
        waiters.append(waiter)
        tellWaiters()
    }

    private func tellWaiters() {
        guard incoming.isEmpty, phase != .closed || outgoing.isEmpty else { return }
        let waiters = self.waiters
        self.waiters = []
        for waiter in waiters { waiter.resume() }
    }

    /// What its connections have done so far.
    var statistics: PeerLinkStatistics {
        var sum = ended
        for connection in outgoing.values { sum.add(connection.frames.stream) }
        for connection in incoming.values { sum.add(connection.frames.stream) }
        return sum
    }
}
