import AffinityCore
import AffinityNet
import AffinityTestSupport

/// Runs `body` with a server of its own on two loops; `body` is blocking and has a thread of its own.
func withServer<Result: Sendable>(
    _ change: (inout HTTPServerConfiguration) -> Void = { _ in },
    handler: @escaping HTTPHandler = echo,
    _ body: @escaping @Sendable (Int, HTTPServer) throws -> Result
) async throws -> Result {
    var configuration = HTTPServerConfiguration()
    configuration.lingerTime = .milliseconds(200)
    change(&configuration)
    let group = try EventLoopGroup(count: 2)
    let server = try HTTPServer(group: group, configuration: configuration, handler: handler)
    let port = try await server.bind(host: "127.0.0.1", port: 0)
    let result: Swift.Result<Result, any Error>
    do {
        result = .success(try await onThread { try body(port, server) })
    } catch {
        result = .failure(error)
    }
    await server.drain(within: .milliseconds(20))
    await group.shutdown()
    return try result.get()
}

/// Answers with the method, the target and the body.
nonisolated(nonsending) func echo(_ request: HTTPRequest) async -> HTTPResponse {
    HTTPResponse(
        status: 200, headers: [("Content-Type", "text/plain")],
        body: Array("\(request.method) \(request.target) ".utf8) + request.body)
}
