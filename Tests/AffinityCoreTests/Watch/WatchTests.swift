import AffinityTesting
import Testing

@testable import AffinityCore

/// Watches of one node: what they say first, then, and at their end.
@Suite struct WatchTests {
    private func rig(_ keyspace: String, partitions: Int = 1, limits: StateLimits = StateLimits()) throws -> Rig {
        let rig = try Rig(keyspace, partitions: partitions, limits: limits)
        rig.serve()
        return rig
    }

    // MARK: - One key

    @Test func aKeyIsSaidAsItStandsAndThenEachChange() throws {
        let rig = try rig("watch-key")
        _ = rig.send(.put("a", "1"))
        let a = try rig.watch("a")
        let none = try rig.watch("none")
        #expect(a.news == ["!a=1@3"], "claim and settled stand before it")
        #expect(none.news == ["!none-@0"])
        _ = rig.send(.put("a", "2"), .put("b", "x"), .put("a", "3"))
        _ = rig.send(.remove("a"))
        _ = rig.send(.put("a", "3"))
        #expect(a.news.map { String($0.prefix { $0 != "@" }) } == ["a=3", "a-", "a=3"])
        #expect(none.news.isEmpty)
        #expect(none.signals == 1, "nobody is called for what concerns others")
    }

    @Test func whatIsNotAcknowledgedIsNotSaid() throws {
        let rig = try rig("watch-durable")
        let a = try rig.watch("a")
        _ = a.news
        rig.base.holdsAcknowledgements = true
        _ = rig.send(.put("a", "1"))
        #expect(a.news.isEmpty)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(a.news.count == 1)
    }

    @Test func aTypedWatchIsAnAsyncSequence() throws {
        let rig = try rig("watch-typed")
        _ = rig.send(.put("a", "1"))
        let seen = Box<[String]>([])
        let task = Task(executorPreference: rig.executor) {
            do throws(WatchError) {
                for try await event in try rig.service.watch(\.texts, key: "a") {
                    switch event {
                    case .current(let entry): seen.change { $0.append("current \(entry.key) \(entry.value ?? "-")") }
                    case .change(let entry): seen.change { $0.append("\(entry.value ?? "-") \(entry.version)") }
                    default: seen.change { $0.append("?") }
                    }
                }
            } catch { seen.change { $0.append("\(error.code == .cancelled)") } }
        }
        rig.executor.run()
        _ = rig.send(.put("a", "2"))
        _ = rig.send(.remove("a"))
        task.cancel()
        rig.executor.run()
        #expect(seen.value == ["current a 1", "2 4", "- 5", "true"])
    }

    @Test func aWatchIsForgottenWhenItIsLetGoOf() throws {
        let rig = try rig("watch-drop")
        let (a, b) = (try rig.watch("a"), try rig.watch("a"))
        #expect(rig.observers == 2)
        a.drop()
        rig.executor.run()
        #expect(rig.observers == 1)
        b.watch?.cancel()
        rig.executor.run()
        #expect(rig.observers == 0)
        _ = b.said
        #expect(b.end?.code == .cancelled)
    }

    // MARK: - Many keys

    @Test func aPrefixIsSaidInPagesAndNothingThatChangesMeanwhileIsMissed() throws {
        let rig = try rig("watch-prefix", limits: StateLimits(watches: WatchLimits(page: 2)))
        for key in ["a1", "a2", "a3", "a4", "b1"] { _ = rig.send(.put(key, "0")) }
        let watcher = try rig.watch(prefix: "a")
        // The first page was read; of what changes now only a1 was said before.
        _ = rig.send(.put("a1", "1"), .put("a4", "1"), .put("a5", "1"))
        #expect(watcher.token == WatchToken(), "nobody can go on from within")
        for _ in 0..<5 {
            _ = watcher.said
            rig.executor.run()
        }
        let said = watcher.news.map { String($0.prefix { $0 != "@" }) }
        #expect(said == ["!a1=0", "!a2=0", "a1=1", "!a3=0", "!a4=1", "!a5=1", "level 0"])
        _ = rig.send(.put("b2", "1"), .remove("a2"))
        #expect(watcher.news.map { String($0.prefix { $0 != "@" }) } == ["a2-"])
        let token = watcher.token
        _ = rig.send(.put("a6", "2"))
        #expect(try rig.watch(prefix: "a", after: token).news.map { String($0.prefix { $0 != "@" }) } == ["a6=2"])
    }

