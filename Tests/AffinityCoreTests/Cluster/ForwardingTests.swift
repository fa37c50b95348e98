import AffinityTesting
import Testing

@testable import AffinityCore

/// What goes from node to node, requests that wait for a master, and what is asked again.
@Suite struct ForwardingTests {
    private let partition = PartitionID(keyspace: "kv", number: 3)

    private var request: ForwardedRequest {
        var envelope = Envelope(
            traceparent: "00-a-b-01", principal: "me", origin: "there",
            idempotency: IdempotencyKey("key", digest: [1, 2, 3]))
        envelope.positions = [3: Position([Offset(7), Offset(1 << 40)]), 4: Position([Offset(1)])]
        return ForwardedRequest(partition, "Put", [9, 8, 7], envelope, isTold: true)
    }

    @Test func aRequestComesAsItWasSent() throws {
        let found = try ForwardedRequest(bytes: request.bytes)
        #expect(found.keyspace == "kv" && found.partition == 3 && found.name == "Put" && found.isTold)
        #expect(found.message == [9, 8, 7])
        let envelope = found.envelope(deadline: MonotonicTime(nanoseconds: 5))
        #expect(envelope.traceparent == "00-a-b-01" && envelope.principal == "me" && envelope.origin == "there")
        #expect(envelope.idempotency == IdempotencyKey("key", digest: [1, 2, 3]))
        #expect(envelope.positions == [3: Position([Offset(7), Offset(1 << 40)])])
        #expect(envelope.deadline == MonotonicTime(nanoseconds: 5))
        let plain = try ForwardedRequest(bytes: ForwardedRequest(partition, "Get", [], Envelope()).bytes)
        #expect(plain.traceparent == nil && plain.idempotency == nil && plain.position == nil && !plain.isTold)
    }

    @Test func anErrorMeansTheSameOnTheOtherNode() throws {
        let reached = AskError.Reached(partition, Position([Offset(4)]))
        let errors = [
            AskError(.notApplied, .overloaded, "full"), AskError(.unknown, .deadline, "late", reached: reached),
            AskError(.notApplied, .repeated, "twice", reached: reached),
            AskError(
                rejected: Rejected(.conflict, "no", details: ["a": "b"]), reached: reached, isReplay: true),
        ]
        for error in errors {
            let found = try #require(ForwardedAnswer(bytes: ForwardedAnswer(error).bytes()).error(partition))
            #expect(found.outcome == error.outcome && found.code == error.code && found.reason == error.reason)
            #expect(found.rejection == error.rejection && found.isReplay == error.isReplay)
            #expect(found.reached == error.reached)
        }
    }

    @Test func damagedBytesAreErrorsAndNeverTrap() throws {
        let seed = UInt64.random(in: 0 ... .max)
        let random = SeededRandom(seed)
        var answer = ForwardedAnswer()
        answer.position = [1, 2, 3]
        answer.reply = [1, 2]
        let texts = [request.bytes, try answer.bytes(), try ForwardedAnswer(AskError(.unknown, .failed, "x")).bytes()]
        for round in 0..<20_000 {
            var bytes = texts[round % texts.count]
            for _ in 0...random.next() % 4 where !bytes.isEmpty {
                let place = Int(random.next() % UInt64(bytes.count))
                if random.next() % 3 == 0 {
                    bytes.removeSubrange(place...)
                } else {
                    bytes[place] = UInt8(random.next() & 255)
                }
            }
            _ = try? ForwardedRequest(bytes: bytes)
            _ = try? ForwardedAnswer(bytes: bytes).error(partition)
        }
        print("forwarding: seed \(seed)")
    }

    // MARK: - Waiting

    private func wait(
        _ held: HeldRequests, _ executor: ManualExecutor, bytes: Int = 1, for duration: Duration = .seconds(1),
        since changes: UInt64? = nil
    ) -> Answered<HeldRequests.End> {
        let since = changes ?? held.changes(0)
        let time = executor.clock.monotonic.advanced(by: duration)
        return executor.start { () throws(AskError) in
            await held.wait(0, since: since, bytes: bytes, until: time)
        }
    }

    @Test func aHeldRequestGoesOnWithAChangeOrWhenItsTimeIsOver() {
        let executor = ManualExecutor()
        let held = HeldRequests(partitions: 2, count: 10, bytes: 100, executor: executor)
        let before = held.changes(0)
        let (first, second) = (wait(held, executor), wait(held, executor, for: .seconds(2)))
        executor.advance(by: .seconds(1))
        #expect(first.value == .late && second.isWaiting)
        held.wake([1])
        executor.run()
        #expect(second.isWaiting, "another partition's change")
        held.wake([0])
        executor.run()
        #expect(second.value == .changed && held.count == 0)
        #expect(wait(held, executor, since: before).value == .changed, "a change in between is not missed")
    }

