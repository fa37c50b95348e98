/// Answers the requests of one connection, one after the other.
///
/// Called by the server on the connection's loop. One task does it for all requests: to resume it costs a third of what
/// starting one for each would.
///
/// A streamed answer and a WebSocket run in it too; only for them is it ever cancelled.
///
/// Unchecked, because it is touched on the thread of its loop only.
final class ServedConnection: @unchecked Sendable {
    private let loop: EventLoop
    private let handler: HTTPHandler
    private var arrived: HTTPRequest?
    private var waiting: UnsafeContinuation<HTTPRequest?, Never>?
    private var isServing = false
    private var hasEnded = false
    // Set once the task has suspended for the first time; what is cancelled before is remembered.
    private var task: Task<Void, Never>?
    private var isCancelled = false

    init(on loop: EventLoop, _ handler: @escaping HTTPHandler) {
        self.loop = loop
        self.handler = handler
    }

    /// Answers `request`; the connection has no other that is not answered.
    func take(_ request: HTTPRequest) {
        if let waiting {
            self.waiting = nil
            return waiting.resume(returning: request)
        }
        arrived = request
        if isServing { return }
        start { await self.serve() }
    }

    private func start(_ body: nonisolated(nonsending) @escaping @Sendable () async -> Void) {
        isServing = true
        task = loop.start(body)
        if isCancelled { task?.cancel() }
    }

    /// Ends the task once it has nothing more to answer: no further request comes.
    func end() {
        hasEnded = true
        waiting?.resume(returning: nil)
        waiting = nil
    }

    private nonisolated(nonsending) func serve() async {
        while true {
            var next = arrived.take()
            if next == nil {
                if hasEnded { break }
                // Waited for here, because a return from a function that waits costs one more hop. Unsafe, because a checked
                // one costs more than the resumption; it is resumed once, and taken out before.
                next = await withUnsafeContinuation { waiting = $0 }
            }
            // There is none once the connection has ended.
            guard let request = next else { break }
            let response = await handler(request)
            guard loop.isCurrent else { return leave(request, response) }
            if let sequel = response.sequel {
                await run(sequel, request, response)
                guard loop.isCurrent else { return leave() }
            } else {
                request.answer(response)
            }
        }
        task = nil
    }

    /// Answers with more than a body that is there.
    private nonisolated(nonsending) func run(_ sequel: HTTPSequel, _ request: HTTPRequest, _ response: HTTPResponse)
        async
    {
        switch sequel.kind {
        case .stream(let write):
            guard let stream = HTTPBodyStream(answering: request, response, on: loop) else { return }
            stream.onEnding = { [weak self] in self?.cancel() }
            if stream.isDraining { cancel() }
            await write(stream)
            if loop.isCurrent { stream.end() } else { loop.post { stream.end() } }
        case .webSocket(let configuration, let subprotocol, let body):
            guard let socket = request.open(configuration, subprotocol, response, on: loop) else { return }
            socket.onClosing = { [weak self] in self?.cancel() }
            if !socket.isOpen { cancel() }
            await body(socket)
            if loop.isCurrent { socket.close() } else { loop.post { socket.close() } }
        }
    }

    private func cancel() {
        isCancelled = true
        task?.cancel()
    }

    /// Answers for a handler that ended elsewhere, as one converted from a closure of another isolation may. The task
    /// cannot find back from there: the next request gets another one.
    private func leave(_ request: HTTPRequest, _ response: HTTPResponse) {
        loop.post {
            self.start {
                if let sequel = response.sequel {
                    await self.run(sequel, request, response)
                } else {
                    request.answer(response)
                }
                await self.serve()
            }
        }
    }

    /// As above, where the answer is on its way.
    private func leave() {
        loop.post { self.start { await self.serve() } }
    }
}
