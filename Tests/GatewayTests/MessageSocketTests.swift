import AffinityCore
import AffinityTestSupport
import Testing

@testable import AffinityGateway

@Suite struct MessageSocketTests {
    private struct Said: Codable { var text: String, times = 1 }
    private struct Heard: Codable { var text: String }
    private struct Surprise: Error {}

    private func declare(_ routes: Routes) {
        routes.webSocket("/echo/:room", query: ["loud"], receiving: Said.self, sending: Heard.self) { request in
            guard request.parameter("room") != "secret" else { throw HTTPError(401, "who are you?") }
        } _: { request, socket in
            let prefix = request.parameter("room") + (request.query("loud") == nil ? "" : "!")
            while true {
                do {
                    guard let said = try await socket.next() else { return }
                    switch said.text {
                    case "rejected": throw Rejected("no")
                    case "overloaded": throw AskError(.notApplied, .overloaded, "full")
                    case "unknown": throw AskError(.unknown, .deadline, "late")
                    case "surprise": throw Surprise()
                    case "bad": throw HTTPError(400, "bad")
                    case "own": return socket.close(4001, "as you wish")
                    case "bye": return
                    default: break
                    }
                    for _ in 0..<said.times {
                        guard try await socket.send(Heard(text: prefix + said.text)) else { return }
                    }
                } catch let error as HTTPError { await socket.send(problem: error) }
            }
        }
        routes.on("GET", "/echo/:room") { _ in .text("a page") }
        routes.webSocket("/only", receiving: Said.self, sending: Heard.self) { _, _ in }
    }

    /// Runs `body` against these routes.
    private func withSockets(
        cors: CORS? = nil, _ body: @escaping @Sendable (_ port: Int, _ reports: Reports) throws -> Void
    ) async throws {
        try await withGateway { routes in
            routes.cors = cors
            self.declare(routes)
        } _: { port, reports in
            try body(port, reports)
        }
    }

    @Test func messagesGoBothWays() async throws {
        try await withSockets { port, _ in
            let socket = try WebSocketProbe(port: port, "/echo/a?loud=1")
            for text in ["one", "zwei é"] {
                try socket.send(.text("{\"text\":\"\(text)\",\"times\":2}"))
                for _ in 0..<2 { #expect(try socket.frame() == .text("{\"text\":\"a!\(text)\"}")) }
            }
            try socket.send(.text("{\"text\":\"bye\",\"times\":1}"))
            #expect(try socket.closeCode() == 1000)
        }
    }

    @Test func aMessageThatDoesNotFitIsAnswered() async throws {
        try await withSockets { port, _ in
            let socket = try WebSocketProbe(port: port, "/echo/a")
            for message in [WebSocketProbe.Frame.text("{}"), .text("no JSON"), .text(""), .binary([1])] {
                try socket.send(message)
                let problem = try socket.frame()
                #expect(problem.text.contains("\"status\":400"), "\(problem.text)")
            }
            try socket.send(.text("{\"text\":\"still open\",\"times\":1}"))
            #expect(try socket.frame() == .text("{\"text\":\"astill open\"}"))
        }
    }

    @Test func errorsOfTheHandlerCloseWithTheirCode() async throws {
        try await withSockets { port, reports in
            for (text, code, reason) in [
                ("rejected", 1008, "no"), ("overloaded", 1013, "full"), ("unknown", 1011, "late"),
                ("surprise", 1011, "the server failed"), ("own", 4001, "as you wish"),
            ] {
                let socket = try WebSocketProbe(port: port, "/echo/a")
                try socket.send(.text("{\"text\":\"\(text)\",\"times\":1}"))
                let close = try socket.frame()
                #expect(close.closeCode == code, "\(text): \(close)")
                #expect(String(decoding: close.payload.dropFirst(2), as: UTF8.self) == reason)
            }
            #expect(reports.all.map(\.message) == ["a WebSocket's handler failed"])
        }
    }

    @Test func whatIsRefusedIsRefusedBeforeTheUpgrade() async throws {
        try await withSockets { port, _ in
            for (target, headers, status) in [
                ("/echo/secret", [], 401), ("/echo/a?other=1", [], 400), ("/nothing", [], 404),
                ("/echo/a", [("Origin", "https://evil.example")], 403), ("/echo/a", [("Origin", "null")], 403),
                ("/echo/a", [("Origin", "http://localhost:81")], 403),
            ] {
                let client = try HTTPClient(port: port)
                try client.send(WebSocketProbe.handshake(target, headers))
                #expect(try client.answer().status == status, "\(target) \(headers)")
            }
            for origin in ["http://localhost", "https://localhost", "http://LOCALHOST:80"] {
                _ = try WebSocketProbe(port: port, "/echo/a", [("Origin", origin)])
            }
            let client = try HTTPClient(port: port)
            #expect(try client.ask("GET", "/echo/a").text == "a page")
            #expect(try client.ask("GET", "/only").status == 426)
            #expect(try client.ask("POST", "/only")["Allow"] == "GET, OPTIONS")
            #expect(try client.ask("GET", "/only", [("Upgrade", "h2c"), ("Connection", "Upgrade")]).status == 426)
        }
    }

    @Test func allowedOriginsMayOpenIt() async throws {
        try await withSockets(cors: CORS(origins: ["https://shop.example"])) { port, _ in
            let socket = try WebSocketProbe(port: port, "/echo/a", [("Origin", "https://shop.example")])
            #expect(socket.answer["Access-Control-Allow-Origin"] == "https://shop.example")
            #expect(throws: Failure.self) {
                try WebSocketProbe(port: port, "/echo/a", [("Origin", "https://other.example")])
            }
        }
    }

    @Test func aClientThatNeverReadsStopsTheHandlerAndNotTheServer() async throws {
        try await withSockets { port, _ in
            let idle = try WebSocketProbe(port: port, "/echo/a", receiveBuffer: 4096)
            let text = String(repeating: "x", count: 64 << 10)
            // Far more than would fit anywhere: the handler waits after the first megabytes.
            try idle.send(.text("{\"text\":\"\(text)\",\"times\":1000000}"))
            let other = try WebSocketProbe(port: port, "/echo/b")
            try other.send(.text("{\"text\":\"hello\",\"times\":1}"))
            #expect(try other.frame() == .text("{\"text\":\"bhello\"}"))
            #expect(try idle.frame().text.count == text.count + 12)
        }
    }
}
