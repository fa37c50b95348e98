internal import AffinityCore
internal import AffinityNet

/// Who is told what comes of a `FrameStream`, on its loop.
protocol FrameStreamOwner: AnyObject, Sendable {
    /// The connection that was opened stands.
    func frameStreamOpened()
    /// A frame came; what it throws ends the connection.
    func frameStreamReceived(_ frame: Frame) throws
    /// The bytes that wait to be sent have become fewer, as asked for.
    func frameStreamDrained()
    /// Time has passed.
    ///
    /// - Returns: when to be called again, or `never`.
    func frameStreamTicked(_ now: MonotonicTime) -> MonotonicTime
    /// It is over. The last that comes.
    func frameStreamClosed(_ reason: String)
}

/// A TCP connection that carries frames, with what both of its sides do alike: reading, pings, the one timer, the end.
///
/// Called by `OutgoingConnection` and `IncomingConnection`. Calls `TCPStream`.
///
/// Unchecked, because it is touched on the thread of its loop only.
final class FrameStream: TCPStreamOwner, @unchecked Sendable {
    let stream: TCPStream
    let context: LinkContext
    private var owner: (any FrameStreamOwner)?
    private var reader = FrameReader(limit: FrameHeader.greetingLimit)
    private var keepAlive = KeepAlive()
    private var isPaused = false
    private var isEnding = false
    private var reason: String?
    private var armedFor = MonotonicTime.never
    private var looksAt: MonotonicTime
    private var hasGreeted = false
    private var sentBefore: UInt64 = 0
    /// Whether it was ended in the handshake by what one of the sides said.
    private(set) var isRefused = false

    init(_ stream: TCPStream, _ context: LinkContext) {
        self.stream = stream
        self.context = context
        looksAt = context.clock.monotonic.advanced(by: context.configuration.connectTime)
    }

    /// Begins with an accepted stream.
    func attach(to owner: any FrameStreamOwner) {
        self.owner = owner
        stream.attach(to: self)
        arm(looksAt)
    }

    /// Begins with a stream to be opened.
    func connect(to peer: PeerAddress, owner: any FrameStreamOwner) {
        self.owner = owner
        stream.connect(
            peer.host, peer.port, within: context.configuration.connectTime, by: context.resolver, owner: self)
        arm(looksAt)
    }

    /// The other side is known: frames may be as large as they are allowed to.
    func greeted() {
        hasGreeted = true
        reader.limit = context.configuration.frameLimit
        looksAt = context.clock.monotonic.advanced(by: context.configuration.keepAliveInterval)
        arm(looksAt)
    }

    // MARK: Sending

    /// Appends a frame whose payload of `count` bytes `fill` writes; false if the connection has ended.
    func send(_ kind: FrameKind, _ id: UInt64, count: Int, _ fill: (inout FieldWriter) -> Void) -> Bool {
        guard !isEnding else { return false }
        return stream.append(FrameHeader.count + count) { buffer in
            var writer = FieldWriter(buffer)
            writer.putHeader(kind, id, payload: count)
            fill(&writer)
        }
    }

    /// Appends a frame.
    @discardableResult
    func send(_ kind: FrameKind, _ id: UInt64 = 0, _ payload: [UInt8] = []) -> Bool {
        send(kind, id, count: payload.count) { $0.put(payload) }
    }

    // MARK: Ending

    /// Sends what waits, and then ends; what comes from now on is not looked at.
    func finish(_ reason: String) {
        guard !isEnding else { return }
        isEnding = true
        self.reason = self.reason ?? reason
        stream.finish()
        sentBefore = stream.sent
        looksAt = context.clock.monotonic.advanced(by: context.configuration.lingerTime)
        arm(looksAt)
    }

    /// Ends as it stands.
    func close(_ reason: String) {
        self.reason = self.reason ?? reason
        isEnding = true
        // What the other side does not take, the system must not keep.
        stream.close(reset: true)
    }

    private func fail(_ error: any Error) {
        isRefused = !hasGreeted
        switch error {
        case let error as Refusal:
            send(.refusal, 0, Array(error.reason.utf8.prefix(FrameHeader.greetingLimit / 2)))
            finish(error.reason)
        case let error as MalformedFrame:
            send(.goodbye, 0, Array(error.reason.utf8))
            finish("what the peer sends cannot be read: \(error.reason)")
        default:
            finish("\(error)")
        }
    }

    // MARK: Reading

    /// Reads no more until less than `count` bytes wait to be sent.
    func pause(until count: Int) {
        guard !isPaused else { return }
        isPaused = true
        stream.pause()
        stream.tellBelow(count)
    }

    func streamOpened() { owner?.frameStreamOpened() }

    func streamReceived(_ bytes: UnsafeRawBufferPointer) {
        keepAlive.hear()
        var rest = bytes
        do {
            while !isEnding, let frame = try reader.next(&rest) { try take(frame) }
        } catch {
            fail(error)
        }
    }

    private func take(_ frame: Frame) throws {
        switch frame.kind {
        // Behind that much it would come too late, and be no surer sign.
        case .ping where hasGreeted && stream.unsent > context.configuration.unsentLimit: break
        case .ping where hasGreeted: send(.pong, frame.id)
        case .pong where hasGreeted: break
        default: try owner?.frameStreamReceived(frame)
        }
    }

    func streamDrained() {
        if isPaused {
            isPaused = false
            stream.resume()
        }
        owner?.frameStreamDrained()
    }

    func streamClosed(_ error: NetError?) {
        armedFor = .never
        owner.take()?.frameStreamClosed(reason ?? error?.reason ?? "the peer has ended the connection")
    }

    // MARK: The timer

    /// Makes sure that `frameStreamTicked` is called at `time`.
    func arm(_ time: MonotonicTime) {
        guard time < armedFor else { return }
        armedFor = time
        stream.loop.schedule(at: time) { [weak self] in self?.fire(time) }
    }

    private func fire(_ time: MonotonicTime) {
        // Another one was armed for an earlier time since, or it is over.
        guard time == armedFor, let owner else { return }
        armedFor = .never
        let now = context.clock.monotonic
        if now >= looksAt { look(now) }
        arm(min(owner.frameStreamTicked(now), looksAt))
    }

    private func look(_ now: MonotonicTime) {
        if isEnding { return lookAtEnd(now) }
        if !hasGreeted { return end("the handshake took too long") }
        switch keepAlive.look(sent: stream.sent, unsent: stream.unsent, isReading: !isPaused) {
        case .wait: looksAt = now.advanced(by: context.configuration.keepAliveInterval)
        case .ping:
            send(.ping)
            looksAt = now.advanced(by: context.configuration.keepAlivePatience)
        case .end(let reason): end(reason)
        }
    }

    /// Whoever still takes what is sent gets all of it.
    private func lookAtEnd(_ now: MonotonicTime) {
        guard stream.unsent > 0, stream.sent > sentBefore else { return end("the peer does not end the connection") }
        sentBefore = stream.sent
        looksAt = now.advanced(by: context.configuration.lingerTime)
    }

    private func end(_ reason: String) {
        looksAt = .never
        close(reason)
    }
}
