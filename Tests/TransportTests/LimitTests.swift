import AffinityCore
import AffinityNet
import AffinityTestSupport
import AffinityTransport
import Testing

@Suite struct LimitTests {
    @Test func aRequestBeyondTheOwnLimitIsNotSent() async throws {
        try await withPair(a: { $0.frameLimit = 4096 }) { pair in
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            let most = 4096 - 13 - 5 - 4
            let answer = try await failureOrCount { try await pair.ask("echo", [UInt8](repeating: 1, count: most)) }
            // The answer has a smaller header.
            #expect(answer == most)
            let error = try await failure { try await pair.ask("echo", [UInt8](repeating: 1, count: most + 1)) }
            #expect(error.code == .refused && error.isNotSent)
            let name = try await failure { try await pair.ask(String(repeating: "x", count: 256)) }
            #expect(name.code == .refused && name.isNotSent)
            #expect(await pair.a.statistics().connections == 1)
        }
    }

    private func failureOrCount(_ body: () async throws -> [UInt8]) async throws -> Int { try await body().count }

    @Test func aRequestBeyondThePeersLimitIsSkipped() async throws {
        try await withPair(b: { $0.frameLimit = 4096 }) { pair in
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<60 {
                    group.addTask {
                        let body = [UInt8](repeating: 1, count: number % 3 == 0 ? 200_000 + number : number)
                        guard number % 3 == 0 else {
                            let answer = try await pair.ask("echo", body)
                            return #expect(answer == body)
                        }
                        let error = try await failure { try await pair.ask("echo", body) }
                        #expect(error.code == .refused && error.isNotSent, "\(error)")
                    }
                }
                try await group.waitForAll()
            }
            #expect(await pair.a.statistics().connections == 1)
        }
    }

    @Test func anAnswerBeyondALimitIsLost() async throws {
        for isAsker in [true, false] {
            try await withPair(
                a: { $0.frameLimit = isAsker ? 4096 : 1 << 20 }, b: { $0.frameLimit = isAsker ? 1 << 20 : 4096 }
            ) { pair in
                pair.b.answer("large") { _, _ throws(PeerError) in [UInt8](repeating: 1, count: 200_000) }
                pair.b.answer("echo") { request, _ throws(PeerError) in request }
                let error = try await failure { try await pair.ask("large") }
                #expect(error.code == .lost && !error.isNotSent, "\(error)")
                let answer = try await pair.ask("echo", [1])
                #expect(answer == [1])
                #expect(await pair.a.statistics().connections == 1)
            }
        }
    }

    @Test func tooManyRequestsAreOverloaded() async throws {
        for isAsker in [true, false] {
            try await withPair(a: { if isAsker { $0.requestLimit = 3 } }, b: { if !isAsker { $0.handlerLimit = 3 } }) {
                pair in
                let gate = Gate()
                pair.b.answer("wait") { request, _ throws(PeerError) in
                    await gate.pass()
                    return request
                }
                let tasks = (0..<3).map { number in Task { try await pair.ask("wait", [number]) } }
                try await gate.waitForVisitors(3)
                let error = try await failure { try await pair.ask("wait") }
                #expect(error.code == .overloaded && error.isNotSent, "\(error)")
                gate.open()
                for (number, task) in tasks.enumerated() { #expect(try await task.value == [UInt8(number)]) }
                let answer = try await pair.ask("wait", [9])
                #expect(answer == [9])
            }
        }
    }

    @Test func handlersThatNobodyAwaitsCountToo() async throws {
        try await withPair(b: { $0.requestLimit = 2 }) { pair in
            let gate = Gate()
            pair.b.answer("wait") { _, _ throws(PeerError) in
                // Deaf to its cancellation.
                let task = Task { await gate.pass() }
                await task.value
                return []
            }
            for number in 1...2 {
                let task = Task { try await failure { try await pair.ask("wait") } }
                try await gate.waitForVisitors(number)
                task.cancel()
                _ = try await task.value
            }
            let error = try await failure { try await pair.ask("wait") }
            #expect(error.code == .overloaded && error.isNotSent)
            gate.open()
            // What runs ends soon.
            var answer: [UInt8]?
            while answer == nil { answer = try? await pair.ask("wait") }
        }
    }

    @Test func bytesOfRequestsAreLimited() async throws {
        try await withPair(b: {
            $0.handledBytesLimit = 100_000
            $0.frameLimit = 100_000
        }) { pair in
            let gate = Gate()
            pair.b.answer("wait") { request, _ throws(PeerError) in
                await gate.pass()
                return []
            }
            let body = [UInt8](repeating: 1, count: 60_000)
            async let first = pair.ask("wait", body)
            try await gate.waitForVisitors(1)
            let error = try await failure { try await pair.ask("wait", body) }
            #expect(error.code == .overloaded && error.isNotSent)
            gate.open()
            _ = try await first
            _ = try await pair.ask("wait", body)
        }
    }

    @Test func aPeerThatDoesNotReadIsOverloaded() async throws {
        try await withPair(a: {
            $0.frameLimit = 100_000
            $0.unsentLimit = 200_000
        }) { pair in
            let listener = try RawListener()
            let address = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: listener.port)
            let body = [UInt8](repeating: 1, count: 50_000)
            let overloaded = Counter()
            let raw = Task {
                try await onThread { () throws in
                    let raw = try listener.accept()
                    try raw.welcome()
                    try raw.send(frame(Kind.response, try raw.expect(Kind.request).id))
                    try waitUntil("overload") { overloaded.value > 0 }
                    while let next = try raw.receiveFrame() { try raw.send(frame(Kind.response, next.id)) }
                }
            }
            _ = try await pair.a.ask(address, "x", [], deadline: .never)
            try await withThrowingTaskGroup(of: Void.self) { group in
                // More than the system keeps.
                for _ in 0..<400 {
                    group.addTask {
                        do {
                            _ = try await pair.a.ask(address, "x", body, deadline: .never)
                        } catch let error as PeerError {
                            #expect(error.code == .overloaded && error.isNotSent)
                            overloaded.add()
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(overloaded.value < 400)
            pair.a.close()
            try await raw.value
        }
    }

    @Test func whoDoesNotTakeItsAnswersIsReadNoMore() async throws {
        try await withPair(b: {
            $0.unsentLimit = 2 << 20
            $0.keepAliveInterval = .seconds(60)
        }) { pair in
            let calls = Counter()
            let body = [UInt8](repeating: 1, count: 50_000)
            pair.b.answer("large") { request, _ throws(PeerError) in
                calls.add()
                return body + request
            }
            let count = 4000
            let raw = try await onThread { () throws in
                let raw = try RawPeer(port: pair.address.port)
                try raw.greet()
                return raw
            }
            // Each request fills a read's tenth, so that not all of them come at once.
            let padding = [UInt8](repeating: 2, count: 6000)
            let sender = Task {
                try await onThread { () throws in
                    for number in 0..<count { try raw.send(request(UInt64(number % 1024), "large", padding)) }
                }
            }
            var before = -1
            while calls.value != before || before < 20 {
                before = calls.value
                try await Task.sleep(for: .milliseconds(100))
            }
            // The system's buffers, and those here.
            #expect(calls.value < 600, "\(calls.value) of \(count)")
            #expect(await pair.b.statistics().unsentBytes <= 2 << 20)
            try await onThread { () throws in
                for _ in 0..<count { #expect(try raw.expect(Kind.response).payload.count == 56_000) }
            }
            try await sender.value
            #expect(calls.value == count)
        }
    }

    @Test func connectionsAreLimited() async throws {
        try await withPair(b: { $0.connectionLimit = 2 }) { pair in
            try await onThread { () throws in
                var open = try (0..<2).map { _ in try RawPeer(port: pair.address.port) }
                for raw in open { try raw.greet() }
                try RawPeer(port: pair.address.port).waitForEnd()
                open.removeFirst()
                try waitUntil("a place") {
                    guard let raw = try? RawPeer(port: pair.address.port) else { return false }
                    return (try? raw.greet()) != nil
                }
            }
        }
    }

    @Test func peersAreLimited() async throws {
        try await withPair(a: { $0.peerLimit = 2 }) { pair in
            let listeners = try [RawListener(), RawListener()]
            let gone = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: 70_000)
            _ = try await failure { try await pair.a.ask(gone, "x", [], deadline: .never) }
            for listener in listeners {
                let address = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: listener.port)
                // The one that is gone makes room.
                let task = Task { try await pair.a.ask(address, "x", [], deadline: .never) }
                try await onThread { () throws in try listener.accept().welcome() }
                _ = await task.result
            }
        }
    }
}
