import AffinityTesting
import Testing

@testable import AffinityCore

/// A replica that follows the log, is promoted, hands over, and leans on a lease.
@Suite struct StandbyTests {
    private func rig(_ keyspace: String, after former: Rig? = nil) throws -> Rig {
        try Rig(
            keyspace, keepsMemStores: true, after: former,
            log: former?.base ?? InMemoryChangeLog(isExclusive: false, tellsForgotten: false))
    }

    private func record(_ key: String, _ value: String, _ epoch: Epoch, _ number: UInt64, covers: UInt64) -> Record {
        let stamp = RecordStamp(epoch: epoch, number: number, count: 1, acknowledged: covers)
        return Record(key: Array(key.utf8), value: Array(value.utf8), headers: RecordHeaders(stamp: stamp))
    }

    private func writeSettledOfAnotherLog(_ rig: Rig) {
        let control = ControlRecord(.settled, log: 0xbad, node: NodeID("n9")).bytes
        let stamp = RecordStamp(epoch: Epoch(grant: 9, run: 0), number: 0, count: 4, acknowledged: 0)
        for store in ["_requests", "bytes", "numbers", "texts"] {
            rig.base.write(
                Record(key: [], value: control, headers: RecordHeaders(stamp: stamp)), to: rig.partition, store)
        }
    }

    private func lease(_ rig: Rig, for duration: Duration) -> Lease {
        let lease = Lease()
        lease.extend(to: rig.clock.monotonic.advanced(by: duration))
        return lease
    }

    /// A log that a master has written and left in good order, and a standby that has read it.
    private func standby(_ keyspace: String) throws -> Rig {
        let former = try rig(keyspace)
        former.serve()
        #expect(former.send(.put("a", "1")).value != nil)
        former.stop()
        let rig = try rig(keyspace, after: former)
        rig.start()
        rig.coordinator.say(.standby)
        rig.executor.run()
        return rig
    }

    @Test func aStandbyReadsWhatIsWrittenAndSaysThatItIsLevel() throws {
        let rig = try standby("standby-follows")
        #expect(rig.coordinator.readiness == [.behind, .level])
        let epoch = Epoch(grant: 1, run: 0)
        #expect(rig.peek("a", envelope: Envelope(staleness: .seconds(1))).value == "1")
        rig.base.write(record("a", "2", epoch, 2, covers: 1), to: rig.partition, "texts")
        rig.executor.run()
        #expect(rig.peek("a", envelope: Envelope(staleness: .seconds(1))).value == "2")
        #expect(rig.peek("a").error?.code == .notReady, "only the master answers linearizable reads")
        #expect(rig.send(.put("a", "3")).error?.outcome == .notApplied)
        #expect(try rig.status.state == .standby)
    }

    @Test func aStandbyIsPromotedWhereItStands() throws {
        let rig = try standby("standby-promoted")
        let opened = rig.log.openCount
        rig.coordinator.say(.master(Grant(number: 5)))
        rig.executor.run()
        #expect(try rig.status.epoch == Epoch(grant: 5, run: 0))
        #expect(rig.log.openCount == opened, "nothing is opened anew")
        #expect(rig.send(.put("a", "5"), .get("a")).value?.reply == ["5"])
    }

    @Test func aStandbyThatKeepsUpClaimsAtOnce() throws {
        let rig = try standby("standby-rest")
        let before = rig.log.lookUpCount
        rig.base.holdsAcknowledgements = true
        rig.coordinator.say(.master(Grant(number: 5)))
        rig.executor.run()
        #expect(try rig.status.state == .claiming)
        #expect(rig.log.lookUpCount == before, "nobody asks where the log ends before the claim")
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(rig.log.lookUpCount == before + 4, "one question for each changelog behind it")
        #expect(rig.send(.get("a")).value?.reply == ["1"])
    }

    @Test func aStandbyThatWaitsForACommandLooksForTheEndBeforeItClaims() throws {
        let rig = try standby("standby-waits")
        // The second command is missing.
        rig.base.write(record("a", "3", Epoch(grant: 1, run: 0), 3, covers: 1), to: rig.partition, "texts")
        rig.executor.run()
        let before = rig.log.lookUpCount
        rig.base.holdsAcknowledgements = true
        rig.coordinator.say(.master(Grant(number: 5)))
        rig.executor.run()
        #expect(try rig.status.state == .claiming)
        #expect(rig.log.lookUpCount > before)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(rig.send(.get("a")).value?.reply == ["1"], "what nobody was told of is void")
    }

