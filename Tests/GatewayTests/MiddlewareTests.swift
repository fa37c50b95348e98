import AffinityCore
import AffinityTestSupport
import Synchronization
import Testing

@testable import AffinityGateway

@Suite struct MiddlewareTests {
    private struct Surprise: Error {}

    private func declare(_ routes: Routes) {
        routes.on("GET", "/ok/:x") { .text($0.parameter("x")) }
        routes.on("GET", "/http") { _ in throw HTTPError(418, "short and stout") }
        routes.on("GET", "/ask") { _ in throw AskError(.notApplied, .overloaded, "full") }
        routes.on("GET", "/no") { _ in throw Rejected(.conflict, "no") }
        routes.on("GET", "/surprise") { _ in throw Surprise() }
    }

    private static let table = [
        ("/ok/1", 200), ("/http", 418), ("/ask", 429), ("/no", 409), ("/surprise", 500), ("/nothing", 404),
        ("/ok/%", 400),
        ("/ok/1?x", 400),
    ]

    @Test func runsInOrderAroundEveryRequest() async throws {
        let seen = Mutex<[String]>([])
        try await withGateway { routes in
            for name in ["outer", "inner"] {
                routes.use { request, next in
                    seen.withLock { $0.append("\(name) \(request.parameter("x"))") }
                    var response = try await next(request)
                    seen.withLock { $0.append("\(name) \(response.status)") }
                    response.headers.append(("X-\(name)", "1"))
                    return response
                }
            }
            routes.on("GET", "/ok/:x") { .text($0.parameter("x")) }
        } _: { port, _ in
            let client = try HTTPClient(port: port)
            for (target, method, status) in [
                ("/ok/1", "GET", 200), ("/ok/1", "PUT", 405), ("/nothing", "GET", 404), ("/ok/1?foo", "GET", 400),
            ] {
                let answer = try client.ask(method, target)
                #expect(answer.status == status && answer["X-outer"] == "1" && answer["X-inner"] == "1")
            }
        }
        #expect(
            seen.withLock { $0 } == [
                "outer 1", "inner 1", "inner 200", "outer 200", "outer ", "inner ", "inner 405", "outer 405", "outer ",
                "inner ", "inner 404", "outer 404", "outer ", "inner ", "inner 400", "outer 400",
            ])
    }

    @Test func itsOwnErrorsAreAnswersToo() async throws {
        try await withGateway { routes in
            routes.use { request, next in
                var response = try await next(request)
                response.headers.append(("X-Outer", "1"))
                return response
            }
            routes.use { request, next in
                guard request.headers("authorization").isEmpty else { return try await next(request) }
                throw HTTPError(401, "who are you?", headers: [("WWW-Authenticate", "Basic")])
            }
            self.declare(routes)
        } _: { port, _ in
            let answer = try HTTPClient(port: port).ask("GET", "/ok/1")
            #expect(answer.status == 401 && answer["WWW-Authenticate"] == "Basic" && answer["X-Outer"] == "1")
        }
    }

    @Test func theAccessLogHasALineForEveryRequest() async throws {
        try await withGateway(accessLog: true) { routes in
            routes.use(GatewayMiddleware.requestID { 0xABC })
            self.declare(routes)
        } _: { port, reports in
            let client = try HTTPClient(port: port)
            for (target, status) in Self.table {
                let answer = try client.ask("GET", target, [("X-Request-Id", "id-\(status)")])
                #expect(answer.status == status && answer["X-Request-Id"] == "id-\(status)", "\(target)")
            }
            #expect(try client.ask("GET", "/ok/1", [("X-Request-Id", "a b")])["X-Request-Id"] == "abc")
            #expect(
                try client.ask("GET", "/ok/1", [("X-Request-Id", String(repeating: "x", count: 129))])["X-Request-Id"]
                    == "abc")
            let lines = reports.all.filter { $0.message == "request" }
            #expect(lines.map { $0["status"] } == Self.table.map { "\($0.1)" } + ["200", "200"])
            #expect(lines.prefix(Self.table.count).map { $0["target"] } == Self.table.map(\.0))
            #expect(lines.allSatisfy { $0["method"] == "GET" && $0["microseconds"].flatMap { Int($0) } != nil })
            #expect(lines[0]["request"] == "id-200" && lines[0]["bytes"] == "1")
            let failure = try #require(reports.all.first { $0.level == .error })
            #expect(failure["target"] == "/surprise" && failure["error"]?.contains("Surprise") == true)
        }
    }

    @Test func withoutTheAccessLogOnlyFailuresAreReported() async throws {
        try await withGateway {
            self.declare($0)
        } _: { port, reports in
            let client = try HTTPClient(port: port)
            for (target, status) in Self.table { #expect(try client.ask("GET", target).status == status, "\(target)") }
            #expect(reports.all.map(\.message) == ["a route failed"])
        }
    }
}
