internal import AffinityCore
internal import AffinityNet

/// One connection to a peer, over which this node asks: from one event loop, from its beginning to its end.
///
/// Called by `LoopPeers` and by those who ask, on its loop. Calls `FrameStream`.
///
/// Unchecked, because it is touched on the thread of its loop only.
final class OutgoingConnection: FrameStreamOwner, @unchecked Sendable {
    let peer: PeerAddress
    let frames: FrameStream
    private let peers: LoopPeers
    private var state: State
    private var pending: PendingRequests
    private var waiting: [Waiting] = []
    private var waitingBytes = 0
    private var isDraining = false

    private enum State {
        case greeting(AskerGreeting)
        case open
        /// The peer takes no more requests, or none are to be sent.
        case leaving
        case closed
    }

    /// A request that waits for the handshake to end.
    private struct Waiting {
        let id: UInt64
        let type: String
        let body: [UInt8]
    }

    init(_ peer: PeerAddress, _ peers: LoopPeers) {
        self.peer = peer
        self.peers = peers
        frames = FrameStream(TCPStream(on: peers.loop), peers.context)
        pending = PendingRequests(limit: peers.context.configuration.requestLimit)
        state = .greeting(AskerGreeting(peers.context.identity, to: peer.node))
    }

    func connect() { frames.connect(to: peer, owner: self) }

    /// Requests that wait for an answer.
    var inFlight: Int { pending.count }

    private var isOpen: Bool {
        if case .open = state { return true }
        return false
    }

    // MARK: - Asking

    /// Takes a place for a request, to be used at once with `send`.
    func reserve(_ type: String, _ body: [UInt8]) throws(PeerError) -> UInt64 {
        let limits = peers.context.configuration
        // The id, the deadline and the name's length come to that.
        let count = FrameHeader.count + 5 + type.utf8.count + body.count
        guard type.utf8.count <= 255, count <= limits.frameLimit else {
            throw PeerError(.refused, isNotSent: true, "a request to \(peer) has \(count) bytes, which is too many")
        }
        guard frames.stream.unsent + waitingBytes + count <= limits.unsentLimit else {
            throw PeerError(.overloaded, isNotSent: true, "too many bytes are on their way to \(peer)")
        }
        guard let id = pending.reserve() else {
            throw PeerError(.overloaded, isNotSent: true, "too many requests wait for answers of \(peer)")
        }
        return id
    }

    /// Sends a request, or keeps it until the connection stands.
    func send(
        _ id: UInt64, _ type: String, _ body: [UInt8], _ deadline: MonotonicTime,
        _ continuation: UnsafeContinuation<Answer, Never>
    ) {
        var end = UInt64.max
        switch state {
        case .greeting:
            waiting.append(Waiting(id: id, type: type, body: body))
            waitingBytes += FrameHeader.count + body.count
        case .open where append(id, type, body, deadline):
            end = frames.stream.sent + UInt64(frames.stream.unsent)
        case .open: break  // the end has come, and is told soon
        case .leaving, .closed:
            if case .leaving = state { pending.release(id) }
            let error = PeerError(.lost, isNotSent: true, "the connection to \(peer) has ended")
            return continuation.resume(returning: .failure(error))
        }
        pending.put(PendingRequests.Pending(continuation: continuation, deadline: deadline, end: end), at: id)
        if deadline != .never { frames.arm(deadline.roundedUp) }
    }

    private func append(_ id: UInt64, _ type: String, _ body: [UInt8], _ deadline: MonotonicTime) -> Bool {
        var type = type
        let left = deadline.millisecondsLeft(at: peers.context.clock.monotonic)
        let count = 5 + type.utf8.count + body.count
        return frames.send(.request, id, count: count) { writer in
            writer.put(left)
            writer.put(UInt8(truncatingIfNeeded: type.utf8.count))
            writer.put(&type)
            writer.put(body)
        }
    }

    /// The caller does not wait any more.
    func cancel(_ id: UInt64) { giveUp(id, .lost, "the request to \(peer) was cancelled") }

    private func giveUp(_ id: UInt64, _ code: PeerError.Code, _ reason: String) {
        guard let given = pending.find(id) else { return }
        pending.release(id)
        let wasAppended = given.end != .max
        if wasAppended { frames.send(.cancel, id) } else { forgetWaiting(id) }
        given.continuation.resume(returning: .failure(PeerError(code, isNotSent: !wasAppended, reason)))
        leaveIfDone()
    }

    private func forgetWaiting(_ id: UInt64) {
        guard let index = waiting.firstIndex(where: { $0.id == id }) else { return }
        waitingBytes -= FrameHeader.count + waiting.remove(at: index).body.count
    }

    // MARK: - Ending

    /// Ends when what waits is answered.
    func drain() {
        isDraining = true
        leaveIfDone()
    }

