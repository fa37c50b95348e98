import AffinityCore
import AffinityTestSupport
import Testing

@testable import AffinityGateway

@Suite struct FuzzTests {
    @Test func nothingBringsTheGatewayDown() async throws {
        try await withGateway(accessLog: true, deadline: .milliseconds(50)) { routes in
            routes.use(GatewayMiddleware.requestID { 1 })
            for method in ["GET", "PUT"] {
                routes.on(method, "/a/:x/b", query: ["p", "q"]) { request in
                    let text = request.parameter("x") + (request.query("p") ?? "")
                    let number = try request.query("q", as: Int.self) ?? 0
                    _ = (try request.conditions, try request.commandEnvelope(), try request.staleness())
                    return try .json([text, "\(number)", request.target, request.remote])
                }
            }
            routes.post("/typed/:a/:b") { (body: [String: [Int8]], a: UInt8, b: String) in
                body.merging([b: [Int8(a >> 1)]]) { $1 }
            }
        } _: { port, reports in
            func request(
                _ method: String, _ target: String, _ headers: [(String, String)] = [], _ body: String? = nil
            ) -> [UInt8] {
                HTTPClient.request(method, Array(target.utf8), headers, body.map { Array($0.utf8) })
            }
            let corpus = [
                request("GET", "/a/%2Fé%00/b?p=%20+x&q=-17", [("If-Match", "\"1\", W/\"x\""), ("If-None-Match", "*")]),
                request("GET", "http://h/a/x/b", [("Affinity-Position", "0:1.2,7:99"), ("Affinity-Timeout", "20ms")]),
                request(
                    "PUT", "/a/x/b", [("Idempotency-Key", "\"k\""), ("X-Request-Id", "r"), ("Affinity-Read", "stale")],
                    "1"),
                request(
                    "GET", "/a/x/b",
                    [("Affinity-Read", "stale"), ("Affinity-Max-Lag", "9d"), ("Affinity-Position", "1:1")]),
                request(
                    "GET", "/a/x/b", [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]),
                request(
                    "POST", "/typed/7/x", [("Content-Type", "application/json; charset=\"utf-8\"")], "{\"a\":[1,-128]}"),
                request("OPTIONS", "*"), request("HEAD", "/a/x/b"),
            ]
            try HTTPFuzz.run(port: port, count: 1500, corpus: corpus)
            #expect(try HTTPClient(port: port).ask("GET", "/a/x/b").status == 200)
            let failures = reports.all.filter { $0.level == .error }
            #expect(failures.isEmpty, "\(failures)")
        }
    }
}