    /// Wherever the standby is with reading when the mastership comes.
    @Test(arguments: 0..<80) func aBatchThatTheMemstoreDidNotTakeIsNotMissedByTheMaster(_ steps: Int) throws {
        let rig = try standby("standby-torn-\(steps)")
        rig.memstores.fail(.commit, with: MemStoreError(.io, "by test"))
        rig.base.write(record("a", "2", Epoch(grant: 1, run: 0), 2, covers: 1), to: rig.partition, "texts")
        for _ in 0..<steps { rig.executor.runOne() }
        rig.coordinator.say(.master(Grant(number: 5)))
        rig.executor.run()
        rig.executor.advance(by: .seconds(5))
        #expect(rig.send(.get("a")).value?.reply == ["2"], "\(rig.messages)")
    }

    @Test func aStandbyWhoseMemstoreDoesNotFitMakesItAnewOnTheWayToItsClaim() throws {
        let rig = try standby("standby-claims-misfit")
        writeSettledOfAnotherLog(rig)
        rig.coordinator.say(.master(Grant(number: 10)))
        rig.executor.run()
        rig.executor.advance(by: .seconds(5))
        #expect(rig.kept.asideCount == 1, "\(rig.messages)")
        #expect(rig.send(.get("a")).value?.reply == ["1"], "\(rig.messages)")
    }

    @Test func aMasterThatHandsOverAnswersWhatIsInFlightAndFollows() throws {
        let rig = try rig("standby-retires")
        rig.serve(3)
        rig.base.holdsAcknowledgements = true
        let inFlight = rig.send(.put("a", "1"))
        rig.coordinator.say(.retiring(Grant(number: 3)))
        rig.executor.run()
        #expect(rig.send(.put("b", "1")).error?.code == .draining)
        #expect(rig.coordinator.released.isEmpty, "not before everything is answered")
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(inFlight.value != nil)
        #expect(rig.coordinator.released == [3])
        let settled = rig.records("texts").last?.record.value.flatMap { ControlRecord(bytes: $0)?.kind }
        #expect(settled == .settled, "the next master has nothing to rewrite")
        #expect(try rig.status.state == .standby)
        rig.coordinator.say(.master(Grant(number: 3)))
        rig.executor.run()
        #expect(try rig.status.state == .standby, "what was handed back is not taken again")
        rig.coordinator.say(.standby)
        rig.coordinator.say(.master(Grant(number: 4)))
        rig.executor.run()
        #expect(rig.send(.get("a")).value?.reply == ["1"])
    }

    @Test func aMasterThatDoesNotServeYetHandsBackAtOnce() throws {
        let rig = try rig("standby-hands-back")
        rig.base.holdsAcknowledgements = true
        rig.serve(3)
        #expect(try rig.status.state == .claiming)
        rig.coordinator.say(.retiring(Grant(number: 3)))
        rig.executor.run()
        #expect(rig.coordinator.released == [3])
    }

    @Test func nobodyServesBeforeFormerLeasesAreOver() throws {
        let rig = try rig("standby-confirms")
        rig.coordinator.holdsConfirmations = true
        rig.serve(2)
        #expect(try rig.status.state == .repairing)
        #expect(rig.peek("a").error?.outcome == .notApplied)
        rig.coordinator.confirmAll()
        rig.executor.run()
        #expect(try rig.status.state == .serving)
    }

    @Test func aGrantThatCannotBeConfirmedIsTriedAgain() throws {
        let rig = try rig("standby-unconfirmed")
        rig.coordinator.holdsConfirmations = true
        rig.serve(2)
        rig.coordinator.confirmAll(CoordinatorError(.io, "away"))
        rig.executor.run()
        #expect(try rig.status.reason == "coordinator: away")
        rig.coordinator.holdsConfirmations = false
        rig.executor.advance(by: .seconds(1))
        #expect(try rig.status.state == .serving)
    }

