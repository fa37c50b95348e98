import AffinityTestSupport
import Testing

@testable import AffinityCore
@testable import AffinityGateway

@Suite struct RouterTests {
    private func answer(_ text: String) -> Responder { { _ in .text(text) } }

    @Test func literalsStandBeforeParameters() async throws {
        try await withGateway { routes in
            routes.on("GET", "/") { _ in .text("root") }
            routes.on("GET", "/a/:x") { .text("parameter \($0.parameter("x"))") }
            routes.on("GET", "/a/b") { _ in .text("literal") }
            routes.on("GET", "/a/:y/c") { .text("deeper \($0.parameter("y"))") }
            routes.on("GET", "/a/b/d") { _ in .text("deep literal") }
            routes.on("GET", "/a/:y/:z") { .text("two \($0.parameter("y")) \($0.parameter("z"))") }
        } _: { port, _ in
            let client = try HTTPClient(port: port)
            for (target, text) in [
                ("/", "root"), ("/a/b", "literal"), ("/a/%62", "literal"), ("/a/x", "parameter x"),
                ("/a/b/d", "deep literal"),
                ("/a/b/c", "deeper b"), ("/a/b/e", "two b e"), ("/a/1%2F2/c", "deeper 1/2"),
            ] { #expect(try client.ask("GET", target).text == text, "\(target)") }
            for target in ["/a", "/a/", "/a//c", "/a/b/", "/b", "/a/b/c/d"] {
                #expect(try client.ask("GET", target).status == 404, "\(target)")
            }
        }
    }

    @Test func methodsAreToldApart() async throws {
        try await withGateway { routes in
            routes.on("GET", "/x") { request in .text(request.method) }
            routes.on("POST", "/x", query: ["q"]) { request in .text(request.query("q") ?? "none") }
            routes.on("HEAD", "/h") { _ in Response(status: 204, headers: [("X-Own", "1")]) }
            routes.on("GET", "/h") { _ in .text("get") }
        } _: { port, _ in
            let client = try HTTPClient(port: port)
            let head = try client.ask("HEAD", "/x")
            #expect(head.status == 200 && head["Content-Length"] == "4" && head.body.isEmpty)
            #expect(try client.ask("HEAD", "/h")["X-Own"] == "1")
            let refused = try client.ask("PUT", "/x")
            #expect(refused.status == 405 && refused["Allow"] == "GET, HEAD, OPTIONS, POST")
            let options = try client.ask("OPTIONS", "/x")
            #expect(options.status == 204 && options["Allow"] == "GET, HEAD, OPTIONS, POST")
            #expect(try client.ask("OPTIONS", "/none").status == 404)
            #expect(try client.ask("OPTIONS", "*")["Allow"]?.contains("DELETE") == true)
            #expect(try client.ask("POST", "/x?q=1").text == "1")
            #expect(try client.ask("GET", "/x?q=1").status == 400)
        }
    }

    @Test func mistakesAreFoundTogether() throws {
        let error = #expect(throws: GatewayError.self) {
            try HTTPGateway { routes in
                routes.on("GET", "no-slash") { _ in .text("") }
                routes.on("GET", "/a/:x") { _ in .text("") }
                routes.on("GET", "/a/:y") { _ in .text("") }
                routes.on("GET", "/b/:x/:x") { _ in .text("") }
                routes.on("GET", "/c/:") { _ in .text("") }
                routes.on("get", "/d") { _ in .text("") }
                routes.on("GET", "/e?x=1") { _ in .text("") }
                routes.get("/f/:x") { () in 1 }
            }
        }
        #expect(error?.mistakes.count == 7, "\(error?.mistakes ?? [])")
    }

    @Test func typedRoutesTakeParametersAndBodies() async throws {
        try await withGateway { routes in
            routes.get("/g/:a/:b") { (a: Int, b: String) in ["\(a)", b] }
            routes.post("/p/:a") { (body: [Int], a: Int) in body.map { $0 + a } }
        } _: { port, _ in
            let client = try HTTPClient(port: port)
            #expect(try client.ask("GET", "/g/7/x%2Fy").text == "[\"7\",\"x/y\"]")
            #expect(try client.ask("GET", "/g/x/y").status == 404)
            #expect(try client.ask("GET", "/g/99999999999999999999/y").status == 404)
            #expect(try client.ask("POST", "/p/1", body: "[1,2]").text == "[2,3]")
            for body in ["", "[1,]", "{}", "[\"a\"]", "[1.5]", "null"] {
                #expect(try client.ask("POST", "/p/1", body: body).status == 400, "\(body)")
            }
            #expect(try client.ask("POST", "/p/1", [("Content-Type", "text/plain")], body: "[1]").status == 415)
        }
    }
}

@Suite struct ErrorTests {
    @Test func everyCauseHasItsStatus() throws {
        let causes: [(AskError, Int)] = [
            (AskError(.notApplied, .overloaded, "x"), 429), (AskError(.notApplied, .notReady, "x"), 503),
            (AskError(.unknown, .notReady, "x"), 504), (AskError(.notApplied, .draining, "x"), 503),
            (AskError(.unknown, .draining, "x"), 504), (AskError(.notApplied, .deadline, "x"), 503),
            (AskError(.unknown, .deadline, "x"), 504), (AskError(.notApplied, .repeated, "x"), 422),
            (AskError(.notApplied, .moved, "x"), 503), (AskError(.unknown, .moved, "x"), 504),
            (AskError(.unknown, .overloaded, "x"), 504),
            (AskError(.notApplied, .failed, "x"), 500), (AskError(.unknown, .failed, "x"), 504),
            (AskError(rejected: Rejected(.invalid, "x"), reached: nil), 400),
            (AskError(rejected: Rejected(.notFound, "x"), reached: nil), 404),
            (AskError(rejected: Rejected(.conflict, "x"), reached: nil), 409),
            (AskError(rejected: Rejected(.precondition, "x"), reached: nil), 412),
            (AskError(rejected: Rejected("x"), reached: nil), 422),
        ]
        for (cause, status) in causes {
            let error = HTTPError(cause)
            #expect(error.status == status && error.detail == "x", "\(cause)")
            let retries = error.headers.contains { $0.name == "Retry-After" }
            #expect(retries == (status == 429 || status == 503), "\(cause)")
        }
    }

    @Test func positionReplayAndDetailsAreShown() {
        let position = Position([Offset(3), Offset(1841)])
        let reached = AskError.Reached(PartitionID(keyspace: "kv", number: 3), position)
        #expect(reached.token == "3:3.1841" && Position("3.1841") == position)
        let rejected = Rejected(.conflict, "a \"b\"\n\u{1}", details: ["have": "1", "status": "9", "title": "x"])
        let answer = Response.problem(HTTPError(AskError(rejected: rejected, reached: reached, isReplay: true)))
        #expect(
            answer.headers.map { "\($0.name): \($0.value)" }
                == [
                    "Affinity-Position: 3:3.1841", "Idempotency-Replayed: true",
                    "Content-Type: application/problem+json",
                ])
        #expect(
            String(decoding: answer.body, as: UTF8.self)
                == #"{"type":"about:blank","title":"Conflict","status":409,"detail":"a \"b\"\n\u0001","have":"1"}"#)
    }

    @Test func literalsAreJSON() {
        #expect(JSONLiteral("plain é😀").description == "\"plain é😀\"")
        #expect(JSONLiteral("\"\\\r\n\t\0\u{1F}\u{7F}/").description == #""\"\\\r\n\t\u0000\u001f\u007f/""#)
        #expect(JSONLiteral("").description == "\"\"")
    }
}
