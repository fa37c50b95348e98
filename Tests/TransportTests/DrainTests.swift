import AffinityCore
import AffinityNet
import AffinityTestSupport
import AffinityTransport
import Glibc
import Testing

@Suite struct DrainTests {
    @Test func whatRunsIsAnsweredAndNothingElseIsTaken() async throws {
        try await withPair(loops: 2) { pair in
            let gate = Gate()
            pair.b.answer("wait") { request, _ throws(PeerError) in
                await gate.pass()
                return request
            }
            let tasks = (0..<4).map { number in
                Task(executorPreference: pair.aLoops.next()) { try await pair.ask("wait", [number]) }
            }
            try await gate.waitForVisitors(4)
            async let drained: Void = pair.b.drain(within: .seconds(20))
            var error: PeerError?
            // Until the goodbyes have come, requests are taken, and wait at the gate.
            while error == nil || error?.isNotSent == false {
                error = try await failure { try await pair.ask("wait", within: .milliseconds(20)) }
            }
            #expect(error?.code == .unreachable, "\(String(describing: error))")
            gate.open()
            for (number, task) in tasks.enumerated() { #expect(try await task.value == [UInt8(number)]) }
            await drained
            #expect(await pair.b.statistics().unsentBytes == 0)
            let after = try await failure { try await pair.ask("wait") }
            #expect(after.isNotSent)
        }
    }

    @Test func handlersAskUntilTheyHaveEnded() async throws {
        try await withPair { pair in
            let port = try await pair.a.listen(host: "127.0.0.1", port: 0)
            let a = PeerAddress(node: NodeID("a"), host: "127.0.0.1", port: port)
            let gate = Gate()
            pair.a.answer("name") { _, _ throws(PeerError) in [1] }
            pair.b.answer("name of the asker") { _, deadline throws(PeerError) in
                await gate.pass()
                return try await pair.b.ask(a, "name", [], deadline: deadline)
            }
            let task = Task { try await pair.ask("name of the asker") }
            try await gate.waitForVisitors(1)
            async let drained: Void = pair.b.drain(within: .seconds(20))
            _ = await pair.b.statistics()
            gate.open()
            #expect(try await task.value == [1])
            await drained
            let closed = try await failure { try await pair.b.ask(a, "name", [], deadline: .never) }
            #expect(closed.code == .unreachable && closed.isNotSent)
        }
    }

    @Test func theOwnRequestsAreAnsweredBefore() async throws {
        try await withPair { pair in
            let gate = Gate()
            pair.b.answer("wait") { request, _ throws(PeerError) in
                await gate.pass()
                return request
            }
            let task = Task { try await pair.ask("wait", [8]) }
            try await gate.waitForVisitors(1)
            async let drained: Void = pair.a.drain(within: .seconds(20))
            _ = await pair.a.statistics()
            gate.open()
            #expect(try await task.value == [8])
            await drained
        }
    }

    @Test func afterTheLimitTheRestIsClosed() async throws {
        try await withPair { pair in
            let gate = pair.holdAnswers()
            async let error = failure { try await pair.ask("wait") }
            try await gate.waitForVisitors(1)
            await pair.b.drain(within: .milliseconds(30))
            #expect(try await error.code == .lost)
            try await gate.waitForCancelled(1)
            await pair.b.drain(within: .milliseconds(30))
        }
    }

    @Test func whoIsSlowGetsItsAnswers() async throws {
        try await withPair(b: {
            $0.lingerTime = .milliseconds(300)
            $0.unsentLimit = 1 << 28
        }) { pair in
            pair.b.answer("large") { _, _ throws(PeerError) in [UInt8](repeating: 1, count: 1 << 20) }
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            let raw = try await onThread { () throws in
                let raw = try RawPeer(port: pair.address.port)
                try raw.greet()
                for number in 0..<30 { try raw.send(request(UInt64(number), "large")) }
                try raw.expect(Kind.response)
                return raw
            }
            async let drained: Void = pair.b.drain(within: .seconds(20))
            // Until the other asker has been told.
            while (try? await pair.ask("echo")) != nil {}
            try await onThread { () throws in
                try raw.send(frame(Kind.goodbye))
                var answers = 1
                while let next = try raw.receiveFrame() {
                    if next.kind == Kind.response { answers += 1 }
                    // Longer, in all, than the other side may take to end.
                    usleep(20_000)
                }
                #expect(answers == 30)
            }
            await drained
        }
    }

    @Test func whoSaysNoGoodbyeIsClosedAfterTheLimit() async throws {
        try await withPair { pair in
            let raw = try await onThread { () throws in
                let raw = try RawPeer(port: pair.address.port)
                try raw.greet()
                return raw
            }
            await pair.b.drain(within: .milliseconds(30))
            try await onThread { () throws in
                #expect(try raw.expect(Kind.goodbye).text == "the node is closing")
                try raw.waitForEnd()
            }
        }
    }
}
