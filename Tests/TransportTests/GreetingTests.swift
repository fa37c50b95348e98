import AffinityCore
import AffinityNet
import AffinityTestSupport
import AffinityTransport
import Testing

private let secret = Array("a secret of 24 bytes ...".utf8)
private let otherSecret = Array("another secret, 24 bytes".utf8)

@Suite struct GreetingTests {
    @Test func bothSidesHaveTheSecret() async throws {
        try await withPair(a: { $0.secret = secret }, b: { $0.secret = secret }) { pair in
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            let answer = try await pair.ask("echo", [1])
            #expect(answer == [1])
        }
    }

    private struct Secrets {
        var a: [UInt8]?
        var b: [UInt8]?
        var reason: String
    }

    @Test(arguments: [
        Secrets(a: otherSecret, b: secret, reason: "another secret"),
        Secrets(a: nil, b: secret, reason: "asks for a secret"), Secrets(a: secret, b: nil, reason: "has no secret"),
    ])
    private func theSecretMustBeTheSame(_ secrets: Secrets) async throws {
        try await withPair(a: { $0.secret = secrets.a }, b: { $0.secret = secrets.b }) { pair in
            let error = try await failure { try await pair.ask("echo") }
            #expect(error.code == .refused && error.isNotSent)
            #expect(error.reason.contains(secrets.reason), "\(error)")
            try await onThread {
                try waitUntil("a report") { pair.reports.texts.contains { $0.contains("came to nothing node=a") } }
            }
        }
    }

    @Test func anotherSystemIsRefused() async throws {
        try await withPair(a: { $0.system = "other" }) { pair in
            let error = try await failure { try await pair.ask("echo") }
            #expect(error.code == .refused && error.isNotSent)
            #expect(error.reason.contains("belongs to the system test, not to other"), "\(error)")
        }
    }

    @Test func anotherNodeIsRefused() async throws {
        try await withPair(meant: "c") { pair in
            let error = try await failure { try await pair.ask("echo") }
            #expect(error.code == .refused && error.isNotSent)
            #expect(error.reason.contains("this is the node b, not c"), "\(error)")
        }
    }

    @Test func anotherVersionIsRefused() async throws {
        try await withPair(b: { $0.secret = secret }) { pair in
            try await onThread { () throws in
                let raw = try RawPeer(port: pair.address.port)
                try raw.send(hello(version: 2))
                let refusal = try raw.expect(Kind.refusal)
                #expect(refusal.text == "this node speaks version 1 of the protocol, not 2")
                try raw.waitForEnd()
            }
        }
    }

    @Test func whoDoesNotHaveTheSecretLearnsNothing() async throws {
        try await withPair(b: { $0.secret = secret }) { pair in
            try await onThread { () throws in
                for system in ["test", "other"] {
                    let raw = try RawPeer(port: pair.address.port)
                    try raw.send(hello(isSecured: true, system: system, meant: "x"))
                    let challenge = try raw.expect(Kind.challenge)
                    #expect(challenge.payload.count == 32)
                    // Its own words are no proof either.
                    try raw.send(frame(Kind.proof, 0, challenge.payload))
                    #expect(try raw.expect(Kind.refusal).text == "this node has another secret")
                    try raw.waitForEnd()
                }
            }
        }
    }