    @Test func aStoreIsWatchedInAllPartitions() throws {
        let rig = try rig("watch-store", partitions: 3)
        for number in 0..<6 { _ = rig.send(.put("k\(number)", "0"), key: "k\(number)") }
        let watcher = try rig.watch(prefix: "")
        let said = watcher.news
        #expect(said.filter { $0.hasPrefix("level") }.sorted() == ["level 0", "level 1", "level 2"])
        #expect(said.filter { $0.hasPrefix("!") }.count == 6)
        #expect(WatchToken(watcher.token.description) == watcher.token && watcher.token.versions.count == 3)
        _ = rig.send(.put("k4", "1"), key: "k4")
        #expect(watcher.news.map { String($0.prefix { $0 != "@" }) } == ["k4=1"])
    }

    @Test func aStoreWithoutOrderIsWatchedByKeyOnly() throws {
        let rig = try rig("watch-unordered")
        #expect(throws: WatchError.self) { try rig.service.watch(\.numbers) }
        _ = try rig.service.watch(\.numbers, key: "a")
    }

    @Test func anotherNodeIsRefusedManyEntriesOfAStoreWithoutOrder() throws {
        let rig = try rig("watch-peer")
        var poll = WatchPoll(keyspace: "watch-peer", session: 5, number: 1, received: 0)
        for (number, scope) in [WatchScope.prefix([3]), .all, .key([1])].enumerated() {
            poll.additions.append(
                .init(
                    number: UInt64(number), partition: 0, store: "numbers", scope: scope, after: nil, hasBegun: false,
                    options: WatchOptions()))
        }
        let bytes = try rig.executor.complete { [sessions = rig.service.sessions, poll] in try await sessions.poll(poll)
        }
        let items = try WatchBatch(bytes: bytes).items.filter { $0.kind == .end }
        #expect(items.map(\.watch) == [0, 1])
        #expect(items.allSatisfy { WatchBuffer.End(rawValue: $0.value) == .unordered })
        rig.executor.run()
        #expect(rig.observers == 1)
    }

    /// A poll that was taken back may be answered all the same, at the very moment when the next one comes.
    @Test func aPollThatIsOvertakenTakesNothingWithIt() throws {
        let rig = try rig("watch-overtaken")
        func ask(_ number: UInt64, received: UInt64, watches: [String] = []) -> Box<[WatchBatch.Item]> {
            var poll = WatchPoll(keyspace: "watch-overtaken", session: 5, number: number, received: received)
            for (place, key) in watches.enumerated() {
                poll.additions.append(
                    .init(
                        number: number * 10 + UInt64(place), partition: 0, store: "texts", scope: .key(Array(key.utf8)),
                        after: nil, hasBegun: false, options: WatchOptions()))
            }
            let said = Box<[WatchBatch.Item]>([])
            Task(executorPreference: rig.executor) { [sessions = rig.service.sessions, poll] in
                guard let bytes = try? await sessions.poll(poll), let batch = try? WatchBatch(bytes: bytes) else {
                    return
                }
                said.change { $0 = batch.items }
            }
            return said
        }
        let first = ask(1, received: 0, watches: ["a"])
        rig.executor.run()
        #expect(first.value.isEmpty, "it is answered before anything has been read")
        _ = ask(2, received: 1)
        let third = ask(3, received: 1, watches: ["b"])
        rig.executor.run()
        #expect(third.value.contains { $0.watch == 10 && $0.kind == .current })
    }

