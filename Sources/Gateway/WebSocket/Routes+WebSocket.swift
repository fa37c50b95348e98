internal import AffinityNet

extension Routes {
    /// Declares what answers a request for a WebSocket: a handler that talks with the client in JSON texts.
    ///
    /// A message of the client usually becomes a command, and its reply, or a problem document, a message to it. The
    /// handler runs on the connection's loop, and its return closes the socket with 1000. What it throws closes it with
    /// the reason: 1008 for what the client did wrong (an `HTTPError` below 500, what a handler rejects), 1013 for what it
    /// can try again (`AskError`: not applied), 1011 for the rest. When the client closes or vanishes, or the node drains
    /// (which the client is told with 1001), `next` gives `nil` and the handler's task is cancelled.
    ///
    /// Pages of other origins may open it if ``CORS`` allows them; those get 403. Middleware sees the request, and can
    /// refuse it.
    ///
    /// - Parameters:
    ///   - path: the path, with parameters as `:name`. A plain `GET` of it can have a route of its own.
    ///   - query: the query parameters that the route knows.
    ///   - received: what the client sends.
    ///   - sent: what it is sent.
    ///   - accept: looks at the request before the socket is opened; what it throws is the answer.
    ///   - handler: talks with the client.
    public func webSocket<Received: Decodable & SendableMetatype, Sent: Encodable & SendableMetatype>(
        _ path: String, query: [String] = [], receiving received: Received.Type, sending sent: Sent.Type,
        accept: @escaping @Sendable (Request) throws -> Void = { _ in },
        _ handler:
            nonisolated(nonsending) @escaping @Sendable (Request, MessageSocket<Received, Sent>) async throws -> Void
    ) {
        declare(.webSocket, path, query) { request in
            try request.checkHandshake()
            try accept(request)
            return request.webSocket { socket in
                let messages = MessageSocket<Received, Sent>(socket, unsentMax: request.context.watching.unsentMax)
                do { try await handler(request, messages) } catch {
                    let (code, reason) = WebSocketCloseCode.closing(error, request.context.report)
                    messages.close(code, reason)
                }
            }
        }
    }
}
