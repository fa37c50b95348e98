import AffinityCore
import AffinityNet
import AffinityTestSupport
import Synchronization
import Testing

/// Remembers how the sockets of a server ended.
private final class Ends: Sendable {
    private let state = Mutex<[WebSocketClosure]>([])
    func add(_ closure: WebSocketClosure) { state.withLock { $0.append(closure) } }
    var codes: [Int] { state.withLock { $0.map(\.code.rawValue) } }

    func wait(_ count: Int) throws -> [Int] {
        try waitUntil("\(count) ends") { codes.count >= count }
        return codes
    }
}

/// A server whose sockets are served by `serve`, which is told how they ended.
private func withSockets<Result: Sendable>(
    _ change: (inout WebSocketConfiguration) -> Void = { _ in },
    server: (inout HTTPServerConfiguration) -> Void = { _ in },
    serve: @escaping WebSocketHandler,
    _ body: @escaping @Sendable (Int, HTTPServer, Ends) throws -> Result
) async throws -> Result {
    var configuration = WebSocketConfiguration()
    change(&configuration)
    let fixed = configuration
    let ends = Ends()
    let handler: HTTPHandler = { request in
        .webSocket(fixed, subprotocol: request.webSocketProtocols.last) { socket in
            await serve(socket)
            socket.close()
            ends.add(await socket.closed())
        }
    }
    return try await withServer(server, handler: handler) { port, server in try body(port, server, ends) }
}

/// The same with sockets that are pinged soon, take nothing and say "paused"; what comes then is `serve`'s.
private func withPausedSockets(
    serve: @escaping WebSocketHandler, _ body: @escaping @Sendable (Int, HTTPServer, Ends) throws -> Void
) async throws {
    try await withSockets(
        {
            $0.pingTime = .milliseconds(20)
            $0.pongTime = .milliseconds(500)
        },
        serve: { socket in
            socket.pause()
            socket.send("paused")
            await serve(socket)
        }, body)
}

private nonisolated(nonsending) func echoAll(_ socket: WebSocket) async {
    while let message = await socket.next() { socket.echo(message) }
}

@Suite struct WebSocketTests {
    @Test func aSubprotocolIsAgreedOnAndHeadersAreAdded() async throws {
        try await withSockets(serve: { socket in
            socket.send("\(socket.subprotocol ?? "none")")
        }) { port, _, ends throws in
            let probe = try WebSocketProbe(
                port: port, "/", [("Sec-WebSocket-Protocol", "a, b"), ("Sec-WebSocket-Protocol", "c")])
            #expect(probe.answer["sec-websocket-protocol"] == "c")
            #expect(try probe.frame() == .text("c"))
            // The handler has returned.
            #expect(try probe.frame() == .close(1000))
            try probe.send(.close(1000, "fine"))
            #expect(try probe.http.isAtEnd())
            #expect(try ends.wait(1) == [1000])
        }
    }

    @Test func originsAreChecked() async throws {
        try await withEcho({ $0.origins = ["https://a.example"] }) { port, _ throws in
            _ = try WebSocketProbe(port: port)
            _ = try WebSocketProbe(port: port, "/", [("Origin", "https://a.example")])
            let client = try HTTPClient(port: port)
            try client.send(WebSocketProbe.handshake("/", [("Origin", "https://b.example")]))
            #expect(try client.answer().status == 403)
            #expect(try client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
        }
    }

    @Test func anotherMethodAndHTTP10AreRefused() async throws {
        try await withEcho { port, _ throws in
            let head = "\(String(decoding: WebSocketProbe.handshake("/always"), as: UTF8.self))"
            let post = try HTTPClient(port: port).ask(head.replacing("GET", with: "POST"))
            #expect(post.status == 405 && post["allow"] == "GET")
            #expect(try HTTPClient(port: port).ask(head.replacing("HTTP/1.1", with: "HTTP/1.0")).status == 400)
            let body = head.replacing("\r\n\r\n", with: "\r\nContent-Length: 1\r\n\r\nx")
            #expect(try HTTPClient(port: port).ask(body).status == 400)
        }
    }

