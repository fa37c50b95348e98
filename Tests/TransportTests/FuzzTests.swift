import AffinityCore
import AffinityNet
import AffinityTestSupport
import AffinityTransport
import Testing

@Suite struct FuzzTests {
    @Test(arguments: [
        ("a frame is too short", [0, 0, 0, 8, 6] + [UInt8](repeating: 0, count: 8)), ("no frame of kind 99", frame(99)),
        ("no frame of kind response", frame(Kind.response, 0)), ("no frame of kind hello", hello()),
        ("ends within a field", frame(Kind.request, 1, [0, 0])),
        ("ends within a field", frame(Kind.request, 1, bytes(UInt32(1)) + [5, 65])),
        ("id of another one", request(3, "wait") + request(3, "wait")),
    ])
    func malformedFramesEndTheConnectionWithAReason(_ reason: String, _ bytes: [UInt8]) async throws {
        try await withPair { pair in
            let gate = Gate()
            pair.b.answer("wait") { request, _ throws(PeerError) in
                await gate.pass()
                return request
            }
            try await onThread { () throws in
                let raw = try RawPeer(port: pair.address.port)
                try raw.greet()
                try raw.send(bytes)
                #expect(try raw.expect(Kind.goodbye).text.contains(reason))
                try raw.waitForEnd()
            }
        }
    }

    @Test func whatIsNoHandshakeEndsAtOnce() async throws {
        try await withPair { pair in
            try await onThread { () throws in
                for text in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", String(repeating: "\0", count: 100)] {
                    let raw = try RawPeer(port: pair.address.port)
                    try raw.send(Array(text.utf8))
                    try raw.waitForEnd()
                }
                for bytes in [request(1, "echo"), frame(Kind.proof, 0, [1]), frame(Kind.ping), frame(Kind.goodbye)] {
                    let raw = try RawPeer(port: pair.address.port)
                    try raw.send(bytes)
                    try raw.expect(Kind.goodbye)
                    try raw.waitForEnd()
                }
            }
        }
    }

    @Test func framesMayComeInPieces() async throws {
        let seed = newSeed()
        print("pieces seed \(seed)")
        try await withPair(b: { $0.frameLimit = 150_000 }) { pair in
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            try await onThread { () throws in
                var random = Seeded(seed)
                let raw = try RawPeer(port: pair.address.port)
                try raw.greet()
                for round in 0..<40 {
                    let counts = [0, 1, 5000, 70_000, 140_000, 200_000].map { $0 + Int(random.next() % 50) }
                    let whole = counts.enumerated().flatMap { index, count in
                        request(UInt64(round << 32 | index), "echo", [UInt8](repeating: UInt8(index), count: count))
                    }
                    var rest = whole[...]
                    while !rest.isEmpty {
                        let piece = rest.prefix(1 + Int(random.next() % (round % 2 == 0 ? 20_000 : 200_000)))
                        try raw.send(Array(piece))
                        rest = rest.dropFirst(piece.count)
                    }
                    for _ in counts {
                        let answer = try #require(try raw.receiveFrame())
                        let index = Int(answer.id & 7)
                        #expect(answer.id >> 32 == UInt64(round))
                        #expect(answer.kind == (index == 5 ? Kind.error : Kind.response))
                        guard index < 5 else { continue }
                        #expect(answer.payload == [UInt8](repeating: UInt8(index), count: counts[index]))
                    }
                }
            }
        }
    }

    @Test func garbageAndTruncatedBytesForWhoAnswers() async throws {
        let seed = newSeed()
        print("fuzz seed \(seed)")
        try await withPair(b: { $0.frameLimit = 20_000 }) { pair in
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            let whole =
                hello() + request(0, "echo", [1, 2, 3]) + request(1, "none") + frame(Kind.cancel, 1) + frame(Kind.ping)
                + request(2, "echo", [UInt8](repeating: 9, count: 30_000)) + request(3, "echo") + frame(Kind.goodbye)
            try await onThread { () throws in
                var fuzz = Fuzz(seed)
                for _ in 0..<400 {
                    let raw = try RawPeer(port: pair.address.port)
                    // It may be closed before all of it is sent.
                    try? raw.send(fuzz.damaged(whole))
                    raw.finishSending()
                    try raw.waitForEnd()
                }
            }
            let answer = try await pair.ask("echo", [6])
            #expect(answer == [6], "seed \(seed)")
        }
    }

    @Test func garbageAndTruncatedBytesForWhoAsks() async throws {
        let seed = newSeed()
        print("fuzz seed \(seed)")
        try await withPair(a: {
            $0.retryTime = .milliseconds(1)
            $0.retryTimeLimit = .milliseconds(1)
            $0.frameLimit = 20_000
        }) { pair in
            let listener = try RawListener()
            let address = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: listener.port)
            let whole =
                frame(Kind.welcome) + frame(Kind.response, 0, [1]) + frame(Kind.error, 1, [4, 0] + Array("no".utf8))
                + frame(Kind.response, 2, [UInt8](repeating: 9, count: 30_000)) + frame(Kind.goodbye)
            let rounds = 150
            let server = Task {
                try await onThread { () throws in
                    var fuzz = Fuzz(seed)
                    for _ in 0..<rounds {
                        let raw = try listener.accept()
                        try raw.expect(Kind.hello)
                        try? raw.send(fuzz.damaged(whole))
                        raw.finishSending()
                    }
                }
            }
            let asker = Task {
                // Each ends, one way or the other.
                while !Task.isCancelled {
                    async let first = pair.a.ask(address, "x", [1], deadline: .never)
                    async let second = pair.a.ask(address, "y", [2], deadline: .never)
                    _ = (try? await first, try? await second)
                }
            }
            try await server.value
            asker.cancel()
            await asker.value
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            let answer = try await pair.ask("echo", [6])
            #expect(answer == [6], "seed \(seed)")
        }
    }
}

/// Bytes with random damage.
private struct Fuzz {
    private var random: Seeded

    init(_ seed: UInt64) { random = Seeded(seed) }

    private mutating func below(_ bound: Int) -> Int { bound > 0 ? Int(random.next() % UInt64(bound)) : 0 }
    private mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: random.next()) }

    mutating func damaged(_ whole: [UInt8]) -> [UInt8] {
        if below(8) == 0 { return (0..<below(200)).map { _ in byte() } }
        var bytes = whole
        // Mostly near the beginning, where the small frames are.
        for _ in 0..<below(4) {
            guard !bytes.isEmpty else { break }
            let at = below(below(2) == 0 ? min(bytes.count, 200) : bytes.count)
            let end = min(bytes.count, at + 1 + below(8))
            switch below(4) {
            case 0: bytes[at] = byte()
            case 1: bytes[at] ^= 1 << UInt8(below(8))
            case 2: bytes.removeSubrange(at..<end)
            default: bytes.insert(contentsOf: bytes[at..<end], at: at)
            }
        }
        if below(3) == 0 { bytes.removeLast(below(bytes.count)) }
        return bytes
    }
}
