import AffinityTestSupport
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
        let seed = newSeed()
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

    /// A link that answers as the test says, one answer for each request, `nil` being silence; and what there is around it.
    private final class ScriptedLink: PeerLink {
        let executor = ManualExecutor()
        let table = RoutingTable()
        private let answers: Box<[Result<[UInt8], PeerError>?]>
        let peers = Box<[String]>([])
        var asked: Int { peers.value.count }

        init(_ answers: [Result<[UInt8], PeerError>?]) { self.answers = Box(answers) }

        func ask(
            _ peer: PeerAddress, _ type: String, _ body: [UInt8], deadline: MonotonicTime, withdrawal: Withdrawal?
        ) async throws(PeerError) -> [UInt8] {
            peers.change { $0.append(peer.node.description) }
            if let answer = answers.change({ $0.count > 1 ? $0.removeFirst() : $0[0] }) { return try answer.get() }
            let (silence, end) = AsyncStream<Void>.makeStream()
            executor.schedule(at: deadline) { end.finish() }
            withdrawal?.onWithdraw { end.finish() }
            for await _ in silence {}
            let isWithdrawn = withdrawal?.isWithdrawn ?? false
            throw PeerError(isWithdrawn ? .lost : .deadline, isNotSent: false, "silence")
        }

        /// Another node is master now, or the same one again, or none.
        func move(_ keyspace: String, to node: String?, grant: UInt64) {
            table.update(
                keyspace,
                [0: .init(master: node.map { PeerAddress(node: NodeID($0), host: "there", port: 1) }, grant: grant)])
            executor.run()
        }

        func answer(
            _ type: String,
            _ body:
                @escaping @Sendable (_ request: [UInt8], _ deadline: MonotonicTime) async throws(PeerError) -> [UInt8]
        ) {}
    }

    /// A node whose only partition has its master on `n2`, under grant 1.
    private func service(_ keyspace: String, _ link: ScriptedLink) throws -> Service<Ledger> {
        link.move(keyspace, to: "n2", grant: 1)
        var environment = PartitionEnvironment(
            node: NodeID("n1"), clock: link.executor.clock, random: { 1 }, memstores: KeptMemStores(),
            log: InMemoryChangeLog(clock: link.executor.clock), coordinator: HandCoordinator(), report: { _ in })
        environment.routing = .init(table: link.table, link: link)
        return try Service(
            keyspace, Ledger.self, partitions: 1, on: [link.executor], environment, services: ServiceRegistry())
    }

    private func send(
        _ keyspace: String, _ link: ScriptedLink, idempotency: IdempotencyKey? = nil
    ) throws -> (Answered<Commit<[String]>>, ManualExecutor) {
        let service = try service(keyspace, link)
        let answered = link.executor.start { () throws(AskError) in
            try await service.commit(Steps(.get("a")), Envelope(idempotency: idempotency))
        }
        return (answered, link.executor)
    }

    private func read(_ keyspace: String, _ link: ScriptedLink) throws -> Answered<String?> {
        let service = try service(keyspace, link)
        return link.executor.start { () throws(AskError) in try await service.ask(Peek("a")) }
    }

    private func answer(_ error: AskError) throws -> Result<[UInt8], PeerError> {
        .success(try ForwardedAnswer(error).bytes())
    }

    private func reply(_ reply: some Encodable = ["1"]) throws -> Result<[UInt8], PeerError> {
        var answer = ForwardedAnswer()
        answer.reply = try CBOR.encode(reply)
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
        #expect(answered.value?.reply == ["1"] && link.asked == 3)
    }

    @Test func anUnknownOutcomeIsAskedAgainOnlyUnderAnIdempotencyKey() throws {
        let link = ScriptedLink([.failure(lost), try reply()])
        let (answered, _) = try send("forward-unknown", link)
        #expect(answered.error?.outcome == .unknown && link.asked == 1)
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

    // MARK: - Masters that fall silent

    private let key = IdempotencyKey("k", digest: [1])

    @Test func whatCanBeAskedAgainWaitsForNoMasterThatAnotherNodeHasFollowed() throws {
        let silent = ScriptedLink([nil, try reply("1")])
        let read = try read("forward-silent-read", silent)
        silent.executor.advance(by: .seconds(1))
        #expect(read.isWaiting && silent.peers.value == ["n2"])
        silent.move("forward-silent-read", to: "n3", grant: 2)
        #expect(read.value == "1" && silent.peers.value == ["n2", "n3"])
        let other = ScriptedLink([nil, try reply()])
        let (written, _) = try send("forward-silent-key", other, idempotency: key)
        other.move("forward-silent-key", to: "n3", grant: 2)
        #expect(written.value?.reply == ["1"] && other.peers.value == ["n2", "n3"])
    }

    @Test func aCommandWithoutAKeyIsAskedOnceWhoeverBecomesMaster() throws {
        let link = ScriptedLink([nil, try reply()])
        let (answered, executor) = try send("forward-silent-unknown", link)
        link.move("forward-silent-unknown", to: "n3", grant: 2)
        #expect(answered.isWaiting)
        executor.advance(by: .seconds(11))
        #expect(answered.error?.outcome == .unknown && link.peers.value == ["n2"])
    }

    @Test func aCommandThatASilentMasterMayHaveRunStaysUnknown() throws {
        let link = ScriptedLink([nil, try answer(AskError(.notApplied, .moved, "elsewhere"))])
        let (answered, executor) = try send("forward-silent-vain", link, idempotency: key)
        link.move("forward-silent-vain", to: "n3", grant: 2)
        executor.advance(by: .seconds(11))
        #expect(answered.error?.outcome == .unknown && link.asked > 1)
    }

    /// None at all, the same node again, and an older word than the one that the request was sent on.
    @Test(arguments: [(nil, 0), ("n2", 2), ("n3", 1), ("n3", 0)] as [(String?, UInt64)])
    func onlyANewerMasterElsewhereEndsTheWait(node: String?, grant: UInt64) throws {
        let keyspace = "forward-silent-\(node ?? "none")-\(grant)"
        let link = ScriptedLink([nil])
        let read = try read(keyspace, link)
        link.move(keyspace, to: node, grant: grant)
        #expect(read.isWaiting && link.asked == 1)
        link.move(keyspace, to: "n4", grant: 3)
        #expect(read.isWaiting && link.peers.value == ["n2", "n4"])
        link.executor.advance(by: .seconds(11))
        #expect(read.error?.outcome == .notApplied && read.error?.code == .deadline)
    }

    @Test func nothingIsKeptOfRequestsThatAreOver() throws {
        let link = ScriptedLink([nil, .failure(lost), try reply("1")])
        let service = try service("forward-silent-over", link)
        let read = link.executor.start { () throws(AskError) in try await service.ask(Peek("a")) }
        #expect(service.router?.sent.count == 1)
        link.move("forward-silent-over", to: "n3", grant: 2)
        link.executor.advance(by: .milliseconds(50))
        #expect(read.value == "1" && link.asked == 3)
        #expect(service.router?.sent.count == 0)
    }

    @Test func aRequestIsWithdrawnOnceWhicheverComesFirst() {
        let count = Box(0)
        let (early, late) = (Withdrawal(), Withdrawal())
        early.onWithdraw { count.change { $0 += 1 } }
        #expect(!early.isWithdrawn && count.value == 0)
        early.withdraw()
        early.withdraw()
        #expect(early.isWithdrawn && count.value == 1)
        late.withdraw()
        late.onWithdraw { count.change { $0 += 1 } }
        #expect(count.value == 2)
    }

    @Test func aClusterAnswersForASilentMasterAsSoonAsItHasAnother() throws {
        let rig = ClusterRig("forward-silent-cluster")
        try rig.start("n1", "n2", "n3")
        #expect(rig["n1"].send(.put("a", "1")).value != nil)
        let master = try #require(try rig.masters()[rig["n1"].service.partition(of: "k").number].first)
        let session = rig[master].session
        rig.network.silence(NodeID(master))
        rig.crash(master)
        let other = try #require(rig.nodes.first)
        let read = other.send(.get("a"), envelope: Envelope(idempotency: key))
        let written = other.send(.put("a", "2"))
        rig.advance(by: .seconds(4))
        #expect(read.isWaiting && written.isWaiting)
        rig.expire(session)
        rig.advance(by: .milliseconds(20))
        #expect(read.value?.reply == ["1"], "\(String(describing: read.error)) \(rig.shown)")
        #expect(written.isWaiting, "whether the silent one has applied it is unknown")
        rig.advance(by: .seconds(7))
        #expect(written.error?.outcome == .unknown)
    }
}