    @Test func aReadUnderALeaseCostsNoRecordAndOneBehindItAsksTheLog() throws {
        let rig = try rig("standby-lease")
        rig.start()
        let lease = lease(rig, for: .milliseconds(500))
        rig.coordinator.say(.master(Grant(number: 1, lease: lease)))
        rig.executor.run()
        let before = rig.records("texts").count
        #expect(rig.peek("a").value == .some(nil))
        #expect(rig.records("texts").count == before)
        rig.executor.advance(by: .milliseconds(600))
        let asked = rig.records("texts").count
        rig.base.holdsAcknowledgements = true
        let peeked = rig.peek("a")
        let rejected = rig.send(.reject("no"))
        #expect(peeked.isWaiting && rejected.isWaiting, "what wrote nothing rests on what was read")
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(peeked.value == .some(nil) && rejected.error?.rejection != nil)
        #expect(rig.records("texts").count > asked)
        lease.extend(to: rig.clock.monotonic.advanced(by: .milliseconds(500)))
        let again = rig.records("texts").count
        #expect(rig.peek("a").value == .some(nil))
        #expect(rig.records("texts").count == again)
        lease.finish()
        lease.extend(to: .never)
        #expect(!lease.covers(rig.clock.monotonic), "what was ended stays so")
    }

    @Test func aReplicaThatIsToBeNowhereLetsGo() throws {
        let rig = try standby("standby-absent")
        rig.coordinator.say(.absent)
        rig.executor.run()
        #expect(try rig.status.state == .stopped)
        #expect(rig.peek("a", envelope: Envelope(staleness: .seconds(1))).error?.outcome == .notApplied)
        rig.coordinator.say(.standby)
        rig.executor.run()
        #expect(rig.peek("a", envelope: Envelope(staleness: .seconds(1))).value == "1")
    }

    @Test func aStandbyWhoseMemstoreDoesNotFitMakesItAnewAndGoesOn() throws {
        let rig = try standby("standby-misfit")
        writeSettledOfAnotherLog(rig)
        rig.executor.run()
        #expect(rig.kept.asideCount == 1 && rig.messages.contains { $0.contains("memstore set aside") })
        #expect(try rig.status.state == .standby, "\(rig.messages)")
        #expect(rig.peek("a", envelope: Envelope(staleness: .seconds(1))).value == "1")
    }

    @Test func aQuietStandbyIsNotTakenForOneThatWasAway() throws {
        let rig = try standby("standby-quiet")
        for _ in 0..<13 { rig.executor.advance(by: .seconds(3600)) }
        rig.base.write(record("a", "2", Epoch(grant: 1, run: 0), 2, covers: 1), to: rig.partition, "texts")
        rig.executor.run()
        #expect(rig.peek("a", envelope: Envelope(staleness: .seconds(1))).value == "2")
        #expect(rig.kept.asideCount == 0, "\(rig.messages)")
        // What is kept on disk knows of the quiet time too.
        rig.stop()
        let again = try self.rig("standby-quiet", after: rig)
        again.start()
        again.coordinator.say(.standby)
        again.executor.run()
        #expect(again.kept.asideCount == 0, "\(again.messages)")
    }

    @Test func whoWaitsForAPositionIsToldWhenTheMemstoreIsMadeAnew() throws {
        let rig = try standby("standby-waiter")
        let far = Position([Offset(3), Offset(3), Offset(3), Offset(99)])
        let waiting = rig.peek("a", envelope: Envelope(positions: [0: far], staleness: .seconds(60)))
        #expect(waiting.isWaiting)
        writeSettledOfAnotherLog(rig)
        rig.executor.run()
        #expect(waiting.error?.outcome == .notApplied)
    }

    @Test func aReplayThatCannotBeProvedIsNotSaidToBeNotApplied() throws {
        let rig = try rig("standby-replay")
        rig.start()
        rig.coordinator.say(.master(Grant(number: 1, lease: lease(rig, for: .milliseconds(100)))))
        rig.executor.run()
        let request = Envelope(idempotency: IdempotencyKey("once", digest: [1]))
        #expect(rig.send(.put("a", "1"), envelope: request).value != nil)
        rig.executor.advance(by: .seconds(2))
        rig.base.holdsAcknowledgements = true
        let repeated = rig.send(.put("a", "1"), envelope: request)
        #expect(repeated.isWaiting)
        rig.executor.advance(by: .seconds(11))
        #expect(repeated.error?.outcome == .unknown)
    }
}
