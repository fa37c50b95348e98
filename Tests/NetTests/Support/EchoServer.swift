import AffinityNet
import AffinityTestSupport

/// Answers a request for a WebSocket, and any for `/always`, with one that sends back what comes; others as ``echo(_:)``.
func webSocketEcho(_ configuration: WebSocketConfiguration = WebSocketConfiguration()) -> HTTPHandler {
    { request in
        guard request.asksForWebSocket || request.target == "/always" else { return await echo(request) }
        return .webSocket(configuration) { socket in
            while let message = await socket.next() {
                socket.echo(message)
                _ = await socket.drained(below: 1 << 20)
            }
        }
    }
}

extension WebSocket {
    func echo(_ message: WebSocketMessage) {
        switch message {
        case .text(let text): send(text)
        case .binary(let bytes): send(bytes)
        }
    }
}

/// Runs `body`, which is blocking and has a thread of its own, with a server of echoing WebSockets.
func withEcho<Result: Sendable>(
    _ change: (inout WebSocketConfiguration) -> Void = { _ in },
    server: (inout HTTPServerConfiguration) -> Void = { _ in },
    _ body: @escaping @Sendable (Int, HTTPServer) throws -> Result
) async throws -> Result {
    var configuration = WebSocketConfiguration()
    change(&configuration)
    return try await withServer(server, handler: webSocketEcho(configuration), body)
}
