import AffinityConfiguration
import AffinityTestSupport
import Testing

@testable import AffinityGateway

@Suite struct HostTests {
    private func status(_ hosts: [String], _ host: String?, _ method: String = "PUT") async throws -> Int {
        try await withGateway(hosts: hosts) { routes in
            routes.cors = CORS(origins: ["*"])
            routes.on("PUT", "/x") { _ in Response(status: 204) }
            routes.webSocket("/ws", receiving: Int.self, sending: Int.self) { _, _ in }
        } _: { port, _ in
            let client = try HTTPClient(port: port)
            guard let host else { return try client.ask("PUT /x HTTP/1.0\r\n\r\n").status }
            let headers = [("Host", host), ("Origin", "http://\(host)"), ("Access-Control-Request-Method", "PUT")]
            if method == "WebSocket" {
                try client.send(WebSocketProbe.handshake("/ws", headers))
            } else {
                try client.send(HTTPClient.request(method, Array("/x".utf8), headers))
            }
            let answer = try client.answer()
            if answer.status == 421 { #expect(answer["Content-Type"] == "application/problem+json") }
            return answer.status
        }
    }

    @Test func withoutNamesAnyWillDo() async throws {
        for host in ["evil.example", "localhost:1", nil] { #expect(try await status([], host) == 204) }
    }

    @Test func onlyTheNamesAreServed() async throws {
        let hosts = ["localhost", "API.example", "[::1]", "127.0.0.1"]
        for host in ["localhost", "localhost:8080", "api.EXAMPLE:80", "[::1]", "[::1]:8080", "127.0.0.1:1"] {
            #expect(try await status(hosts, host) == 204, "\(host)")
        }
        // A page of that name would be one of the gateway's own origin.
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "[::2]:80", "127.0.0.11", nil] {
            #expect(try await status(hosts, host) == 421, "\(host ?? "none")")
        }
        for method in ["WebSocket", "OPTIONS", "GET"] {
            #expect(try await status(hosts, "evil.example", method) == 421, "\(method)")
        }
        #expect(try await status(hosts, "localhost", "WebSocket") == 101)
    }

    @Test func areReadFromTheConfiguration() throws {
        func read(_ hosts: String) -> ([String], Configuration) {
            let configuration = Configuration.load(yaml: "gateway: { hosts: [\(hosts)] }")
            return (GatewayConfiguration(configuration.reader).hosts, configuration)
        }
        let (hosts, configuration) = read("localhost, '[::1]', 127.0.0.1")
        try configuration.validate()
        #expect(hosts == ["localhost", "[::1]", "127.0.0.1"])
        for mistake in ["'localhost:80'", "'::1'", "'*'", "'http://a'", "'a b'", "''"] {
            let (_, configuration) = read(mistake)
            #expect(throws: ConfigurationError.self, "\(mistake)") { try configuration.validate() }
        }
    }
}
