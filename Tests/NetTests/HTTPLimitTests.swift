import AffinityNet
import AffinityTestSupport
import Testing

@Suite struct HTTPLimitTests {
    @Test func sizesAreExact() async throws {
        try await withServer { port, _ throws in
            func status(_ text: String) throws -> Int { try HTTPClient(port: port).ask(text).status }
            func target(_ count: Int) -> String {
                "GET /" + String(repeating: "a", count: count - 1) + " HTTP/1.1\r\nHost: x\r\n\r\n"
            }
            #expect(try status(target(8192)) == 200)
            #expect(try status(target(8193)) == 414)
            #expect(try status("GET /" + String(repeating: "a", count: 9000)) == 414)
            // "Host: x\r\nX: …\r\n" together
            func section(_ count: Int) -> String {
                "GET / HTTP/1.1\r\nHost: x\r\nX: " + String(repeating: "a", count: count - 14) + "\r\n\r\n"
            }
            #expect(try status(section(16384)) == 200)
            #expect(try status(section(16385)) == 431)
            #expect(try status("GET / HTTP/1.1\r\nHost: x\r\nX: " + String(repeating: "a", count: 20_000)) == 431)
            func fields(_ count: Int) -> String {
                "GET / HTTP/1.1\r\nHost: x\r\n" + String(repeating: "a: b\r\n", count: count - 1) + "\r\n"
            }
            #expect(try status(fields(100)) == 200)
            #expect(try status(fields(101)) == 431)
        }
    }

    @Test func aLongBodyIsRefusedAtOnceAndTheAnswerArrives() async throws {
        try await withServer({ $0.bodyLimit = 1000 }) { port, _ throws in
            let head = "PUT / HTTP/1.1\r\nHost: x\r\n"
            #expect(try HTTPClient(port: port).ask(head + "Content-Length: 1001\r\n\r\n").status == 413)
            // With much of the body on the way: without the linger the client would see a reset.
            for _ in 0..<20 {
                let client = try HTTPClient(port: port)
                try client.send(head + "Content-Length: 2000000\r\n\r\n")
                _ = client.sendWithoutWaiting([UInt8](repeating: 65, count: 2_000_000))
                #expect(try client.answer().status == 413)
            }
            let chunk = "1f4\r\n" + String(repeating: "a", count: 500) + "\r\n"
            let chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
            #expect(try HTTPClient(port: port).ask(chunked + chunk + chunk + "0\r\n\r\n").status == 200)
            #expect(try HTTPClient(port: port).ask(chunked + chunk + chunk + "1\r\na\r\n0\r\n\r\n").status == 413)
        }
    }

    @Test func slowHeadersEndIn408() async throws {
        try await withServer({ $0.headerReadTime = .milliseconds(50) }) { port, _ throws in
            let client = try HTTPClient(port: port)
            #expect(try client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
            let answer = try client.ask("GET / HTTP/1.1\r\nHost: x\r\nX: ")
            #expect(answer.status == 408)
            #expect(try client.isAtEnd())
        }
    }

    @Test func dribbledHeadersEndIn408() async throws {
        try await withServer({ $0.headerReadTime = .milliseconds(50) }) { port, _ throws in
            let client = try HTTPClient(port: port)
            try client.send("GET / HTTP/1.1\r\nHost: x\r\nX: ")
            // Every byte is progress, and none of them prolongs the time.
            while client.sendWithoutWaiting([97]) == 1, try !client.hasInput(within: 5) {}
            #expect(try client.answer().status == 408)
        }
    }

    @Test(arguments: ["Content-Length: 10", "Transfer-Encoding: chunked"])
    func slowBodiesEndIn408(framing: String) async throws {
        try await withServer({ $0.bodyReadTime = .milliseconds(50) }) { port, _ throws in
            let client = try HTTPClient(port: port)
            #expect(try client.ask("PUT / HTTP/1.1\r\nHost: x\r\n\(framing)\r\n\r\n1").status == 408)
            #expect(try client.isAtEnd())
        }
    }

    @Test func idleConnectionsAreClosed() async throws {
        try await withServer({ $0.idleTime = .milliseconds(50) }) { port, _ throws in
            #expect(try HTTPClient(port: port).isAtEnd())
            let client = try HTTPClient(port: port)
            #expect(try client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
            #expect(try client.isAtEnd())
        }
    }

    @Test func connectionsBeyondTheLimitAreRefused() async throws {
        try await withServer({ $0.connectionLimit = 2 }) { port, server throws in
            var clients = try (0..<2).map { _ in try HTTPClient(port: port) }
            for client in clients { #expect(try client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200) }
            let third = try HTTPClient(port: port)
            let answer = try third.answer()
            #expect(answer.status == 503)
            #expect(answer["retry-after"] != nil)
            #expect(try third.isAtEnd())
            #expect(server.refusedConnections == 1)
            clients.removeAll()
            try waitUntil("the end of the connections") { server.openConnections == 0 }
            #expect(try HTTPClient(port: port).ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
        }
    }

    @Test func manyConnections() async throws {
        try await withServer { port, server throws in
            let clients = try (0..<400).map { _ in try HTTPClient(port: port) }
            for client in clients { try client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n") }
            for client in clients { #expect(try client.answer().status == 200) }
            #expect(server.openConnections == 400)
            #expect(server.acceptedConnections == 400)
        }
    }

    @Test func aSlowReaderHoldsNoMoreThanItsLimit() async throws {
        let count = Counter()
        let answer = HTTPResponse(status: 200, body: [UInt8](repeating: 65, count: 1 << 20))
        let handler: HTTPHandler = { _ in
            count.add()
            return answer
        }
        try await withServer({ $0.writeTime = .milliseconds(100) }, handler: handler) { port, server throws in
            let client = try HTTPClient(port: port, receiveBuffer: 4096)
            try client.send(String(repeating: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", count: 1000))
            try waitUntil("the end of the connections") { server.openConnections == 0 }
            // What the kernel's buffers took, and one or two more.
            #expect(count.value < 20)
            withExtendedLifetime(client) {}
        }
    }

    @Test func badConfigurationsAreRefused() async throws {
        var configuration = HTTPServerConfiguration()
        configuration.idleTime = .zero
        #expect(throws: NetError.self) { try configuration.validate() }
        configuration = HTTPServerConfiguration()
        configuration.targetLimit = 0
        #expect(throws: NetError.self) { try configuration.validate() }
        configuration = HTTPServerConfiguration()
        configuration.bodyLimit = -1
        #expect(throws: NetError.self) { try configuration.validate() }
    }
}
