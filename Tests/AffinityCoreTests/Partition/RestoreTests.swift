import AffinityTesting
import Testing

@testable import AffinityCore

/// Restart, resume, and memstores that do not fit their log (PROTOCOL §7).
@Suite struct RestoreTests {
    /// A rig that has served and stopped, with `a` = 1 and `b` removed.
    private func stopped(
        _ keyspace: String, keepsMemStores: Bool = true, log: InMemoryChangeLog? = nil
    ) throws -> Rig {
        let rig = try Rig(keyspace, keepsMemStores: keepsMemStores, log: log)
        rig.serve()
        #expect(rig.send(.put("a", "0"), .put("b", "0")).value != nil)
        #expect(rig.send(.put("a", "1"), .number("n", 1)).value != nil)
        #expect(rig.send(.remove("b")).value != nil)
        rig.stop()
        #expect(rig.isEnded)
        return rig
    }

    private func check(_ rig: Rig) throws {
        #expect(rig.peek("a").value == "1")
        #expect(rig.peek("b").value == .some(nil))
        #expect(rig.send(.version("a")).value?.reply.first?.hasPrefix("5@") == true, "versions are the log's")
    }

    @Test func aMemstoreInMemoryReplaysTheLog() throws {
        let rig = try Rig("restore-replay", after: stopped("restore-replay", keepsMemStores: false))
        rig.serve(2)
        try check(rig)
        #expect(rig.base.records(rig.partition, "texts").last?.record.headers.stamp?.epoch == Epoch(grant: 2, run: 0))
    }

    @Test func aCompactedLogReplaysTheSame() throws {
        let former = try stopped("restore-compacted", keepsMemStores: false)
        former.base.compact()
        let rig = try Rig("restore-compacted", after: former)
        rig.serve(2)
        try check(rig)
    }

    @Test func aKeptMemstoreResumesFromItsCheckpoint() throws {
        let former = try stopped("restore-resume")
        // A crash took the last two batches: the log still has them.
        former.kept.forget(former.partition, after: former.kept.count(former.partition) - 2)
        let rig = try Rig("restore-resume", keepsMemStores: true, after: former)
        rig.serve(2)
        try check(rig)
        #expect(rig.kept.asideCount == 0)
    }

    @Test func anyPrefixOfTheBatchesIsGoodEnough() throws {
        for kept in 0...9 {
            let former = try stopped("restore-prefix")
            former.kept.forget(former.partition, after: kept)
            let rig = try Rig("restore-prefix", keepsMemStores: true, after: former)
            rig.serve(2)
            try check(rig)
        }
    }

    @Test func aLowerGrantIsRenewed() throws {
        let rig = try Rig("restore-renew", after: stopped("restore-renew"))
        rig.serve(1)
        #expect(rig.coordinator.renewals == [1])
        #expect(try rig.status.state == .catchingUp)
        rig.coordinator.say(.master(Grant(number: 2)))
        rig.executor.run()
        try check(rig)
    }

    private func isSetAside(_ rig: Rig, _ reason: String) -> Bool {
        rig.kept.asideCount == 1 && rig.messages.contains { $0.contains("set aside") && $0.contains(reason) }
    }

    @Test func aPositionBeyondTheEnd() throws {
        let former = try stopped("restore-beyond")
        let rig = try Rig(
            "restore-beyond", keepsMemStores: true, after: former, log: InMemoryChangeLog(clock: former.clock))
        rig.serve(2)
        #expect(isSetAside(rig, "beyond the log's end"))
        #expect(rig.peek("a").value == .some(nil))
    }

