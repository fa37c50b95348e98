import AffinityCore
import AffinityNet
import AffinityObservability
import AffinityTestSupport
import Synchronization
import Testing

@testable import AffinityGateway

@Suite struct RouteMeterTests {
    @Test func requestsAreCountedByRouteAndStatusNeverByPath() async throws {
        let gateway = try HTTPGateway { routes in
            routes.on("GET", "/kv/:key") { request in
                guard request.parameter("key") != "gone" else { throw HTTPError(404, "gone") }
                return Response(status: request.parameter("key") == "odd" ? 299 : 200)
            }
            routes.on("PUT", "/kv/:key") { _ in throw AskError(.notApplied, .overloaded, "too many") }
        }
        let server = try await serve(gateway) { port in
            let client = try HTTPClient(port: port)
            for number in 0..<100 {
                _ = try client.ask("GET", "/kv/\(number)")
                _ = try client.ask("GET", "/nothing/\(number)")
                _ = try client.ask("POST", "/kv/\(number)")
            }
            for target in ["/kv/gone", "/kv/odd", "/kv/%zz"] { _ = try client.ask("GET", target) }
            _ = try client.ask("PUT", "/kv/a")
            _ = try client.ask("HEAD", "/kv/a")
            // Refused behind its route, and before there is one.
            _ = try client.ask("PUT", "/kv/a", [("Origin", "http://evil.example")])
            _ = try client.ask("GET", "/kv/a?b=c")
            for (request, status) in [
                ("GET / HTTP/1.1\r\n\r\n", 400),
                ("GET /\(String(repeating: "a", count: 9000)) HTTP/1.1\r\nHost: x\r\n\r\n", 414),
                ("GET / HTTP/1.1\r\nA: \(String(repeating: "a", count: 20_000))\r\n", 431),
                ("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", 413),
            ] {
                #expect(try HTTPClient(port: port).ask(request).status == status)
            }
            let slow = try HTTPClient(port: port)
            try slow.send("GET / HTTP/1.1\r\n")
            #expect(try slow.answer().status == 408)
        }
        let metrics = Metrics()
        metrics.collect { gateway.families("test", refusals: server.refusals) }
        let text = await metrics.text()
        let counts = text.split(separator: "\n").filter { $0.hasPrefix("affinity_http_requests_total{") }
        func line(_ route: String, _ method: String, _ status: String, _ count: Int) -> Substring {
            "affinity_http_requests_total{listener=\"test\",route=\"\(route)\",method=\"\(method)\",status=\"\(status)\"} \(count)"
        }
        #expect(
            Set(counts) == [
                line("/kv/:key", "GET", "200", 101), line("/kv/:key", "GET", "404", 1),
                line("/kv/:key", "GET", "other", 1), line("/kv/:key", "PUT", "429", 1), line("", "", "404", 100),
                line("", "", "405", 100), line("", "", "400", 2), line("/kv/:key", "PUT", "403", 1),
                line("/kv/:key", "GET", "400", 1), line("", "", "408", 1), line("", "", "413", 1),
                line("", "", "414", 1), line("", "", "431", 1),
            ])
        let name = "affinity_http_request_duration_seconds_count{listener=\"test\",route"
        #expect(text.contains("\(name)=\"/kv/:key\",method=\"GET\"} 104\n"))
        #expect(text.contains("\(name)=\"\",method=\"\"} 201\n"))
    }

    private func serve(
        _ gateway: HTTPGateway, _ body: @escaping @Sendable (_ port: Int) throws -> Void
    ) async throws -> HTTPServer {
        let context = GatewayContext(clock: SystemClock(), deadline: .seconds(10), report: { _ in })
        let group = try EventLoopGroup(count: 2)
        var configuration = HTTPServerConfiguration()
        configuration.headerReadTime = .seconds(2)
        let server = try HTTPServer(group: group, configuration: configuration, handler: gateway.handler(context))
        let port = try await server.bind(host: "127.0.0.1", port: 0)
        let result = await Task { try await onThread { try body(port) } }.result
        await server.drain(within: .milliseconds(20))
        await group.shutdown()
        try result.get()
        return server
    }
}
