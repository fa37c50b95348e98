import AffinityTesting
import Testing

@testable import AffinityCore

/// Watches that go on where a former one was: from memory, from the changelog, or from the beginning.
@Suite struct ResumeTests {
    /// One that keeps two changes in memory.
    private func rig(_ keyspace: String, isExclusive: Bool, after former: Rig? = nil) throws -> Rig {
        let rig = try Rig(
            keyspace, limits: StateLimits(watches: WatchLimits(changes: 4, checkpointSpacing: 3)),
            keepsMemStores: true, after: former,
            log: former?.base
                ?? InMemoryChangeLog(clock: ManualClock(), isExclusive: isExclusive, tellsForgotten: isExclusive))
        rig.serve(former == nil ? 1 : 2)
        return rig
    }

    private func values(_ said: [String]) -> [String] { said.map { String($0.prefix { $0 != "@" }) } }

    @Test(arguments: [true, false]) func fromMemoryAndFromTheLog(isExclusive: Bool) throws {
        let rig = try rig("resume-\(isExclusive)", isExclusive: isExclusive)
        let watcher = try rig.watch("a")
        for number in 1...9 { _ = rig.send(.put("a", "\(number)"), .put("b", "\(number)")) }
        let versions = watcher.news.dropFirst().map { Version(UInt64($0.drop { $0 != "@" }.dropFirst()) ?? 0) }
        let read = rig.log.readCount
        #expect(try rig.watch("a", after: versions[8]).news.isEmpty, "nothing came after it")
        #expect(values(try rig.watch("a", after: versions[7]).news) == ["a=9"])
        #expect(rig.log.readCount == read, "memory was enough")
        for known in 0..<7 {
            let expected = (known + 2...9).map { "a=\($0)" }
            #expect(values(try rig.watch("a", after: versions[known]).news) == expected, "after the value \(known + 1)")
        }
        #expect(rig.log.readCount > read)
        #expect(values(try rig.watch("a", after: Version.none).news) == (1...9).map { "a=\($0)" })
    }

    @Test(arguments: [true, false]) func afterARestart(isExclusive: Bool) throws {
        let former = try rig("resume-restart-\(isExclusive)", isExclusive: isExclusive)
        let watcher = try former.watch(prefix: "")
        for number in 1...5 { _ = former.send(.put("k\(number)", "1")) }
        _ = watcher.news
        let token = watcher.token
        _ = former.send(.put("k1", "2"))
        _ = former.send(.remove("k2"))
        former.stop()
        let rig = try rig("resume-restart-\(isExclusive)", isExclusive: isExclusive, after: former)
        #expect(values(try rig.watch(prefix: "", after: token).news) == ["k1=2", "k2-"])
    }

    @Test(arguments: [true, false]) func fromTheBeginningWhereCompactionHasTakenSomething(isExclusive: Bool) throws {
        let rig = try rig("resume-compacted-\(isExclusive)", isExclusive: isExclusive)
        let watcher = try rig.watch("a")
        for number in 1...9 { _ = rig.send(.put("a", "\(number)")) }
        let first = try #require(watcher.news.dropFirst().first)
        let version = Version(UInt64(first.drop { $0 != "@" }.dropFirst()) ?? 0)
        rig.executor.advance(by: .seconds(1))
        rig.base.compact()
        #expect(values(try rig.watch("a", after: version).news) == ["reset 0", "!a=9"])
    }

    @Test func fromTheBeginningBehindWhatWasNeverGivenOut() throws {
        let rig = try rig("resume-beyond", isExclusive: true)
        _ = rig.send(.put("a", "1"))
        let watcher = try rig.watch("a", after: Version(1_000_000))
        #expect(values(watcher.news) == ["reset 0", "!a=1"])
        _ = rig.send(.put("a", "2"))
        #expect(values(watcher.news) == ["a=2"])
        #expect(values(try rig.watch("a", after: Version(.max)).news) == ["reset 0", "!a=2"])
    }