    @Test(arguments: ["x", "1", "1:", ":1", "1:2,", "1:2,1:3", "-1:2", "1:99999999999999999999", "9999999:1"])
    func whatIsNoTokenIsNone(text: String) { #expect(WatchToken(text) == nil) }

    // MARK: - Those who do not keep up

    @Test func whoeverIsTooSlowIsClosedOrToldTheNewest() throws {
        let rig = try rig("watch-slow")
        let closed = try rig.watch("a", WatchOptions(overflow: .close, events: 4))
        let newest = try rig.watch("a", WatchOptions(overflow: .coalesce, events: 4))
        let many = try rig.watch(prefix: "", WatchOptions(overflow: .coalesce, events: 4))
        for number in 0..<9 { _ = rig.send(.put("a", "\(number)")) }
        #expect(closed.news.isEmpty && closed.end?.code == .tooSlow, "what waited is let go of")
        #expect(newest.news.last?.hasPrefix("a=8@") == true)
        #expect(newest.end == nil)
        for number in 0..<9 { _ = rig.send(.put("k\(number)", "0")) }
        _ = many.news
        #expect(many.end?.code == .tooSlow, "too many keys changed for the newest value of each")
        rig.executor.run()
        #expect(rig.observers == 1)
    }

    @Test func whoeverReadsNothingHoldsABoundedAmount() throws {
        let rig = try rig("watch-bytes")
        let watcher = try rig.watch("a", WatchOptions(overflow: .close, events: 1000, bytes: 10_000))
        for _ in 0..<8 { _ = rig.send(.put("a", String(repeating: "x", count: 1000))) }
        #expect(watcher.news.count == 9)
        for _ in 0..<20 { _ = rig.send(.put("a", String(repeating: "x", count: 1000))) }
        #expect(watcher.news.isEmpty && watcher.end?.code == .tooSlow)
        let large = try rig.watch("a", WatchOptions(bytes: 10))
        _ = large.news
        _ = rig.send(.put("a", "more than ten bytes of it"))
        #expect(large.news.count == 1, "a single change always fits")
    }

    // MARK: - What it costs

    @Test func aHundredThousandWhoAreNotConcernedCostOneLookUp() throws {
        let rig = try rig("watch-many")
        let buffer = WatchBuffer(WatchOptions(), after: [nil], on: rig.executor) {}
        let router = rig.service.watches
        let parts = (0..<100_000).map { number in
            WatchPart(
                UInt64(number), partition: 0, store: 3, "texts", .key(Array("k\(number)".utf8)), buffer, 0,
                owner: router)
        }
        rig.feed { feed in for part in parts { feed.register(part).letGo() } }
        #expect(rig.observers == 100_000)
        let before = rig.feed { $0.work }
        _ = rig.send(.put("other", "1"))
        #expect(rig.feed { $0.work } - before == 1, "one look for the change, whoever watches")
        _ = rig.send(.put("k7", "1"))
        #expect(rig.feed { $0.work } - before == 3, "one more look, and one observer")
        let prefix = try rig.watch(prefix: "zz")
        _ = prefix.news
        _ = rig.send(.put("other", "2"))
        #expect(rig.feed { $0.work } - before == 5, "and one for each length of prefixes")
    }

    @Test func aThousandWhoWatchOneKeyShareOneChange() throws {
        final class Form: Sendable {}
        let rig = try rig("watch-hot")
        let store = rig.service.watched(\.texts)
        let calls = Box(0)
        let watches = try (0..<1000).map { _ in
            try rig.service.watch(store, key: "a", on: rig.executor) { calls.change { $0 += 1 } }
        }
        rig.executor.run()
        for watch in watches { _ = try watch.take() }
        calls.change { $0 = 0 }
        _ = rig.send(.put("a", "1"))
        #expect(calls.value == 1000)
        let made = Box(0)
        var forms = Set<ObjectIdentifier>()
        for watch in watches {
            guard case .change(let change)? = try watch.take().first else { continue }
            forms.insert(
                ObjectIdentifier(
                    change.encoded(as: Form.self) { _ in
                        made.change { $0 += 1 }
                        return Form()
                    }))
        }
        #expect(made.value == 1 && forms.count == 1)
    }

    // MARK: - The end

    @Test func whenTheNodeStopsEveryWatchSaysSo() throws {
        let rig = try rig("watch-drain")
        let watcher = try rig.watch("a")
        _ = watcher.news
        rig.stop()
        _ = watcher.news
        #expect(watcher.end?.code == .draining)
        let late = try rig.watch("a")
        _ = late.news
        #expect(late.end?.code == .draining)
    }

    @Test func withoutAMasterItWaitsAndThenEnds() throws {
        let rig = try rig("watch-master")
        let patient = try rig.watch("a")
        let hasty = try rig.watch("a", WatchOptions(patience: .seconds(2)))
        #expect(patient.news == ["!a-@0"] && hasty.news == ["!a-@0"])
        _ = rig.send(.put("a", "1"))
        rig.coordinator.say(.standby)
        rig.executor.run()
        rig.executor.advance(by: .seconds(3))
        #expect(hasty.news.count == 1)
        #expect(hasty.end?.code == .notReady, "behind what was said before")
        rig.coordinator.say(.master(Grant(number: 2)))
        rig.executor.run()
        rig.executor.advance(by: .seconds(1))
        _ = rig.send(.put("a", "2"))
        #expect(
            patient.news.map { String($0.prefix { $0 != "@" }) } == ["a=1", "a=2"], "nothing again, nothing missing")
        #expect(patient.end == nil)
    }
}
