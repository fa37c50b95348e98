import AffinityCore
import AffinityNet
import AffinityTestSupport
import AffinityTransport
import Testing

@Suite struct AskTests {
    @Test func anAnswerComesBack() async throws {
        try await withPair { pair in
            let loops = pair.bLoops
            pair.b.answer("double") { request, _ throws(PeerError) in
                #expect(loops.loops[0].isCurrent)
                return request + request
            }
            let answers = try await [pair.ask("double", [1, 2, 3]), pair.ask("double")]
            #expect(answers == [[1, 2, 3, 1, 2, 3], []])
            let answer = try await pair.onLoop { try await pair.ask("double", [7]) }
            #expect(answer == [7, 7])
        }
    }

    @Test func aTaskOfALoopStaysThere() async throws {
        try await withPair(loops: 2) { pair in
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            for index in 0..<2 {
                try await pair.onLoop(index) {
                    for _ in 0..<10 {
                        _ = try await pair.ask("echo", [1])
                        #expect(pair.aLoops.loops[index].isCurrent)
                    }
                }
            }
            #expect(await pair.a.statistics().connections == 2)
        }
    }

    @Test func manyAtOnceInAnyOrder() async throws {
        try await withPair(loops: 2) { pair in
            pair.b.answer("later") { request, _ throws(PeerError) in
                for _ in 0..<Int(request[0] % 7) { await Task.yield() }
                return request
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<2000 {
                    group.addTask(executorPreference: number % 3 == 0 ? nil : pair.aLoops.next()) {
                        let body = [UInt8(number & 0xFF), UInt8(number >> 8)]
                        let answer = try await pair.ask("later", body)
                        #expect(answer == body)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func largeBodies() async throws {
        try await withPair { pair in
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            for count in [65_000, 65_536, 200_000, 1 << 20] {
                let body = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
                let isSame = try await pair.onLoop { try await pair.ask("echo", body) == body }
                #expect(isSame)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<40 {
                    group.addTask {
                        let body = [UInt8](repeating: UInt8(number), count: 100_000 + number)
                        let isSame = try await pair.ask("echo", body) == body
                        #expect(isSame)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func whatAHandlerThrowsComesBackAsItIs() async throws {
        try await withPair { pair in
            pair.b.answer("fail") { request, _ throws(PeerError) in
                let codes: [PeerError.Code] = [.unreachable, .overloaded, .refused, .deadline, .lost]
                throw PeerError(codes[Int(request[0])], isNotSent: request[1] == 1, "because of ⚙ \(request)")
            }
            for (index, code) in [PeerError.Code.unreachable, .overloaded, .refused, .deadline, .lost].enumerated() {
                let error = try await failure { try await pair.ask("fail", [UInt8(index), UInt8(index % 2)]) }
                #expect(error.code == code)
                #expect(error.isNotSent == (index % 2 == 1))
                #expect(error.reason == "because of ⚙ \([index, index % 2])")
            }
        }
    }

    @Test func anUnknownTypeIsRefused() async throws {
        try await withPair { pair in
            let error = try await failure { try await pair.ask("nobody") }
            #expect(error.code == .refused)
            #expect(error.isNotSent)
            pair.b.answer("nobody") { _, _ throws(PeerError) in [1] }
            #expect(try await pair.ask("nobody") == [1])
        }
    }

    @Test func theDeadlineReachesTheHandler() async throws {
        try await withPair { pair in
            pair.b.answer("left") { _, deadline throws(PeerError) in
                let left = deadline == .never ? -1 : deadline.since(SystemClock().monotonic) / .milliseconds(1)
                return Array("\(Int(left))".utf8)
            }
            let text = String(decoding: try await pair.ask("left", within: .seconds(10)), as: UTF8.self)
            let left = try #require(Int(text))
            #expect(left > 5000 && left <= 10_001)
            let never = try await pair.a.ask(pair.address, "left", [], deadline: .never)
            #expect(String(decoding: never, as: UTF8.self) == "-1")
        }
    }

    @Test func whatIsAskedInOneTurnGoesOutInOneWrite() async throws {
        try await withPair { pair in
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            _ = try await pair.onLoop { try await pair.ask("echo") }
            let (a, b) = (await pair.a.statistics(), await pair.b.statistics())
            let loop = pair.aLoops.loops[0]
            let tasks = await withCheckedContinuation { continuation in
                loop.post {
                    let tasks = (0..<100).map { number in
                        Task(executorPreference: loop) { try await pair.ask("echo", [UInt8(number)]) }
                    }
                    continuation.resume(returning: tasks)
                }
            }
            for (number, task) in tasks.enumerated() { #expect(try await task.value == [UInt8(number)]) }
            #expect(await pair.a.statistics().writes == a.writes + 1)
            #expect(await pair.b.statistics().writes == b.writes + 1)
        }
    }

    @Test func bothSidesAskEachOther() async throws {
        try await withPair { pair in
            let port = try await pair.a.listen(host: "localhost", port: 0)
            let a = PeerAddress(node: NodeID("a"), host: "localhost", port: port)
            pair.a.answer("name") { _, _ throws(PeerError) in [1] }
            pair.b.answer("name of the asker") { _, deadline throws(PeerError) in
                try await pair.b.ask(a, "name", [], deadline: deadline) + [2]
            }
            #expect(try await pair.ask("name of the asker") == [1, 2])
        }
    }
}
