import AffinityCore
import AffinityNet
import AffinityTestSupport
import AffinityTransport
import Testing

@Suite struct EndTests {
    @Test func aPeerThatEndsLosesWhatItHas() async throws {
        try await withPair { pair in
            let gate = pair.holdAnswers()
            async let error = failure { try await pair.ask("wait") }
            try await gate.waitForVisitors(1)
            pair.b.close()
            let lost = try await error
            #expect(lost.code == .lost && !lost.isNotSent, "\(lost)")
            try await gate.waitForCancelled(1)
            let after = try await failure { try await pair.ask("wait") }
            #expect(after.isNotSent, "\(after)")
        }
    }

    @Test func whatTheSystemHasNotTakenIsNotSent() async throws {
        try await withPair(a: { $0.unsentLimit = 1 << 26 }) { pair in
            let listener = try RawListener()
            let address = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: listener.port)
            // More than the system keeps, in frames that are known to be whole or not.
            let tasks = (0..<48).map { _ in
                Task(executorPreference: pair.aLoops.loops[0]) {
                    try await failure {
                        try await pair.a.ask(address, "x", [UInt8](repeating: 1, count: 1 << 20), deadline: .never)
                    }
                }
            }
            let received = try await onThread { () throws -> Int in
                let raw = try listener.accept()
                try raw.welcome()
                for _ in 0..<3 { try raw.expect(Kind.request) }
                return 3
            }
            var sent = 0
            for task in tasks {
                let error = try await task.value
                #expect(error.code == .lost)
                if !error.isNotSent { sent += 1 }
            }
            #expect(sent >= received && sent < tasks.count, "\(sent) of \(tasks.count) count as sent")
        }
    }

    @Test func aPeerThatVanishedIsNoticed() async throws {
        try await withPair(a: {
            $0.keepAliveInterval = .milliseconds(20)
            $0.keepAlivePatience = .milliseconds(400)
        }) { pair in
            let listener = try RawListener()
            let address = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: listener.port)
            async let error = failure { try await pair.a.ask(address, "x", [], deadline: .never) }
            let raw = try await onThread { () throws in
                let raw = try listener.accept()
                try raw.welcome()
                try raw.expect(Kind.request)
                // As long as it answers, it lives.
                for _ in 0..<5 { try raw.send(frame(Kind.pong, try raw.expect(Kind.ping).id)) }
                try raw.expect(Kind.ping)
                return raw
            }
            let lost = try await error
            #expect(lost.code == .lost && !lost.isNotSent)
            #expect(lost.reason.contains("no sign of life"), "\(lost)")
            withExtendedLifetime(raw) {}
        }
    }

    @Test func anAskerThatVanishedIsNoticed() async throws {
        try await withPair(b: {
            $0.keepAliveInterval = .milliseconds(20)
            $0.keepAlivePatience = .milliseconds(400)
        }) { pair in
            let gate = pair.holdAnswers()
            try await onThread { () throws in
                let raw = try RawPeer(port: pair.address.port)
                try raw.greet()
                try raw.send(request(0, "wait") + frame(Kind.ping, 77))
                #expect(try raw.expectAmongPings(Kind.pong).id == 77)
                try raw.expect(Kind.ping)
                try raw.waitForEnd()
            }
            try await gate.waitForCancelled(1)
        }
    }

    @Test func aQuietConnectionIsKept() async throws {
        func quick(_ configuration: inout PeerLinkConfiguration) {
            configuration.keepAliveInterval = .milliseconds(10)
            configuration.keepAlivePatience = .milliseconds(500)
        }
        try await withPair(a: quick, b: quick) { pair in
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            _ = try await pair.ask("echo")
            let before = await pair.a.statistics()
            // A ping and an answer to one each time.
            while await pair.a.statistics().writes < before.writes + 4 { try await Task.sleep(for: .milliseconds(5)) }
            _ = try await pair.ask("echo")
            #expect(await pair.a.statistics().connections == 1)
        }
    }

    @Test func anotherConnectionFollows() async throws {
        try await withPair { pair in
            let listener = try RawListener()
            let address = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: listener.port)
            for round in 0..<3 {
                async let error = failure { try await pair.a.ask(address, "x", [], deadline: .never) }
                try await onThread { () throws in
                    let raw = try listener.accept()
                    try raw.welcome()
                    try raw.expect(Kind.request)
                }
                let lost = try await error
                #expect(lost.code == .lost && !lost.isNotSent, "round \(round)")
            }
        }
    }

    @Test func loopsCanEndBeforeTheirLink() async throws {
        try await withPair { pair in
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            _ = try await pair.ask("echo")
            let gate = pair.holdAnswers()
            async let error = failure { try await pair.ask("wait") }
            try await gate.waitForVisitors(1)
            await pair.bLoops.shutdown()
            #expect(try await error.code == .lost)
            await pair.b.drain(within: .seconds(1))
            await pair.aLoops.shutdown()
            #expect(try await failure { try await pair.ask("echo") }.code == .unreachable)
        }
    }
}