    @Test func onePassServesAllWhoWait() throws {
        let rig = try rig("resume-together", isExclusive: false)
        for number in 1...40 { _ = rig.send(.put("k\(number % 4)", "\(number)")) }
        let before = rig.log.readCount
        let store = rig.service.watched(\.texts)
        let watchers = try (0..<20).map { number in
            try Watcher { [service = rig.service, executor = rig.executor] ready throws(WatchError) in
                try service.watch(store, key: "k\(number % 4)", after: Version(4), on: executor, onReady: ready)
            }
        }
        rig.executor.run()
        for watcher in watchers { #expect(watcher.news.count >= 9) }
        #expect(rig.log.readCount - before <= 2 * 4, "two passes over four changelogs at most")
    }

    // MARK: - Piece by piece

    /// Small pieces, and small passes.
    private func smallRig(_ keyspace: String, isExclusive: Bool) throws -> Rig {
        let limits = WatchLimits(changes: 4, replays: 1, replay: 8 << 10, piece: 1 << 10, checkpointSpacing: 16)
        let rig = try Rig(
            keyspace, limits: StateLimits(watches: limits),
            log: InMemoryChangeLog(clock: ManualClock(), isExclusive: isExclusive, tellsForgotten: isExclusive))
        rig.serve()
        return rig
    }

    /// Writes `a` with growing numbers, and others between.
    private func write(_ numbers: ClosedRange<Int>, to rig: Rig) {
        let long = String(repeating: "x", count: 200)
        for number in numbers { _ = rig.send(.put("a", "\(number)"), .put("b\(number % 7)", "\(number)\(long)")) }
    }

    /// Reads as long as something comes; `between` is called after each page.
    private func readOn(_ watcher: Watcher, _ rig: Rig, between: () -> Void = {}) -> [String] {
        var all: [String] = []
        while true {
            rig.executor.run()
            let news = watcher.news
            if news.isEmpty { return all }
            all += news
            between()
        }
    }

    @Test(arguments: [true, false]) func howeverFarBehindEveryChangeComesOnce(isExclusive: Bool) throws {
        let rig = try smallRig("resume-far-\(isExclusive)", isExclusive: isExclusive)
        write(1...400, to: rig)
        let options = WatchOptions(events: 8, bytes: 1 << 10)
        let watcher = try rig.watch("a", after: Version.none, options)
        let many = try rig.watch(prefix: "", after: WatchToken([0: .none]), options)
        var largest = 0
        var written = 400
        // What is written while they read comes too.
        let seen = readOn(watcher, rig) {
            largest = max(largest, many.watch?.buffer.size ?? 0)
            if written < 420 { write(written + 1...written + 2, to: rig) }
            written += 2
        }
        #expect(values(seen) == (1...420).map { "a=\($0)" })
        #expect(watcher.end == nil)
        // Whoever reads nothing is handed one piece, and no more.
        #expect(largest > 0 && largest < 6 << 10, "\(largest) bytes waited")
        let all = values(readOn(many, rig)).filter { $0.hasPrefix("a=") }
        #expect(all == (1...420).map { "a=\($0)" } && many.end == nil)
        write(421...421, to: rig)
        #expect(values(watcher.news) == ["a=421"] && values(many.news).first == "a=421")
    }

    @Test(arguments: [true, false]) func whoeverTakesLessThanIsWrittenIsTooSlow(isExclusive: Bool) throws {
        let rig = try smallRig("resume-hopeless-\(isExclusive)", isExclusive: isExclusive)
        write(1...40, to: rig)
        let watcher = try rig.watch("a", after: Version.none)
        var written = 40
        let seen = readOn(watcher, rig) {
            if written > 4000 { return }
            write(written + 1...written + 14, to: rig)
            written += 14
        }
        #expect(watcher.end?.code == .tooSlow, "\(seen.count) of \(written)")
        #expect(values(seen) == seen.indices.map { "a=\($0 + 1)" })
        rig.executor.run()
        #expect(rig.observers == 0)
    }

    @Test(arguments: [true, false]) func compactionThatOvertakesStartsOver(isExclusive: Bool) throws {
        let rig = try smallRig("resume-overtaken-\(isExclusive)", isExclusive: isExclusive)
        write(1...100, to: rig)
        let watcher = try rig.watch("a", after: Version.none)
        let first = values(watcher.news)
        #expect(first.count < 50 && first == first.indices.map { "a=\($0 + 1)" })
        rig.executor.advance(by: .seconds(1))
        rig.base.compact()
        #expect(values(readOn(watcher, rig)).suffix(2) == ["reset 0", "!a=100"])
        write(101...101, to: rig)
        #expect(values(watcher.news) == ["a=101"])
    }

    @Test(arguments: [true, false]) func allWhoAreBehindComeToTheEnd(isExclusive: Bool) throws {
        let rig = try smallRig("resume-all-\(isExclusive)", isExclusive: isExclusive)
        write(1...300, to: rig)
        let end = rig.feed { $0.version(3).rawValue }
        let watchers = try (0..<60).map { number in try rig.watch("a", after: Version(UInt64(number) * end / 60)) }
        var left = watchers
        var seen = watchers.map { _ in 0 }
        var rounds = 0
        while !left.isEmpty, rounds < 2000 {
            rig.executor.run()
            rounds += 1
            left = []
            for (index, watcher) in watchers.enumerated() {
                let news = values(watcher.news)
                #expect(!news.contains("reset 0"))
                if let last = news.last.flatMap({ Int($0.dropFirst(2)) }) { seen[index] = last }
                if seen[index] < 300 { left.append(watcher) }
            }
        }
        #expect(left.isEmpty, "\(left.count) did not come to the end")
    }

    /// A standby reads what a master left incomplete, and who overwrote it: only what counts is kept for those who watch.
    @Test func whatIsVoidIsNeverKept() throws {
        let base = InMemoryChangeLog(isExclusive: false, tellsForgotten: false)
        let rig = try Rig("resume-void", keepsMemStores: true, log: base)
        let stores = ["_requests", "bytes", "numbers", "texts"]
        func write(
            _ store: String, _ key: String, _ value: String, _ epoch: Epoch, _ number: UInt64, _ count: UInt32 = 1
        ) {
            let stamp = RecordStamp(epoch: epoch, number: number, count: count, acknowledged: 0)
            base.write(
                Record(key: Array(key.utf8), value: Array(value.utf8), headers: RecordHeaders(stamp: stamp)),
                to: rig.partition, store)
        }
        func control(_ kind: ControlRecord.Kind, _ epoch: Epoch) {
            for store in stores {
                let stamp = RecordStamp(epoch: epoch, number: 0, count: 4, acknowledged: 0)
                let value = ControlRecord(kind, log: 7, node: NodeID("n9")).bytes
                base.write(
                    Record(key: [], value: value, headers: RecordHeaders(stamp: stamp)), to: rig.partition, store)
            }
        }
        let (first, second) = (Epoch(grant: 1, run: 0), Epoch(grant: 2, run: 0))
        control(.claim, first)
        control(.settled, first)
        write("texts", "a", "good", first, 1)
        write("texts", "a", "half", first, 2, 2)
        write("texts", "a", "behind", first, 3)
        control(.claim, second)
        write("texts", "a", "stale", first, 4)
        write("texts", "a", "good", second, 1)
        control(.settled, second)
        rig.start()
        rig.coordinator.say(.standby)
        rig.executor.run()
        let kept = rig.feed {
            $0.changes(3, after: .none, of: .all)?.map {
                "\(String(decoding: $0.value ?? [], as: UTF8.self))@\($0.version)"
            }
        }
        #expect(kept == ["good@3", "good@8"])
        rig.coordinator.say(.master(Grant(number: 3)))
        rig.executor.run()
        // The same by reading the log again.
        #expect(values(try rig.watch("a", after: Version(3)).news).allSatisfy { $0 == "a=good" })
    }

    @Test func aStandbyGoesOnFromMemoryWhenItIsMaster() throws {
        let former = try rig("resume-standby", isExclusive: false)
        _ = former.send(.put("a", "1"))
        let version = try #require(try former.watch("a").news.first?.drop { $0 != "@" }.dropFirst())
        _ = former.send(.put("a", "2"))
        former.stop()
        let rig = try Rig("resume-standby", keepsMemStores: false, after: former, log: former.base)
        rig.start()
        rig.coordinator.say(.standby)
        rig.executor.run()
        rig.coordinator.say(.master(Grant(number: 5)))
        rig.executor.run()
        let read = rig.log.readCount
        let watcher = try rig.watch("a", after: Version(UInt64(version) ?? 0))
        #expect(values(watcher.news).first == "a=2")
        #expect(rig.log.readCount == read)
    }
}
