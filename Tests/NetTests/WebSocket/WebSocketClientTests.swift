import AffinityNet
import AffinityTestSupport
import Testing

/// The client of this module, and what both sides deflate.
@Suite struct WebSocketClientTests {
    /// Runs `body` on a loop, with the port of an echo.
    private func withClient(
        _ change: (inout WebSocketConfiguration) -> Void = { _ in },
        _ body: nonisolated(nonsending) @escaping @Sendable (Int, EventLoop) async throws -> Void
    ) async throws {
        var configuration = WebSocketConfiguration()
        change(&configuration)
        let group = try EventLoopGroup(count: 2)
        let server = try HTTPServer(group: group, handler: webSocketEcho(configuration))
        let port = try await server.bind(host: "127.0.0.1", port: 0)
        let loop = group.loops[1]
        await loop.start {
            do { try await body(port, loop) } catch { Issue.record(error) }
        }.value
        await server.drain(within: .milliseconds(100))
        await group.shutdown()
    }

    @Test func messagesGoBothWays() async throws {
        try await withClient { port, loop in
            let socket = try await WebSocket.connect("localhost", port, "/a?b", on: loop, headers: [("X", "y")])
            for size in [0, 1, 125, 126, 65535, 65536, 1 << 20] {
                let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
                socket.send(bytes)
                #expect(await socket.next() == .binary(bytes))
            }
            socket.send("κόσμε")
            #expect(await socket.next() == .text("κόσμε"))
            socket.ping([1, 2, 3])
            socket.close(WebSocketCloseCode(4001), String(repeating: "é", count: 100))
            #expect(await socket.next() == nil)
            #expect(await socket.closed().code.rawValue == 4001)
        }
    }

    @Test func aServerThatRefusesIsAnError() async throws {
        try await withClient({ $0.origins = [] }) { port, loop in
            let origin = [(name: "Origin", value: "http://x")]
            let refused = await #expect(throws: NetError.self) {
                _ = try await WebSocket.connect("127.0.0.1", port, on: loop, headers: origin)
            }
            #expect(refused?.code == .refused)
            let nobody = await #expect(throws: NetError.self) {
                _ = try await WebSocket.connect("127.0.0.1", 1, on: loop)
            }
            #expect(nobody?.code == .unreachable)
        }
    }

    static let deflates: [WebSocketDeflate] = {
        var all: [WebSocketDeflate] = []
        for keepsContext in [false, true] {
            for windowBits in [9, 12, 15] {
                for level in [1, 9] {
                    var deflate = WebSocketDeflate()
                    deflate.keepsContext = keepsContext
                    deflate.windowBits = windowBits
                    deflate.level = level
                    deflate.shortestMessage = level == 1 ? 0 : 64
                    all.append(deflate)
                }
            }
        }
        return all
    }()

    /// As Autobahn's sections 12 and 13: sizes, and parameters.
    @Test(arguments: deflates.indices, [0, 5]) func messagesAreDeflated(server: Int, offset: Int) async throws {
        let client = (server + offset) % Self.deflates.count
        try await withClient({ $0.deflate = Self.deflates[server] }) { port, loop in
            var configuration = WebSocketConfiguration()
            configuration.deflate = Self.deflates[client]
            let socket = try await WebSocket.connect("127.0.0.1", port, on: loop, configuration: configuration)
            #expect(socket.isDeflating)
            var random = Seeded(UInt64(server * 100 + client))
            for size in [0, 1, 16, 64, 256, 1024, 4096, 40_000] {
                let words = (0..<size / 4).map { _ in ["abcd", "efgh", "xyz!", "0000"][Int(random.next() % 4)] }
                let text = words.joined()
                let noise = (0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                for _ in 0..<2 {
                    socket.send(text)
                    socket.send(noise)
                    #expect(await socket.next() == .text(text))
                    #expect(await socket.next() == .binary(noise))
                }
            }
            socket.close()
            #expect(await socket.closed().code == .normal)
        }
    }

    @Test func withoutOneSideNothingIsDeflated() async throws {
        try await withClient { port, loop in
            var configuration = WebSocketConfiguration()
            configuration.deflate = WebSocketDeflate()
            let socket = try await WebSocket.connect("127.0.0.1", port, on: loop, configuration: configuration)
            #expect(!socket.isDeflating)
        }
        try await withClient({ $0.deflate = WebSocketDeflate() }) { port, loop in
            let socket = try await WebSocket.connect("127.0.0.1", port, on: loop)
            #expect(!socket.isDeflating)
            socket.send(String(repeating: "a", count: 1000))
            #expect(await socket.next()?.count == 1000)
        }
    }
}

