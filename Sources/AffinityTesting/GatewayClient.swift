public import AffinityCore
public import AffinityGateway
internal import AffinityNet

/// Asks a gateway without a network: a request goes through the reading, the routing, the middleware and the handlers that
/// it goes through in a node, on the caller's executor.
///
///     let gateway = try HTTPGateway { routes in routes.get("/hits/:key") { ... } }
///     let client = GatewayClient(gateway, clock: clock)
///     let answer = await client.ask("GET", "/hits/home")
///     #expect(answer.status == 200)
public struct GatewayClient: Sendable {
    private let handler: HTTPHandler

    /// A client of a gateway.
    ///
    /// - Parameters:
    ///   - gateway: whose routes answer.
    ///   - clock: what the deadlines of requests count on: that of the services behind the routes.
    ///   - deadline: how long a request may take that says nothing of it.
    ///   - report: gets what the gateway reports.
    public init(
        _ gateway: HTTPGateway, clock: any NodeClock, deadline: Duration = .seconds(10),
        report: @escaping Reporter = { _ in }
    ) { handler = gateway.handler(GatewayContext(clock: clock, deadline: deadline, report: report)) }

    /// Sends a request; 400 if no server would take it for one.
    ///
    /// - Parameters:
    ///   - method: `GET`, and so on.
    ///   - target: path and query.
    ///   - headers: besides `Host` and `Content-Length`.
    ///   - body: none if it is empty.
    public nonisolated(nonsending) func ask(
        _ method: String, _ target: String, headers: [(name: String, value: String)] = [], body: [UInt8] = []
    ) async -> Response {
        var head = "\(method) \(target) HTTP/1.1\r\nHost: gateway\r\n"
        for header in headers { head += "\(header.name): \(header.value)\r\n" }
        if !body.isEmpty { head += "Content-Length: \(body.count)\r\n" }
        guard let request = HTTPRequest(head: head + "\r\n", body: body) else { return Response(status: 400) }
        let response = await handler(request)
        return Response(status: response.status, headers: response.headers, body: response.body)
    }

    /// The same with a text as the body.
    public nonisolated(nonsending) func ask(
        _ method: String, _ target: String, headers: [(name: String, value: String)] = [], body: String
    ) async -> Response { await ask(method, target, headers: headers, body: Array(body.utf8)) }
}

extension SimulatedCluster {
    /// The gateway of a node's process, over its service: to be asked inside of `ask`, which runs in that process.
    ///
    ///     let client = try cluster.gateway(of: "n1") { routes, kv in routes.get("/hits/:key") { ... } }
    ///     let answer = cluster.ask("n1") { _ in await client.ask("GET", "/hits/home") }
    ///
    /// - Returns: a client; `nil` if the process does not run. A process that is started later has another gateway.
    /// - Throws: `GatewayError` if the routes have mistakes.
    public func gateway(
        of node: String, _ declare: (Routes, Service<P>) throws -> Void
    ) throws -> GatewayClient? {
        guard let service = service(of: node), let clock = clock(of: node) else { return nil }
        return GatewayClient(try HTTPGateway { try declare($0, service) }, clock: clock)
    }
}