    private func leaveIfDone() {
        guard pending.count == 0, isDraining || isLeaving else { return }
        let reason = "the connection is not needed any more"
        if case .greeting = state { frames.close(reason) } else { frames.finish(reason) }
    }

    private var isLeaving: Bool {
        if case .leaving = state { return true }
        return false
    }

    // MARK: - What comes

    func frameStreamOpened() {
        guard case .greeting(let greeting) = state else { return }
        frames.send(.hello, 0, greeting.hello.payload)
    }

    func frameStreamReceived(_ frame: Frame) throws {
        switch (frame.kind, state) {
        case (_, .greeting(var greeting)): try greet(greeting.take(frame), greeting)
        case (.response, _): try answer(frame)
        case (.error, _): try fail(frame)
        case (.goodbye, _): leave(String(decoding: frame.payload, as: UTF8.self))
        default: throw MalformedFrame("whoever answers sends no frame of kind \(frame.kind)")
        }
    }

    private func greet(_ step: GreetingStep, _ greeting: AskerGreeting) {
        switch step {
        case .send(let kind, let payload):
            state = .greeting(greeting)
            frames.send(kind, 0, payload)
        case .done: open()
        }
    }

    private func open() {
        state = .open
        frames.greeted()
        peers.stands(self)
        let waiting = self.waiting
        (self.waiting, waitingBytes) = ([], 0)
        for request in waiting {
            guard let given = pending.find(request.id) else { continue }
            send(request.id, request.type, request.body, given.deadline, given.continuation)
        }
    }

    private func answer(_ frame: Frame) throws {
        guard let given = try pending.take(frame.id) else { return }
        if frame.isBeyondLimit {
            let reason = "the answer of \(peer) is larger than allowed"
            given.continuation.resume(returning: .failure(PeerError(.lost, isNotSent: false, reason)))
        } else {
            given.continuation.resume(returning: .success([UInt8](frame.payload)))
        }
        leaveIfDone()
    }

    private func fail(_ frame: Frame) throws {
        let error = try PeerError(payload: frame.payload)
        guard let given = try pending.take(frame.id) else { return }
        given.continuation.resume(returning: .failure(error))
        leaveIfDone()
    }

    /// The peer takes no more requests here; what it has is answered.
    private func leave(_ reason: String) {
        guard isOpen else { return }
        state = .leaving
        frames.send(.goodbye)
        peers.leaves(self, reason)
        leaveIfDone()
    }

    func frameStreamDrained() {}

    func frameStreamTicked(_ now: MonotonicTime) -> MonotonicTime {
        let (due, next) = pending.due(now)
        for id in due { giveUp(id, .deadline, "\(peer) did not answer in time") }
        return next.roundedUp
    }

    func frameStreamClosed(_ reason: String) {
        let sent = frames.stream.sent
        let failure = failure(reason)
        state = .closed
        for given in pending.takeAll() {
            // Without its last byte no frame is a request.
            let isNotSent = given.end > sent
            given.continuation.resume(returning: .failure(isNotSent ? failure : lost(reason)))
        }
        waiting = []
        peers.ended(self, failure)
    }

    private func lost(_ reason: String) -> PeerError {
        PeerError(.lost, isNotSent: false, "the connection to \(peer) ended before the answer came: \(reason)")
    }

    /// What requests that were not sent fail with.
    private func failure(_ reason: String) -> PeerError {
        switch state {
        case .greeting where frames.isRefused: PeerError(.refused, isNotSent: true, "\(peer) is refused: \(reason)")
        case .greeting: PeerError(.unreachable, isNotSent: true, "\(peer) cannot be reached: \(reason)")
        default: PeerError(.lost, isNotSent: true, "the connection to \(peer) ended: \(reason)")
        }
    }
}

extension MonotonicTime {
    /// The next whole millisecond: so that a timer serves all deadlines of one.
    var roundedUp: MonotonicTime {
        let rest = nanoseconds % 1_000_000
        return rest > 0 ? advanced(nanoseconds: 1_000_000 - rest) : self
    }

    /// What is left until then, as a request says it: whole milliseconds, rounded up; all ones for no deadline.
    func millisecondsLeft(at now: MonotonicTime) -> UInt32 {
        guard self != .never else { return .max }
        let (left, overflow) = nanoseconds.subtractingReportingOverflow(now.nanoseconds)
        guard !overflow else { return nanoseconds < 0 ? 0 : .max - 1 }
        return UInt32(clamping: min((max(left, 0) &+ 999_999) / 1_000_000, Int64(UInt32.max) - 1))
    }

    /// The deadline of a request that says so.
    static func after(milliseconds: UInt32, from now: MonotonicTime) -> MonotonicTime {
        milliseconds == .max ? .never : now.advanced(nanoseconds: Int64(milliseconds) * 1_000_000)
    }
}