/// permessage-deflate as it stands on the wire.
@Suite struct WebSocketDeflateTests {
    static let offers: [(String, String?)] = [
        ("permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        ),
        (
            "permessage-deflate; client_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=10"
        ),
        (
            "permessage-deflate; server_max_window_bits=9",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9"
        ),
        ("permessage-deflate; server_max_window_bits=8", nil), ("permessage-deflate; server_max_window_bits", nil),
        ("permessage-deflate; server_max_window_bits=16", nil), ("permessage-deflate; client_max_window_bits=7", nil),
        ("permessage-deflate; client_max_window_bits=010", nil), ("permessage-deflate; unknown", nil),
        ("permessage-deflate; server_no_context_takeover=1", nil),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", nil), ("x-webkit-deflate", nil),
        (
            "permessage-deflate; unknown, permessage-deflate",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        ),
    ]

    @Test func offersAreTakenUpOrNot() async throws {
        try await withEcho({ $0.deflate = WebSocketDeflate() }) { port, _ throws in
            for (offer, answer) in Self.offers {
                let probe = try WebSocketProbe(port: port, "/", [("Sec-WebSocket-Extensions", offer)])
                #expect(probe.answer["sec-websocket-extensions"] == answer, "\(offer)")
                try probe.send(.text("a"))
                #expect(try probe.frame() == .text("a"))
            }
        }
    }

    /// Blocks that are stored, not deflated: what anybody can write down. RFC 7692, 7.2.3.
    @Test func theSpecificationsExamplesAreInflated() async throws {
        let examples: [[UInt8]] = [
            [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
            [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ]
        for keepsContext in [false, true] {
            try await withEcho({
                $0.deflate = WebSocketDeflate()
                $0.deflate?.keepsContext = keepsContext
            }) { port, _ throws in
                for example in examples {
                    let probe = try WebSocketProbe(
                        port: port, "/", [("Sec-WebSocket-Extensions", "permessage-deflate")])
                    for _ in 0..<2 {
                        try probe.send(1, example, bits: 0x40)
                        #expect(try probe.frame() == .text("Hello"))
                    }
                    try probe.send(1, Array(example.prefix(3)), final: false, bits: 0x40)
                    try probe.send(9, [1])
                    #expect(try probe.frame() == .pong([1]))
                    try probe.send(0, Array(example.dropFirst(3)))
                    #expect(try probe.frame() == .text("Hello"))
                }
            }
        }
    }

    /// A block that is marked as the last is none: what follows may refer to what came before it.
    @Test func aLastBlockKeepsTheContext() async throws {
        // RFC 7692, 7.2.3.4, and the second message of 7.2.3.2: five bytes from five bytes back.
        let last: [UInt8] = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]
        let again: [UInt8] = [0xF2, 0x00, 0x11, 0x00]
        for windowBits in [9, 15] {
            try await withEcho({
                $0.deflate = WebSocketDeflate()
                $0.deflate?.keepsContext = true
                $0.deflate?.windowBits = windowBits
                $0.deflate?.shortestMessage = 1 << 20
            }) { port, _ throws in
                let probe = try WebSocketProbe(
                    port: port, "/", [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")])
                for _ in 0..<2 {
                    try probe.send(1, last + [0], bits: 0x40)
                    #expect(try probe.frame() == .text("Hello"))
                    try probe.send(1, again + [0], bits: 0x40)
                    #expect(try probe.frame() == .text("Hello"))
                }
                // Within one message, and over many of them.
                try probe.send(1, last + again + [0], bits: 0x40)
                #expect(try probe.frame() == .text("HelloHello"))
                try probe.send(1, Array(repeating: last, count: 100).joined() + again + [0], bits: 0x40)
                #expect(try probe.frame().payload.count == 505)
            }
        }
        // Without a context from message to message there is one within a message.
        try await withEcho({ $0.deflate = WebSocketDeflate() }) { port, _ throws in
            let probe = try WebSocketProbe(port: port, "/", [("Sec-WebSocket-Extensions", "permessage-deflate")])
            try probe.send(1, last + again + [0], bits: 0x40)
            #expect(try probe.frame() == .text("HelloHello"))
            try probe.send(1, again + [0], bits: 0x40)
            #expect(try probe.closeCode() == 1007)
        }
    }

    @Test func whatCannotBeInflatedCloses() async throws {
        try await withEcho({ $0.deflate = WebSocketDeflate() }) { port, _ throws in
            func probe() throws -> WebSocketProbe {
                try WebSocketProbe(port: port, "/", [("Sec-WebSocket-Extensions", "permessage-deflate")])
            }
            let bad = try probe()
            try bad.send(2, [UInt8](repeating: 0xFF, count: 20), bits: 0x40)
            #expect(try bad.closeCode() == 1007)
            let marked = try probe()
            try marked.send(1, [0x00], final: false)
            try marked.send(0, [0x00], bits: 0x40)
            #expect(try marked.closeCode() == 1002)
            let control = try probe()
            try control.send(9, [], bits: 0x40)
            #expect(try control.closeCode() == 1002)
            let text = try probe()
            try text.send(1, [0x00, 0x01, 0x00, 0xFE, 0xFF, 0xFF, 0x00], bits: 0x40)
            #expect(try text.closeCode() == 1007)
        }
    }

    /// Zeros, a thousand times as many as bytes that are sent: one bit for each 258 of them.
    @Test func bombsAreCutOffAtTheLimit() async throws {
        try await withEcho({
            $0.deflate = WebSocketDeflate()
            $0.messageLimit = 100_000
        }) { port, _ throws in
            // A fixed block: a zero, then matches of length 258 and distance 1: 00011000 (zero), then 11000101 00000 each.
            var bits: [Bool] = [false, true, false] + "00110000".map { $0 == "1" }
            for _ in 0..<30_000 { bits += "1100010100000".map { $0 == "1" } }
            var bytes = [UInt8](repeating: 0, count: bits.count / 8 + 1)
            for (at, bit) in bits.enumerated() where bit { bytes[at / 8] |= 1 << UInt8(at % 8) }
            let probe = try WebSocketProbe(port: port, "/", [("Sec-WebSocket-Extensions", "permessage-deflate")])
            try? probe.send(2, bytes, bits: 0x40)
            #expect(try probe.closeCode() == 1009)
        }
    }
}
