import AffinityNet
import AffinityTestSupport
import Testing

@Suite struct WebSocketHandshakeTests {
    /// RFC 6455, 1.3.
    @Test func theAnswerIsThatOfTheSpecification() async throws {
        try await withEcho { port, server throws in
            let probe = try WebSocketProbe(port: port)
            #expect(probe.answer["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            #expect(probe.answer["upgrade"] == "websocket")
            #expect(probe.answer["connection"] == "Upgrade")
            #expect(probe.answer["content-length"] == nil)
            #expect(probe.answer["sec-websocket-protocol"] == nil)
            #expect(probe.answer["sec-websocket-extensions"] == nil)
            #expect(server.openConnections == 1)
            try probe.send(.text("hello"))
            #expect(try probe.frame() == .text("hello"))
        }
    }

    @Test func framesCanStandRightBehindTheRequest() async throws {
        try await withEcho { port, _ throws in
            let client = try HTTPClient(port: port)
            try client.send(
                HTTPClient.request("GET", Array("/first".utf8)) + WebSocketProbe.handshake()
                    + WebSocketProbe.bytes(1, Array("early".utf8)))
            #expect(try client.answer().status == 200)
            #expect(try client.answer().status == 101)
            #expect(try client.bytes(7) == [0x81, 5] + Array("early".utf8))
        }
    }

    static let bad: [(String, [(String, String?)], Int)] = [
        ("no upgrade", [("Upgrade", nil)], 426), ("another upgrade", [("Upgrade", "h2c")], 426),
        ("no connection", [("Connection", nil)], 400), ("another connection", [("Connection", "keep-alive")], 400),
        ("no version", [("Sec-WebSocket-Version", nil)], 400), ("version 8", [("Sec-WebSocket-Version", "8")], 426),
        ("version 14", [("Sec-WebSocket-Version", "14")], 426), ("version x", [("Sec-WebSocket-Version", "x")], 426),
        ("no key", [("Sec-WebSocket-Key", nil)], 400), ("an empty key", [("Sec-WebSocket-Key", "")], 400),
        ("a short key", [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ")], 400),
        ("a key of 15 bytes", [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j")], 400),
        ("a key of 17 bytes", [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZTE=")], 400),
        ("a key that is no base64", [("Sec-WebSocket-Key", "dGhlIHN!bXBsZSBub25jZQ==")], 400),
    ]

    @Test(arguments: bad)
    func badHandshakesAreAnswered(name: String, changes: [(String, String?)], status: Int) async throws {
        try await withEcho { port, _ throws in
            var headers = [
                ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ]
            for (name, value) in changes {
                headers.removeAll { $0.0 == name }
                if let value { headers.append((name, value)) }
            }
            let client = try HTTPClient(port: port)
            let answer = try client.ask("GET", "/always", headers)
            #expect(answer.status == status, "\(name): \(answer)")
            if answer.status == 426 {
                #expect(answer["sec-websocket-version"] == "13")
                #expect(answer["upgrade"] == "websocket")
                #expect(answer["connection"] == "Upgrade")
            }
            // The connection serves on.
            #expect(try client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
        }
    }
}
