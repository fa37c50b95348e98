import AffinityCore
import AffinityNet
import AffinityTestSupport
import AffinityTransport
import Testing

@Suite struct CancellationTests {
    @Test(arguments: [true, false]) func aCancelledCallerIsDoneAtOnceAndTheHandlerIsTold(_ onLoop: Bool) async throws {
        try await withPair { pair in
            let gate = pair.holdAnswers()
            let task = Task(executorPreference: onLoop ? pair.aLoops.loops[0] : nil) {
                try await failure { try await pair.ask("wait") }
            }
            try await gate.waitForVisitors(1)
            task.cancel()
            let error = try await task.value
            #expect(error.code == .lost && !error.isNotSent)
            try await gate.waitForCancelled(1)
            let second = Task { try await failure { try await pair.ask("wait") } }
            second.cancel()
            _ = try await second.value
        }
    }

    @Test(arguments: [true, false]) func aWithdrawnRequestIsOverAtOnceAndTheHandlerIsTold(_ onLoop: Bool) async throws {
        try await withPair { pair in
            let gate = pair.holdAnswers()
            let withdrawal = Withdrawal()
            let task = Task(executorPreference: onLoop ? pair.aLoops.loops[0] : nil) {
                try await failure {
                    try await pair.a.ask(pair.address, "wait", [], deadline: .never, withdrawal: withdrawal)
                }
            }
            try await gate.waitForVisitors(1)
            withdrawal.withdraw()
            let error = try await task.value
            #expect(error.code == .lost && !error.isNotSent && !task.isCancelled)
            try await gate.waitForCancelled(1)
            let again = try await failure {
                try await pair.a.ask(pair.address, "wait", [], deadline: .never, withdrawal: withdrawal)
            }
            #expect(again.code == .lost && again.isNotSent)
        }
    }

    @Test func aRequestThatIsAnsweredIsWithdrawnInVain() async throws {
        try await withPair { pair in
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            for number in 0..<100 as Range<UInt8> {
                let withdrawal = Withdrawal()
                let answer = try await pair.a.ask(
                    pair.address, "echo", [number], deadline: .never, withdrawal: withdrawal)
                #expect(answer == [number])
                // The place of the former request is the next one's.
                withdrawal.withdraw()
            }
        }
    }

    @Test func whoIsCancelledBeforeIsNotSent() async throws {
        try await withPair { pair in
            let task = Task {
                while !Task.isCancelled { await Task.yield() }
                return try await failure { try await pair.ask("wait") }
            }
            task.cancel()
            let error = try await task.value
            #expect(error.code == .lost && error.isNotSent)
        }
    }

    @Test func whoIsCancelledWhileTheConnectionIsMadeIsNotSent() async throws {
        try await withPair { pair in
            let listener = try RawListener()
            let address = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: listener.port)
            let task = Task { try await failure { try await pair.a.ask(address, "x", [], deadline: .never) } }
            let raw = try await onThread {
                let raw = try listener.accept()
                try raw.expect(Kind.hello)
                return raw
            }
            task.cancel()
            let error = try await task.value
            #expect(error.code == .lost && error.isNotSent)
            async let other = pair.a.ask(address, "other", [], deadline: .never)
            // Behind the other request in the loop's order.
            _ = await pair.a.statistics()
            try await onThread { () throws in
                try raw.send(frame(Kind.welcome))
                let request = try raw.expect(Kind.request)
                #expect(request.payload.count == 10)
                try raw.send(frame(Kind.response, request.id, [5]))
            }
            let answer = try await other
            #expect(answer == [5])
        }
    }

    @Test func theDeadlineEndsTheWaitAndTheHandler() async throws {
        try await withPair { pair in
            let gate = pair.holdAnswers()
            pair.b.answer("echo") { request, _ throws(PeerError) in request }
            _ = try await pair.ask("echo")
            let errors = try await withThrowingTaskGroup(of: PeerError.self) { group in
                for delay in [50, 30, 40, 31] {
                    group.addTask {
                        try await failure { try await pair.ask("wait", within: .milliseconds(delay)) }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for error in errors { #expect(error.code == .deadline && !error.isNotSent) }
            try await gate.waitForCancelled(4)
            let passed = try await failure { try await pair.ask("echo", within: .zero) }
            #expect(passed.code == .deadline && passed.isNotSent)
            let answer = try await pair.ask("echo", [4])
            #expect(answer == [4])
        }
    }

    @Test func aCallerThatIsGoneCancelsTheHandlers() async throws {
        try await withPair { pair in
            let gate = pair.holdAnswers()
            async let first = failure { try await pair.ask("wait") }
            async let second = failure { try await pair.ask("wait") }
            try await gate.waitForVisitors(2)
            pair.a.close()
            #expect(try await [first.code, second.code] == [.lost, .lost])
            try await gate.waitForCancelled(2)
            let after = try await failure { try await pair.ask("wait") }
            #expect(after.code == .unreachable && after.isNotSent)
        }
    }

    @Test func anAnswerThatComesTooLateIsNobodys() async throws {
        try await withPair { pair in
            let listener = try RawListener()
            let address = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: listener.port)
            let task = Task { try await failure { try await pair.a.ask(address, "x", [], deadline: .never) } }
            let (raw, id) = try await onThread {
                let raw = try listener.accept()
                try raw.welcome()
                return (raw, try raw.expect(Kind.request).id)
            }
            task.cancel()
            #expect(try await task.value.code == .lost)
            async let other = pair.a.ask(address, "x", [], deadline: .never)
            try await onThread { () throws in
                #expect(try raw.expect(Kind.cancel).id == id)
                let request = try raw.expect(Kind.request)
                #expect(request.id != id)
                try raw.send(frame(Kind.response, id, [1]) + frame(Kind.response, request.id, [2]))
            }
            let answer = try await other
            #expect(answer == [2])
        }
    }
}