    @Test func heldRequestsAreBoundedInNumberAndBytes() {
        let executor = ManualExecutor()
        let held = HeldRequests(partitions: 2, count: 2, bytes: 100, executor: executor)
        let first = wait(held, executor, bytes: 60)
        #expect(wait(held, executor, bytes: 60).value == .full)
        let second = wait(held, executor, bytes: 40)
        #expect(wait(held, executor, bytes: 0).value == .full)
        held.wake([0])
        executor.run()
        #expect(first.value == .changed && second.value == .changed)
        #expect(wait(held, executor, bytes: 100).isWaiting)
    }

    // MARK: - Asking again

    /// A link that answers as the test says, one answer for each request.
    private final class ScriptedLink: PeerLink {
        private let answers: Box<[Result<[UInt8], PeerError>]>
        let asked = Box(0)

        init(_ answers: [Result<[UInt8], PeerError>]) { self.answers = Box(answers) }

        func ask(
            _ peer: PeerAddress, _ type: String, _ body: [UInt8], deadline: MonotonicTime
        ) async throws(PeerError) -> [UInt8] {
            asked.change { $0 += 1 }
            return try answers.change { $0.count > 1 ? $0.removeFirst() : $0[0] }.get()
        }

        func answer(
            _ type: String,
            _ body:
                @escaping @Sendable (_ request: [UInt8], _ deadline: MonotonicTime) async throws(PeerError) -> [UInt8]
        ) {}
    }

    private func send(
        _ keyspace: String, _ link: ScriptedLink, idempotency: IdempotencyKey? = nil
    ) throws -> (Answered<Commit<[String]>>, ManualExecutor) {
        let executor = ManualExecutor()
        let table = RoutingTable()
        let node = PeerAddress(node: NodeID("n2"), host: "there", port: 1)
        table.update(keyspace, [0: .init(master: node, grant: 1)])
        var environment = PartitionEnvironment(
            node: NodeID("n1"), clock: executor.clock, random: { 1 }, memstores: KeptMemStores(),
            log: InMemoryChangeLog(clock: executor.clock), coordinator: HandCoordinator(), report: { _ in })
        environment.routing = .init(table: table, link: link)
        let service = try Service(
            keyspace, Ledger.self, partitions: 1, on: [executor], environment, services: ServiceRegistry())
        let answered = executor.start { () throws(AskError) in
            try await service.commit(Steps(.get("a")), Envelope(idempotency: idempotency))
        }
        return (answered, executor)
    }

    private func answer(_ error: AskError) throws -> Result<[UInt8], PeerError> {
        .success(try ForwardedAnswer(error).bytes())
    }

    private func reply() throws -> Result<[UInt8], PeerError> {
        var answer = ForwardedAnswer()
        answer.reply = try CBOR.encode(["1"])
        answer.position = [1]
        return .success(try answer.bytes())
    }

    private let lost = PeerError(.lost, isNotSent: false, "lost")

    @Test func whatIsCertainlyNotAppliedIsAskedAgain() throws {
        let link = ScriptedLink([
            try answer(AskError(.notApplied, .moved, "elsewhere")),
            .failure(PeerError(.unreachable, isNotSent: true, "away")), try reply(),
        ])
        let (answered, executor) = try send("forward-again", link)
        #expect(answered.isWaiting)
        executor.advance(by: .milliseconds(200))
        #expect(answered.value?.reply == ["1"] && link.asked.value == 3)
    }

    @Test func anUnknownOutcomeIsAskedAgainOnlyUnderAnIdempotencyKey() throws {
        let link = ScriptedLink([.failure(lost), try reply()])
        let (answered, _) = try send("forward-unknown", link)
        #expect(answered.error?.outcome == .unknown && link.asked.value == 1)
        let again = ScriptedLink([.failure(lost), try reply()])
        let (repeated, executor) = try send("forward-repeat", again, idempotency: IdempotencyKey("k", digest: [1]))
        executor.advance(by: .milliseconds(200))
        #expect(repeated.value?.reply == ["1"])
    }

    @Test func whatWasUnknownOnceIsNeverSaidToBeNotApplied() throws {
        let link = ScriptedLink([.failure(lost), try answer(AskError(.notApplied, .moved, "elsewhere"))])
        let (answered, executor) = try send(
            "forward-stays-unknown", link, idempotency: IdempotencyKey("k", digest: [1]))
        executor.advance(by: .seconds(11))
        #expect(answered.error?.outcome == .unknown)
    }

    @Test func aRequestWithoutAMasterIsRefusedWhenItsTimeIsOver() throws {
        let link = ScriptedLink([try answer(AskError(.notApplied, .moved, "elsewhere"))])
        let (answered, executor) = try send("forward-late", link)
        executor.advance(by: .seconds(11))
        #expect(answered.error?.outcome == .notApplied && answered.error?.isRetriable == true)
    }
}