    @Test func whoAnswersWithoutTheSecretIsRefused() async throws {
        try await withPair(a: { $0.secret = secret }) { pair in
            let listener = try RawListener()
            let address = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: listener.port)
            async let first = failure { try await pair.a.ask(address, "echo", [], deadline: .never) }
            try await onThread { () throws in
                let raw = try listener.accept()
                try raw.expect(Kind.hello)
                try raw.send(frame(Kind.welcome, 0, []))
                #expect(try raw.expect(Kind.refusal).text.contains("does not have this node's secret"))
            }
            #expect(try await first.code == .refused)
            try await waitForRetry(pair.a, address)
            async let second = failure { try await pair.a.ask(address, "echo", [], deadline: .never) }
            try await onThread { () throws in
                let raw = try listener.accept()
                try raw.expect(Kind.hello)
                try raw.send(frame(Kind.challenge, 0, [UInt8](repeating: 1, count: 32)))
                // The asker's proof must not do as the answerer's.
                try raw.send(frame(Kind.welcome, 0, try raw.expect(Kind.proof).payload))
                #expect(try raw.expect(Kind.refusal).text.contains("does not have this node's secret"))
            }
            #expect(try await second.code == .refused)
        }
    }

    /// Until the peer is not left alone any more: then a connection is opened that ends at once.
    private func waitForRetry(_ link: TCPPeerLink, _ address: PeerAddress) async throws {
        try await Task.sleep(for: .milliseconds(60))
    }

    @Test func whoSaysNothingIsClosedAfterATime() async throws {
        try await withPair(a: { $0.connectTime = .milliseconds(50) }, b: { $0.connectTime = .milliseconds(50) }) {
            pair in
            try await onThread { () throws in try RawPeer(port: pair.address.port).waitForEnd() }
            let listener = try RawListener()
            let address = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: listener.port)
            let error = try await failure { try await pair.a.ask(address, "echo", [], deadline: .never) }
            #expect(error.code == .unreachable && error.isNotSent)
            #expect(error.reason.contains("handshake took too long"), "\(error)")
        }
    }

    @Test func nobodyThere() async throws {
        try await withPair { pair in
            let closed = try RawListener(listens: false)
            let port = closed.port
            for host in ["127.0.0.1", "localhost"] {
                let address = PeerAddress(node: NodeID("b"), host: host, port: port)
                let error = try await failure { try await pair.a.ask(address, "echo", [], deadline: .never) }
                #expect(error.code == .unreachable && error.isNotSent)
                // Left alone for a while: the same error at once.
                let again = try await failure { try await pair.a.ask(address, "echo", [], deadline: .never) }
                #expect(again.reason == error.reason)
            }
            let nowhere = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: 70_000)
            #expect(try await failure { try await pair.a.ask(nowhere, "x", [], deadline: .never) }.code == .unreachable)
        }
    }

    @Test func aPeerThatComesBackIsAskedAgain() async throws {
        try await withPair(a: { $0.retryTimeLimit = .milliseconds(60) }) { pair in
            let group = try EventLoopGroup(count: 1)
            var closed: RawListener? = try RawListener(listens: false)
            let port = try #require(closed?.port)
            let address = PeerAddress(node: NodeID("c"), host: "127.0.0.1", port: port)
            #expect(
                try await failure { try await pair.a.ask(address, "echo", [], deadline: .never) }.code == .unreachable)
            let c = try TCPPeerLink(
                group: group, configuration: PeerLinkConfiguration(system: "test", node: NodeID("c")))
            c.answer("echo") { request, _ throws(PeerError) in request }
            closed = nil
            // A connection, or a program that another test is starting, may have the port for a moment.
            while (try? await c.listen(host: "127.0.0.1", port: port)) == nil { await Task.yield() }
            var answer: [UInt8]?
            while answer == nil { answer = try? await pair.a.ask(address, "echo", [3], deadline: .never) }
            #expect(answer == [3])
            c.close()
            await group.shutdown()
        }
    }

    @Test func valuesThatCannotBeUsed() async throws {
        let group = try EventLoopGroup(count: 1)
        let changes: [(inout PeerLinkConfiguration) -> Void] = [
            { $0.system = "" }, { $0.node = NodeID(String(repeating: "x", count: 256)) }, { $0.secret = [1, 2, 3] },
            { $0.frameLimit = 10 }, { $0.unsentLimit = 10 }, { $0.requestLimit = 0 }, { $0.handlerLimit = 1 << 31 },
            { $0.keepAliveInterval = .zero }, { $0.lingerTime = .seconds(1_000_000) },
        ]
        for change in changes {
            var configuration = PeerLinkConfiguration(system: "test", node: NodeID("a"))
            change(&configuration)
            #expect(throws: NetError.self) { try TCPPeerLink(group: group, configuration: configuration) }
        }
        let configuration = PeerLinkConfiguration(system: "test", node: NodeID("a"), secret: secret)
        var text = ""
        dump(configuration, to: &text)
        #expect(!"\(text) \(configuration)".contains("\(secret[0])"))
        await group.shutdown()
    }
}
