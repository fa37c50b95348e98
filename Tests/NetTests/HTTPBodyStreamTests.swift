import AffinityNet
import AffinityTestSupport
import Glibc
import Synchronization
import Testing

@Suite struct HTTPBodyStreamTests {
    private static func counting(_ count: Int, status: Int = 200) -> HTTPHandler {
        { _ in
            .stream(status: status, headers: [("Content-Type", "text/event-stream"), ("Content-Length", "7")]) { body in
                for number in 0..<count {
                    body.send("data: \(number)\n\n")
                    await Task.yield()
                }
            }
        }
    }

    @Test func aBodyComesInChunksAndTheConnectionLivesOn() async throws {
        try await withServer(handler: Self.counting(3)) { port, _ throws in
            let client = try HTTPClient(port: port)
            for _ in 0..<3 {
                let answer = try client.ask("GET", "/")
                #expect(answer.status == 200)
                #expect(answer["transfer-encoding"] == "chunked")
                #expect(answer["content-length"] == nil)
                #expect(answer["content-type"] == "text/event-stream")
                let text = String(decoding: try client.chunks().joined(), as: UTF8.self)
                #expect(text == "data: 0\n\ndata: 1\n\ndata: 2\n\n")
            }
            // Requests that come while the body is made wait for their turn.
            try client.send(String(repeating: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", count: 3))
            for _ in 0..<3 {
                #expect(try client.answer().status == 200)
                #expect(try client.chunks().count == 3)
            }
        }
    }

    @Test func whereThereIsNoBodyNoneIsMade() async throws {
        try await withServer(handler: { request in
            .stream(status: request.target == "/empty" ? 204 : 200) { body in
                body.send("never")
                Issue.record("a body is made")
            }
        }) { port, _ throws in
            let client = try HTTPClient(port: port)
            let head = try client.ask("HEAD", "/")
            #expect(head.status == 200 && head["transfer-encoding"] == "chunked")
            let empty = try client.ask("GET", "/empty")
            #expect(empty.status == 204 && empty["transfer-encoding"] == nil)
            #expect(try client.ask("HEAD", "/").status == 200)
        }
    }

    @Test func aClientOfHTTP10GetsItUntilTheEnd() async throws {
        try await withServer(handler: Self.counting(2)) { port, _ throws in
            let client = try HTTPClient(port: port)
            let answer = try client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            #expect(answer["transfer-encoding"] == nil && answer["connection"] == "close")
            #expect(client.rest().map { String(decoding: $0, as: UTF8.self) } == "data: 0\n\ndata: 1\n\n")
        }
    }

    @Test func anAbandonedBodyHasNoEnd() async throws {
        try await withServer(handler: { _ in
            .stream { body in
                body.send("half")
                body.abandon()
                #expect(!body.isOpen && !body.send("lost"))
            }
        }) { port, _ throws in
            let client = try HTTPClient(port: port)
            #expect(try client.ask("GET", "/").status == 200)
            #expect(try client.chunk() == Array("half".utf8))
            #expect(throws: Failure.self) { try client.chunk() }
        }
    }

    /// For a client of HTTP/1.0 the body ends with the connection.
    @Test func anAbandonedBodyOfHTTP10IsReset() async throws {
        let gate = Gate()
        try await withServer(handler: { _ in
            .stream { body in
                body.send("half")
                await gate.pass()
                body.abandon()
                #expect(!body.isOpen && !body.send("lost"))
            }
        }) { port, _ throws in
            let client = try HTTPClient(port: port)
            #expect(try client.ask("GET / HTTP/1.0\r\n\r\n").status == 200)
            #expect(try client.bytes(4) == Array("half".utf8))
            gate.open()
            let failure = #expect(throws: Failure.self) { try client.isAtEnd() }
            #expect(failure?.description == "receive: \(ECONNRESET)")
        }
    }

    @Test func aBodyOfHTTP10ThatTheServerCutsOffIsReset() async throws {
        let gate = Gate()
        let group = try EventLoopGroup(count: 1)
        let server = try HTTPServer(group: group) { _ in
            .stream { body in
                body.send("half")
                await gate.pass()
            }
        }
        let port = try await server.bind(host: "127.0.0.1", port: 0)
        let client = UncheckedBox(try HTTPClient(port: port))
        try await onThread { () throws in
            #expect(try client.value.ask("GET / HTTP/1.0\r\n\r\n").status == 200)
            #expect(try client.value.bytes(4) == Array("half".utf8))
        }
        await server.drain(within: .milliseconds(20))
        try await onThread { () throws in
            let failure = #expect(throws: Failure.self) { try client.value.isAtEnd() }
            #expect(failure?.description == "receive: \(ECONNRESET)")
        }
        gate.open()
        await group.shutdown()
    }

    @Test func aClientThatSendsNoMoreGetsTheWholeAnswer() async throws {
        let slow: HTTPHandler = { _ in
            .stream { body in
                for number in 0..<20 {
                    #expect(body.send("\(number) "))
                    // So that the server reads the end meanwhile.
                    try? await Task.sleep(for: .milliseconds(5))
                }
                #expect(!Task.isCancelled)
            }
        }
        let whole = (0..<20).map { "\($0) " }.joined()
        try await withServer(handler: slow) { port, server throws in
            let client = try HTTPClient(port: port)
            try client.send(String(repeating: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", count: 2))
            client.finishSending()
            for _ in 0..<2 {
                #expect(try client.answer().status == 200)
                #expect(String(decoding: try client.chunks().joined(), as: UTF8.self) == whole)
            }
            #expect(try client.isAtEnd())
            let old = try HTTPClient(port: port)
            try old.send("GET / HTTP/1.0\r\n\r\n")
            old.finishSending()
            #expect(try old.answer().status == 200)
            #expect(old.rest().map { String(decoding: $0, as: UTF8.self) } == whole)
            try waitUntil("the end of the connections") { server.openConnections == 0 }
        }
    }

    @Test func whatCannotBeSentIsAnswered500() async throws {
        try await withServer(handler: { _ in
            .stream(headers: [("X", "a\r\nb")]) { _ in Issue.record("a body is made") }
        }) { port, _ throws in
            #expect(try HTTPClient(port: port).ask("GET", "/").status == 500)
        }
    }

    @Test func aClientThatVanishesEndsTheBody() async throws {
        let ended = Counter()
        try await withServer(handler: { request in
            .stream { body in
                body.send("data: 1\n\n")
                if request.target == "/silent" {
                    try? await Task.sleep(for: .seconds(600))
                } else {
                    while body.send("data: 2\n\n") { try? await Task.sleep(for: .milliseconds(5)) }
                }
                #expect(Task.isCancelled && !body.isOpen && !body.send("lost"))
                ended.add()
            }
        }) { port, server throws in
            for count in 1...4 {
                do {
                    let client = try HTTPClient(port: port)
                    // Who only ends what it sends may read on: that shows when it is sent something.
                    let isSilent = count % 2 == 0
                    #expect(try client.ask("GET", isSilent ? "/silent" : "/").status == 200)
                    #expect(try client.chunk() != nil)
                    if isSilent { client.resetAtEnd() }
                }
                try waitUntil("the end of the body") { ended.value == count }
                try waitUntil("the end of the connection") { server.openConnections == 0 }
            }
        }
    }

    @Test func aClientThatDoesNotReadIsSeenAndCutOff() async throws {
        let most = Mutex(0), ended = Counter()
        try await withServer(
            { $0.writeTime = .milliseconds(150) },
            handler: { _ in
                .stream { body in
                    let part = [UInt8](repeating: 1, count: 50_000)
                    repeat {
                        while body.isOpen, body.unsent < 500_000 { body.send(part) }
                        most.withLock { $0 = max($0, body.unsent) }
                    } while await body.drained(below: 100_000)
                    ended.add()
                }
            }
        ) { port, server throws in
            let client = try HTTPClient(port: port, receiveBuffer: 4096)
            try client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            try waitUntil("the end of the body") { ended.value == 1 }
            try waitUntil("the end of the connection") { server.openConnections == 0 }
            withExtendedLifetime(client) {}
        }
        #expect(most.withLock { $0 } < 600_000)
    }

    @Test func aServerThatDrainsEndsBodies() async throws {
        let group = try EventLoopGroup(count: 1)
        let server = try HTTPServer(group: group) { _ in
            .stream { body in
                body.send("first")
                try? await Task.sleep(for: .seconds(600))
                #expect(body.isDraining && body.isOpen)
                body.send("last")
            }
        }
        let port = try await server.bind(host: "127.0.0.1", port: 0)
        let client = UncheckedBox(try HTTPClient(port: port))
        try await onThread { () throws in
            #expect(try client.value.ask("GET", "/").status == 200)
            #expect(try client.value.chunk() == Array("first".utf8))
        }
        async let drained: Void = server.drain(within: .seconds(20))
        try await onThread { () throws in
            #expect(try client.value.chunks() == [Array("last".utf8)])
            #expect(try client.value.isAtEnd())
        }
        await drained
        await group.shutdown()
    }
}