    @Test func aLogThatHasGrownAgainIsKnownByTheFingerprint() throws {
        let former = try stopped("restore-fingerprint")
        let other = try Rig("restore-fingerprint", log: InMemoryChangeLog(clock: former.clock))
        other.serve(7)
        for _ in 0..<9 { #expect(other.send(.put("z", "1"), .number("n", 2)).value != nil) }
        other.stop()
        let rig = try Rig("restore-fingerprint", keepsMemStores: true, after: former, log: other.base)
        rig.serve(8)
        #expect(isSetAside(rig, "is another one"))
        #expect(rig.peek("z").value == "1" && rig.peek("a").value == .some(nil))
    }

    @Test func aClaimOfAnotherLog() throws {
        let former = try stopped("restore-log-id")
        let control = ControlRecord(.settled, log: 0xbad, node: NodeID("n9")).bytes
        let stamp = RecordStamp(epoch: Epoch(grant: 1, run: 9), number: 0, count: 4, acknowledged: 0)
        former.base.write(
            Record(key: [], value: control, headers: RecordHeaders(stamp: stamp)), to: former.partition, "texts")
        // Made anew, it finds both ids in one log, which no rebuilding helps.
        let rig = try Rig("restore-log-id", keepsMemStores: true, after: former)
        rig.serve(2)
        #expect(isSetAside(rig, "but the memstore was made from log"))
        #expect(try rig.status.state == .failed)
    }

    @Test func aMemstoreThatMissedARemovalWhichTheLogHasForgotten() throws {
        let former = try stopped("restore-forgotten")
        former.kept.forget(former.partition, after: former.kept.count(former.partition) - 1)
        former.base.compact()
        let rig = try Rig("restore-forgotten", keepsMemStores: true, after: former)
        rig.serve(2)
        #expect(isSetAside(rig, "removals up to"))
        try check(rig)
    }

    @Test func aMemstoreThatMissedNothingHoweverOld() throws {
        let former = try stopped("restore-old")
        former.kept.forget(former.partition, after: former.kept.count(former.partition) - 1)
        former.clock.advance(by: .seconds(864_000))
        let rig = try Rig("restore-old", keepsMemStores: true, after: former)
        rig.serve(2)
        #expect(rig.kept.asideCount == 0)
        try check(rig)
    }

    @Test func aMemstoreThatWasAwayTooLongFromALogThatDoesNotSayWhatItForgot() throws {
        let former = try stopped("restore-age", log: InMemoryChangeLog(tellsForgotten: false))
        former.kept.forget(former.partition, after: former.kept.count(former.partition) - 1)
        former.clock.advance(by: .seconds(86_400 / 2 + 1))
        let rig = try Rig("restore-age", keepsMemStores: true, after: former)
        rig.serve(2)
        #expect(isSetAside(rig, "it was last level"))
        try check(rig)
    }

    @Test func aMemstoreThatIsLevelIsNeverTooOld() throws {
        let former = try stopped("restore-level")
        former.clock.advance(by: .seconds(864_000))
        let rig = try Rig("restore-level", keepsMemStores: true, after: former)
        rig.serve(2)
        #expect(rig.kept.asideCount == 0)
        try check(rig)
    }

    @Test func aLogWhoseStartHasMoved() throws {
        let former = try stopped("restore-start")
        former.kept.forget(former.partition, after: 2)
        former.base.removeRecords(former.partition, "texts", before: Offset(4))
        let rig = try Rig("restore-start", keepsMemStores: true, after: former)
        rig.serve(2)
        #expect(isSetAside(rig, "before the log's start"))
        #expect(rig.peek("a").value == "1")
    }

    @Test func aReadThatFailsIsRetried() throws {
        let rig = try Rig("restore-read-failure", after: stopped("restore-read-failure", keepsMemStores: false))
        rig.log.failRead(after: 1, with: LogError(.io, "slow disk"))
        rig.serve(2)
        #expect(try rig.status.reason == "log: slow disk")
        rig.executor.advance(by: .seconds(1))
        try check(rig)
    }

    @Test func aDamagedMemstoreIsMadeAnew() throws {
        let rig = try Rig("restore-damaged", keepsMemStores: true, after: stopped("restore-damaged"))
        rig.memstores.fail(.open, with: MemStoreError(.corrupt, "bits"))
        rig.serve(2)
        #expect(isSetAside(rig, "bits"))
        try check(rig)
    }

    @Test func bytesThatAreNoValueSpoilWhoReadsThemAndNobodyElse() throws {
        let rig = try Rig("restore-undecodable")
        let damaged = Record(key: Array("bad".utf8), value: [0xFF], headers: RecordHeaders())
        rig.base.write(damaged, to: rig.partition, "texts")
        rig.serve()
        for error in [
            rig.send(.put("a", "1"), .get("bad")).error, rig.peek("bad").error,
            rig.send(.put("a", "1"), .scan("", limit: .max, isForward: true)).error,
        ] {
            #expect(error?.outcome == .notApplied && error?.code == .failed)
            #expect(error?.reason == "texts: not UTF-8")
        }
        #expect(rig.peek("a").value == .some(nil))
        #expect(rig.send(.put("bad", "good")).value != nil)
        #expect(rig.peek("bad").value == "good")
    }

    @Test func stopEndsARestore() throws {
        let former = try stopped("restore-stop", keepsMemStores: false)
        let rig = try Rig("restore-stop", after: former)
        rig.start()
        rig.coordinator.say(.master(Grant(number: 2)))
        rig.service.stop()
        rig.executor.run()
        #expect(rig.isEnded)
        #expect(rig.coordinator.joined == 0)
    }
}
