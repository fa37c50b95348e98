/// Answers the requests of one connection, one after the other.
///
/// Called by the server on the connection's loop. One task does it for all requests: to resume it costs a third of what
/// starting one for each would.
///
/// Unchecked, because it is touched on the thread of its loop only.
final class ServedConnection: @unchecked Sendable {
    private let loop: EventLoop
    private let handler: HTTPHandler
    private var arrived: HTTPRequest?
    private var waiting: UnsafeContinuation<HTTPRequest?, Never>?
    private var isServing = false
    private var hasEnded = false

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
        isServing = true
        loop.start { await self.serve() }
    }

    /// Ends the task once it has nothing more to answer: no further request comes.
    func end() {
        hasEnded = true
        waiting?.resume(returning: nil)
        waiting = nil
    }

    private nonisolated(nonsending) func serve() async {
        while let request = await next() {
            let response = await handler(request)
            guard loop.isCurrent else { return leave(request, response) }
            request.answer(response)
        }
    }

    /// `nil` once the connection has ended.
    private nonisolated(nonsending) func next() async -> HTTPRequest? {
        if let request = arrived.take() { return request }
        if hasEnded { return nil }
        // Unsafe, because a checked one costs more than the resumption; it is resumed once, and taken out before.
        return await withUnsafeContinuation { waiting = $0 }
    }

    /// Answers for a handler that ended elsewhere, as one converted from a closure of another isolation may. The task
    /// cannot find back from there: the next request gets another one.
    private func leave(_ request: HTTPRequest, _ response: HTTPResponse) {
        loop.post {
            self.isServing = false
            request.answer(response)
        }
    }
}