    @Test func messagesBeyondTheLimitClose() async throws {
        try await withEcho({ $0.messageLimit = 1000 }) { port, _ throws in
            let exact = try WebSocketProbe(port: port)
            try exact.send(.binary([UInt8](repeating: 1, count: 1000)))
            #expect(try exact.frame().payload.count == 1000)
            // It is enough that so much is announced.
            try exact.http.send([0x82, 0x80 | 126, 0x03, 0xE9, 1, 2, 3, 4])
            #expect(try exact.closeCode() == 1009)
            let fragmented = try WebSocketProbe(port: port)
            try fragmented.send(2, [UInt8](repeating: 1, count: 600), final: false)
            try fragmented.send(0, [UInt8](repeating: 1, count: 401))
            #expect(try fragmented.closeCode() == 1009)
            let endless = try WebSocketProbe(port: port)
            try endless.http.send([0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4])
            #expect(try endless.closeCode() == 1009)
        }
    }

    @Test func whatBreaksTheProtocolCloses() async throws {
        let cases: [(String, [UInt8], Int)] = [
            ("no mask", WebSocketProbe.bytes(1, [65], masked: false), 1002),
            ("length 5 in two bytes", [0x82, 0xFE, 0, 5], 1002),
            ("length 125 in two bytes", [0x82, 0xFE, 0, 125], 1002),
            ("length 65535 in eight", [0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], 1002),
            ("length 2^63", [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002),
        ]
        try await withEcho { port, _ throws in
            for (name, bytes, code) in cases {
                let probe = try WebSocketProbe(port: port)
                // The masks are missing: what is wrong is seen with the header.
                try probe.http.send(bytes + (name == "no mask" ? [] : [1, 2, 3, 4]))
                #expect(try probe.closeCode() == code, "\(name)")
            }
        }
    }

    @Test func aSilentClientIsPingedAndCutOff() async throws {
        try await withSockets(
            {
                $0.pingTime = .milliseconds(40)
                $0.pongTime = .seconds(2)
            }, serve: { await echoAll($0) }
        ) { port, _, ends throws in
            let probe = try WebSocketProbe(port: port)
            for _ in 0..<3 {
                #expect(try probe.frame() == .ping([]))
                try probe.send(.pong([]))
            }
            // No pong any more.
            #expect(probe.http.rest() != nil)
            #expect(try ends.wait(1) == [1006])
        }
    }

    @Test func aClientThatAnswersPingsStays() async throws {
        try await withEcho({
            $0.pingTime = .milliseconds(10)
            $0.pongTime = .milliseconds(2000)
        }) { port, _ throws in
            let probe = try WebSocketProbe(port: port)
            for _ in 0..<20 {
                #expect(try probe.frame() == .ping([]))
                try probe.send(.pong([]))
            }
            try probe.send(.text("still there"))
            #expect(try probe.frameButPings() == .text("still there"))
        }
    }

    /// Its pongs stand behind messages that nobody takes.
    @Test func aPausedClientIsPingedAndStays() async throws {
        let gate = Gate()
        try await withPausedSockets { socket in
            await gate.pass()
            socket.resume()
            await echoAll(socket)
        } _: { port, server, _ throws in
            let probe = try WebSocketProbe(port: port)
            #expect(try probe.frame() == .text("paused"))
            for _ in 0..<4 { #expect(try probe.frame() == .ping([])) }
            try probe.send(.text("still there"))
            gate.open()
            #expect(try probe.frameButPings() == .text("still there"))
            #expect(server.openConnections == 1)
        }
    }

    /// Closed by its system, or with its machine.
    @Test(arguments: [true, false]) func aPausedClientThatIsGoneIsCutOff(isClosed: Bool) async throws {
        try await withPausedSockets { socket in
            _ = await socket.closed()
        } _: { port, server, ends throws in
            var probe: WebSocketProbe? = try WebSocketProbe(port: port)
            #expect(try probe?.frame() == .text("paused"))
            if isClosed { probe = nil } else { try probe?.http.vanish() }
            #expect(try ends.wait(1) == [1006])
            try waitUntil("the end of the connection") { server.openConnections == 0 }
            withExtendedLifetime(probe) {}
        }
    }

    @Test func aClientThatDoesNotAnswerACloseIsCutOff() async throws {
        try await withSockets({ $0.closeTime = .milliseconds(50) }, serve: { _ in }) { port, server, ends throws in
            let probe = try WebSocketProbe(port: port)
            #expect(try probe.frame() == .close(1000))
            try probe.send(.text("whatever"))
            #expect(try ends.wait(1) == [1006])
            try waitUntil("the end of the connection") { server.openConnections == 0 }
            #expect(probe.http.rest() != nil)
        }
    }

    @Test func aClientThatVanishesIsNoticed() async throws {
        try await withSockets(serve: { await echoAll($0) }) { port, server, ends throws in
            for half in [[], [0x81], [0x81, 0x85, 1, 2], Array(WebSocketProbe.bytes(1, [65, 66, 67]).dropLast())] {
                let before = ends.codes.count
                do {
                    let probe = try WebSocketProbe(port: port)
                    try probe.http.send(half)
                    try waitUntil("the connection") { server.openConnections == 1 }
                }
                #expect(try ends.wait(before + 1).last == 1006)
                try waitUntil("the end of the connection") { server.openConnections == 0 }
            }
        }
    }

    /// The reader stops while nobody takes what came: the client cannot send on.
    @Test func aServerThatDoesNotTakeStopsTheClient() async throws {
        let gate = Gate()
        try await withSockets(serve: { socket in
            await gate.pass()
            await echoAll(socket)
        }) { port, _, _ throws in
            let probe = try WebSocketProbe(port: port)
            let message = WebSocketProbe.bytes(2, [UInt8](repeating: 7, count: 60_000))
            var sent = 0, bytes = 0
            while true {
                let count = probe.http.sendWithoutWaiting(Array(message.dropFirst(bytes)))
                if count > 0 {
                    bytes += count
                    if bytes == message.count { (sent, bytes) = (sent + 1, 0) }
                } else if try !probe.http.canSend(within: 300) {
                    break
                }
                guard sent < 2000 else { throw Failure("nothing stops the client") }
            }
            #expect(bytes > 0 || sent > 0)
            gate.open()
            // Everything arrives in the end.
            for _ in 0..<sent { #expect(try probe.frameButPings().payload.count == 60_000) }
        }
    }

    /// What waits to be sent is known, waited for, and ends a connection that takes nothing.
    @Test func aClientThatDoesNotReadIsSeenAndCutOff() async throws {
        let most = Mutex(0)
        try await withSockets(
            { $0.writeTime = .milliseconds(150) },
            serve: { socket in
                let frame = WebSocketFrame([UInt8](repeating: 9, count: 100_000))
                var isDrained = true
                while isDrained {
                    while socket.isOpen, socket.unsent < 1_000_000 { socket.send(frame) }
                    most.withLock { $0 = max($0, socket.unsent) }
                    isDrained = await socket.drained(below: 500_000)
                }
                #expect(!socket.isOpen)
            }
        ) { port, server, ends throws in
            let probe = try WebSocketProbe(port: port, receiveBuffer: 4096)
            #expect(try ends.wait(1) == [1006])
            try waitUntil("the end of the connection") { server.openConnections == 0 }
            withExtendedLifetime(probe) {}
        }
        #expect(most.withLock { $0 } < 1_200_000)
    }

    /// Whoever serves it has a limit of its own; the close frame stands behind what was sent before.
    @Test func aSlowClientIsClosedByItsOwnersLimit() async throws {
        try await withSockets(
            { $0.closeTime = .seconds(5) },
            serve: { socket in
                let frame = WebSocketFrame([UInt8](repeating: 9, count: 50_000))
                while socket.unsent < 2_000_000 { socket.send(frame) }
                socket.close(.tryAgainLater, "too slow")
                #expect(!socket.send("lost"))
            }
        ) { port, server, ends throws in
            let probe = try WebSocketProbe(port: port, receiveBuffer: 4096)
            var frame = try probe.frame()
            while frame.opcode == 2 {
                #expect(frame.payload.count == 50_000)
                frame = try probe.frame()
            }
            #expect(frame == .close(1013, "too slow"))
            try probe.send(.close(1013))
            #expect(try ends.wait(1) == [1013])
            #expect(try probe.http.isAtEnd())
        }
    }

    /// Pongs are output too: who sends pings and reads nothing is not read from without end.
    @Test func aFloodOfPingsIsBounded() async throws {
        try await withSockets(
            {
                $0.unsentLimit = 10_000
                $0.writeTime = .milliseconds(150)
            }, serve: { await echoAll($0) }
        ) { port, _, ends throws in
            let probe = try WebSocketProbe(port: port, receiveBuffer: 4096)
            let pings = Array(repeating: WebSocketProbe.bytes(9, [UInt8](repeating: 1, count: 125)), count: 500).flatMap
            { $0 }
            while ends.codes.isEmpty {
                if probe.http.sendWithoutWaiting(pings) <= 0 { _ = try? probe.http.canSend(within: 10) }
            }
            #expect(ends.codes == [1006])
        }
    }

    @Test func messagesCanBePushedAndRefused() async throws {
        try await withSockets(serve: { socket in
            // As a watch does, which waits for changes, not for messages.
            socket.receive { _ in socket.close(.unsupportedData, "nothing is taken here") }
            _ = await socket.closed()
        }) { port, _, ends throws in
            let probe = try WebSocketProbe(port: port)
            try probe.send(.text("x"))
            #expect(try probe.frame() == .close(1003, "nothing is taken here"))
            try probe.send(.close(1003))
            #expect(try ends.wait(1) == [1003])
        }
    }

    /// Not when it ends, which may be never.
    @Test func whereNoneIsTakenTheHeadOfAMessageCloses() async throws {
        let mask: [UInt8] = [1, 2, 3, 4]
        let heads: [[UInt8]] = [
            [0x01, 0x85] + mask, [0x81, 0x80] + mask, [0x82, 0xFE, 0x40, 0] + mask,
            [0x02, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0] + mask,
        ]
        try await withEcho({ $0.takesMessages = false }) { port, _ throws in
            for head in heads {
                let probe = try WebSocketProbe(port: port)
                try probe.send(.ping([7]))
                #expect(try probe.frame() == .pong([7]))
                try probe.http.send(head)
                #expect(try probe.closeCode() == 1003, "\(head)")
            }
            let bad = try WebSocketProbe(port: port)
            try bad.send(0, [1])
            #expect(try bad.closeCode() == 1002)
        }
    }

    @Test func aMessageThatDoesNotComeToItsEndCloses() async throws {
        let beginnings: [[UInt8]] = [
            [0x81], [0x82, 0xFE, 0], [0x82, 0x85, 1, 2, 3, 4, 5], WebSocketProbe.bytes(1, [65], final: false),
            [0x89, 0x81, 1, 2, 3],
        ]
        try await withEcho({ $0.messageTime = .milliseconds(60) }) { port, _ throws in
            for beginning in beginnings {
                let probe = try WebSocketProbe(port: port)
                try probe.send(.text("whole"))
                #expect(try probe.frame() == .text("whole"))
                try probe.http.send(beginning)
                #expect(try probe.frame() == .close(1008, "the message did not come in time"), "\(beginning)")
                #expect(try probe.http.isAtEnd())
            }
            // Frames of control between its fragments give it no more time.
            let busy = try WebSocketProbe(port: port)
            try busy.send(1, [65], final: false)
            var frame: WebSocketProbe.Frame
            repeat {
                _ = busy.http.sendWithoutWaiting(WebSocketProbe.bytes(9, [1]))
                frame = try busy.frame()
            } while frame == .pong([1])
            #expect(frame.closeCode == 1008)
        }
    }

    @Test func eachMessageHasItsOwnTime() async throws {
        try await withEcho({ $0.messageTime = .seconds(1) }) { port, _ throws in
            let probe = try WebSocketProbe(port: port)
            let message = WebSocketProbe.bytes(1, [65, 66, 67, 68])
            let end = ContinuousClock.now + .seconds(2)
            // What is read ends in the middle of the next, each time.
            try probe.http.send(Array(message.prefix(7)))
            while ContinuousClock.now < end {
                try probe.http.send(Array(message.dropFirst(7) + message.prefix(7)))
                #expect(try probe.frame() == .text("ABCD"))
            }
        }
    }

    @Test func whileNobodyTakesAMessageItsTimeStandsStill() async throws {
        let (begun, ended) = (Gate(), Gate())
        let paused = Counter()
        try await withSockets(
            { $0.messageTime = .seconds(1) },
            serve: { socket in
                await begun.pass()
                socket.pause()
                paused.add()
                await ended.pass()
                socket.resume()
                await echoAll(socket)
            }
        ) { port, _, _ throws in
            let probe = try WebSocketProbe(port: port)
            try probe.send(1, [65], final: false)
            try probe.send(.ping([1]))
            #expect(try probe.frame() == .pong([1]))
            begun.open()
            try waitUntil("a socket that pauses") { paused.value == 1 }
            try probe.send(0, [66])
            #expect(try !probe.http.hasInput(within: 2000))
            ended.open()
            #expect(try probe.frame() == .text("AB"))
        }
    }

    @Test func theTaskIsCancelledWhenTheClientCloses() async throws {
        try await withSockets(serve: { socket in
            // Sleeps until it is cancelled.
            try? await Task.sleep(for: .seconds(600))
            #expect(Task.isCancelled)
            #expect(!socket.isOpen)
            #expect(!socket.send("lost"))
        }) { port, _, ends throws in
            let probe = try WebSocketProbe(port: port)
            try probe.send(.close(4000, "enough"))
            #expect(try probe.closeCode() == 4000)
            #expect(try ends.wait(1) == [4000])
        }
    }

    @Test func aFrameIsSharedByAllItIsSentTo() async throws {
        let frames = [
            WebSocketFrame("short"), WebSocketFrame(utf8: Array("κόσμε".utf8)),
            WebSocketFrame([UInt8](repeating: 3, count: 70_000)), WebSocketFrame(String(repeating: "x", count: 2000)),
        ]
        try await withSockets(serve: { socket in
            socket.send("before")
            for frame in frames { socket.send(frame) }
            socket.send("after")
        }) { port, _, _ throws in
            for _ in 0..<20 {
                let probe = try WebSocketProbe(port: port)
                #expect(try probe.frame() == .text("before"))
                #expect(try probe.frame() == .text("short"))
                #expect(try probe.frame() == .text("κόσμε"))
                #expect(try probe.frame() == .binary([UInt8](repeating: 3, count: 70_000)))
                #expect(try probe.frame() == .text(String(repeating: "x", count: 2000)))
                #expect(try probe.frame() == .text("after"))
                #expect(try probe.frame() == .close(1000))
            }
        }
    }

    @Test func aServerThatDrainsSaysSo() async throws {
        let group = try EventLoopGroup(count: 2)
        let server = try HTTPServer(group: group, handler: webSocketEcho())
        let port = try await server.bind(host: "127.0.0.1", port: 0)
        let probes = UncheckedBox(try (0..<4).map { _ in try WebSocketProbe(port: port) })
        async let drained: Void = server.drain(within: .seconds(20))
        try await onThread { () throws in
            for probe in probes.value {
                #expect(try probe.frame() == .close(1001))
                try probe.send(.close(1001))
                #expect(try probe.http.isAtEnd())
            }
        }
        await drained
        #expect(server.openConnections == 0)
        await group.shutdown()
    }

    @Test func drainingIsBounded() async throws {
        let group = try EventLoopGroup(count: 1)
        let server = try HTTPServer(group: group, handler: webSocketEcho())
        let port = try await server.bind(host: "127.0.0.1", port: 0)
        let probe = UncheckedBox(try WebSocketProbe(port: port))
        await server.drain(within: .milliseconds(50))
        #expect(server.openConnections == 0)
        try await onThread { () throws in #expect(probe.value.http.rest() != nil) }
        await group.shutdown()
    }

    @Test func webSocketsCountAsConnections() async throws {
        try await withEcho(server: { $0.connectionLimit = 2 }) { port, server throws in
            let first = try WebSocketProbe(port: port)
            let second = try HTTPClient(port: port)
            #expect(try second.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
            #expect(try HTTPClient(port: port).answer().status == 503)
            try first.send(.close(nil))
            #expect(try first.closeCode() == 1005)
            try waitUntil("room") { server.openConnections == 1 }
            _ = try WebSocketProbe(port: port)
        }
    }

    @Test func loopsCanEndUnderWebSockets() async throws {
        let group = try EventLoopGroup(count: 1)
        let server = try HTTPServer(group: group, handler: webSocketEcho())
        let port = try await server.bind(host: "127.0.0.1", port: 0)
        let probe = UncheckedBox(try WebSocketProbe(port: port))
        await group.shutdown()
        try await onThread { () throws in #expect(probe.value.http.rest() != nil) }
        await server.drain(within: .seconds(1))
    }
}
