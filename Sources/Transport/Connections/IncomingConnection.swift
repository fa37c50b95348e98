internal import AffinityCore
internal import AffinityNet

/// One connection that a peer has opened to ask this node.
///
/// Called by `LoopPeers`, on its loop. Calls the handlers, each in a task of its own on the loop.
///
/// Unchecked, because it is touched on the thread of its loop only.
final class IncomingConnection: FrameStreamOwner, @unchecked Sendable {
    let frames: FrameStream
    private let peers: LoopPeers
    private let context: LinkContext
    private var state: State
    private var running: RunningRequests
    private var handlers: [HandlerTable.Entry]
    private var asking = "?"

    private enum State {
        case greeting(AnswererGreeting)
        case open
        /// This node has said goodbye.
        case leaving
        /// And the peer has too: no more requests come.
        case left
        case closed
    }

    init(_ stream: TCPStream, _ peers: LoopPeers) {
        self.peers = peers
        context = peers.context
        frames = FrameStream(stream, context)
        running = RunningRequests(limit: context.configuration.requestLimit)
        handlers = context.handlers.all
        state = .greeting(AnswererGreeting(context.identity))
    }

    func attach() { frames.attach(to: self) }

    /// Takes no more requests than are on their way, and ends when all are answered.
    func drain() {
        switch state {
        case .greeting: frames.close("this node is closing")
        case .open:
            state = .leaving
            frames.send(.goodbye, 0, Array("the node is closing".utf8))
        default: break
        }
    }

    // MARK: - What comes

    func frameStreamOpened() {}

    func frameStreamReceived(_ frame: Frame) throws {
        switch (frame.kind, state) {
        case (_, .greeting(let greeting)): try greet(frame, greeting)
        case (.request, .open), (.request, .leaving): try begin(frame)
        case (.cancel, _): running.forget(frame.id)?.cancel()
        case (.goodbye, .leaving):
            state = .left
            endIfDone()
        case (.goodbye, .open):
            frames.close("the peer ends the connection: \(String(decoding: frame.payload, as: UTF8.self))")
        default: throw MalformedFrame("whoever asks sends no frame of kind \(frame.kind) now")
        }
    }

    private func greet(_ frame: Frame, _ before: AnswererGreeting) throws {
        var greeting = before
        // Also of one that is refused.
        defer { asking = greeting.asking.description }
        switch try greeting.take(frame) {
        case .send(let kind, let payload):
            state = .greeting(greeting)
            frames.send(kind, 0, payload)
        case .done(let kind, let payload):
            if let kind { frames.send(kind, 0, payload) }
            state = .open
            frames.greeted()
        }
    }

    // MARK: - Requests

    private func begin(_ frame: Frame) throws(MalformedFrame) {
        let id = frame.id
        if frame.isBeyondLimit { return refuse(id, .refused, "the request is larger than allowed") }
        var fields = FieldReader(frame.payload)
        let left = try fields.number(UInt32.self)
        guard let handler = find(try fields.name()) else {
            return refuse(id, .refused, "there is no handler for requests of this type")
        }
        let count = fields.rest.count
        guard peers.hasRoom(forBytes: count), try running.begin(id) else {
            return refuse(id, .overloaded, "too many requests are under way")
        }
        peers.began(bytes: count)
        let deadline = MonotonicTime.after(milliseconds: left, from: context.clock.monotonic)
        let body = [UInt8](fields.rest)
        let task = peers.loop.start { await self.serve(handler, id, body, deadline) }
        running.set(task, for: id)
    }

    private func find(_ name: UnsafeRawBufferPointer) -> PeerHandler? {
        for _ in 0..<2 {
            for entry in handlers where entry.name.elementsEqual(name) { return entry.handler }
            // One may have come since.
            handlers = context.handlers.all
        }
        return nil
    }

    private nonisolated(nonsending) func serve(
        _ handler: @escaping PeerHandler, _ id: UInt64, _ body: [UInt8], _ deadline: MonotonicTime
    ) async {
        let answer: Answer
        do throws(PeerError) {
            answer = .success(try await handler(body, deadline))
        } catch {
            answer = .failure(error)
        }
        // A handler that was converted from a closure of another isolation may end elsewhere.
        guard peers.loop.isCurrent else { return peers.loop.post { self.end(id, body.count, answer) } }
        end(id, body.count, answer)
    }

    private func end(_ id: UInt64, _ count: Int, _ answer: Answer) {
        peers.ended(bytes: count)
        let isAwaited = running.end(id)
        if isAwaited { send(id, answer) }
        endIfDone()
    }

    private func endIfDone() {
        if case .left = state, running.count == 0 { frames.finish("this node is closing") }
    }

    // MARK: - Answers

    private func refuse(_ id: UInt64, _ code: PeerError.Code, _ reason: String) {
        send(id, .failure(PeerError(code, isNotSent: true, "\(context.identity.node): \(reason)")))
    }

    private func send(_ id: UInt64, _ answer: Answer) {
        switch answer {
        case .failure(let error): frames.send(.error, id, error.payload)
        case .success(let body):
            if let mistake = mistake(FrameHeader.count + body.count) {
                frames.send(.error, id, PeerError(.lost, isNotSent: false, mistake).payload)
            } else {
                frames.send(.response, id, body)
            }
        }
        pauseIfFull()
    }

    /// Why an answer of that size cannot be sent.
    private func mistake(_ count: Int) -> String? {
        if count > context.configuration.frameLimit { return "the answer has \(count) bytes, which is too many" }
        let isFull = frames.stream.unsent + count > context.configuration.unsentLimit
        return isFull ? "the answer could not be kept: too many bytes wait to be sent" : nil
    }

    /// A peer that does not take its answers is not asked for more requests.
    private func pauseIfFull() {
        let limit = context.configuration.unsentLimit
        if frames.stream.unsent > limit / 2 { frames.pause(until: limit / 4) }
    }

    func frameStreamDrained() {}

    func frameStreamTicked(_ now: MonotonicTime) -> MonotonicTime { .never }

    func frameStreamClosed(_ reason: String) {
        if case .greeting = state {
            peers.reportStranger([("node", asking), ("address", frames.stream.remote), ("reason", reason)])
        }
        state = .closed
        for task in running.forgetAll() { task.cancel() }
        peers.ended(self)
    }
}
