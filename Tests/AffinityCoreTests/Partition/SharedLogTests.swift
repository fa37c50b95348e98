import AffinityTesting
import Testing

@testable import AffinityCore

/// A log that others write to as well: the rules W3, W6, R1 to R3, C2 to C4, S1 and Q3 of the protocol, one by one.
@Suite struct SharedLogTests {
    private func rig(_ keyspace: String, after former: Rig? = nil, provesReads: Bool = false) throws -> Rig {
        let rig = try Rig(
            keyspace, keepsMemStores: true, after: former,
            log: former?.base ?? InMemoryChangeLog(isExclusive: false, tellsForgotten: false), provesReads: provesReads)
        return rig
    }

    private func serving(_ keyspace: String, provesReads: Bool = false) throws -> Rig {
        let rig = try rig(keyspace, provesReads: provesReads)
        rig.serve()
        #expect(try rig.status.state == .serving, "\(rig.messages)")
        return rig
    }

    /// A record as a master of `epoch` writes it.
    private func record(
        _ key: String, _ value: String?, _ epoch: Epoch, _ number: UInt64 = 1, of count: UInt32 = 1, covers: UInt64 = 0
    ) -> Record {
        let stamp = RecordStamp(epoch: epoch, number: number, count: count, acknowledged: covers)
        return Record(
            key: Array(key.utf8), value: value.map { Array($0.utf8) }, headers: RecordHeaders(stamp: stamp))
    }

    private func foreign(_ key: String, _ value: String?) -> Record {
        Record(key: Array(key.utf8), value: value.map { Array($0.utf8) }, headers: RecordHeaders())
    }

    private func control(
        _ kind: ControlRecord.Kind, _ epoch: Epoch, on rig: Rig, covers: UInt64 = 0,
        in stores: [String] = ["_requests", "bytes", "numbers", "texts"]
    ) {
        let log = rig.base.records(rig.partition, "texts").compactMap { record -> UInt64? in
            record.record.value.flatMap { ControlRecord(bytes: $0)?.logNumber }
        }
        let value = ControlRecord(kind, log: log.first ?? 7, node: NodeID("n9")).bytes
        let stamp = RecordStamp(epoch: epoch, number: 0, count: 4, acknowledged: covers)
        for store in stores {
            rig.base.write(
                Record(key: [], value: value, headers: RecordHeaders(stamp: stamp)), to: rig.partition, store)
        }
    }

    private func texts(_ rig: Rig) -> [String] {
        rig.records("texts").map { logged in
            let value = logged.record.value ?? []
            if let control = ControlRecord(bytes: value) { return control.kind.rawValue }
            let stamp = logged.record.headers.stamp
            let text = logged.record.value.map { String(decoding: $0, as: UTF8.self) } ?? "-"
            return "\(String(decoding: logged.record.key, as: UTF8.self))=\(text)" + (stamp == nil ? "*" : "")
        }
    }

    // MARK: - W3, W6, §10

    @Test func anIdleMasterNoticesForeignRecordsWithinThePoll() throws {
        let rig = try serving("shared-poll")
        rig.base.write(foreign("x", "1"), to: rig.partition, "texts")
        #expect(rig.peek("x").value == .some(nil))
        rig.executor.advance(by: .milliseconds(100))
        #expect(rig.peek("x").value == "1")
        rig.base.write(foreign("x", nil), to: rig.partition, "texts")
        rig.executor.advance(by: .milliseconds(100))
        #expect(rig.peek("x").value == .some(nil))
        #expect(rig.send(.put("a", "1")).value?.version == Version(5))
        #expect(try rig.status.state == .serving)
    }

    @Test func foreignRecordsAreAppliedWhereTheyStand() throws {
        let rig = try serving("shared-gap")
        rig.base.holdsAcknowledgements = true
        let first = rig.send(.put("a", "1"), .put("b", "1"))
        let second = rig.send(.put("a", "2"))
        rig.base.write(foreign("a", "f"), to: rig.partition, "texts")
        rig.base.write(foreign("c", "f"), to: rig.partition, "texts")
        rig.base.acknowledge(1)
        rig.executor.run()
        rig.base.write(foreign("b", "g"), to: rig.partition, "texts")
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(first.value?.version == Version(6))
        #expect(second.value?.version == Version(8))
        #expect(texts(rig) == ["claim", "settled", "a=f*", "c=f*", "a=1", "b=1", "b=g*", "a=2"])
        #expect(rig.peek("a").value == "2")
        #expect(rig.peek("b").value == "g")
        #expect(rig.peek("c").value == "f")
        #expect(rig.send(.version("b")).value?.reply.first?.hasPrefix("7@") == true)
    }

    @Test func aCommandThatSawAForetoldVersionWhichTurnedOutWrongRunsAgain() throws {
        let rig = try serving("shared-foretold")
        rig.base.holdsAcknowledgements = true
        let write = rig.send(.put("a", "1"))
        let early = rig.send(.version("a"), .effect("seen"))
        rig.base.write(foreign("f", "1"), to: rig.partition, "texts")
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(write.value?.version == Version(4))
        #expect(early.value?.reply.first?.hasPrefix("4@") == true, "\(early.value?.reply ?? [])")
        #expect(rig.notes.filter { $0 == "seen" } == ["seen"], "what it does after its commit is done once")
    }

    @Test func aCommandThatNeverSeesAVersionThatStaysIsRefusedWithoutATrace() throws {
        let rig = try serving("shared-overtaken")
        rig.base.holdsAcknowledgements = true
        _ = rig.send(.put("a", "0"))
        let early = rig.send(.version("a"), .effect("seen"))
        for round in 1...8 where early.value == nil && early.error == nil {
            // The one before stands elsewhere than foretold; this one's version, too, is foretold when `early` runs anew.
            _ = rig.send(.put("a", "\(round)"))
            rig.base.write(foreign("f", "\(round)"), to: rig.partition, "texts")
            rig.base.acknowledge(1)
            rig.executor.run()
        }
        #expect(early.error?.outcome == .notApplied)
        #expect(early.error?.code == .overloaded)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(!rig.notes.contains("seen"), "what was not applied has no effects")
    }

    @Test func aConditionIsHeldAgainstTheVersionsThatFollowFromTheLastGap() throws {
        let rig = try serving("shared-shifted")
        rig.base.holdsAcknowledgements = true
        let first = rig.send(.put("a", "1"))
        let second = rig.send(.put("a", "2"))
        rig.base.write(foreign("f", "1"), to: rig.partition, "texts")
        rig.base.acknowledge(1)
        rig.executor.run()
        // The first stands where the second was foretold to stand, and its version is known to its client.
        #expect(first.value?.version == Version(4))
        let third = rig.send(.version("a"), .put("b", "1"))
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(second.value?.version == Version(5))
        #expect(third.value?.reply.first?.hasPrefix("5@") == true, "\(third.value?.reply ?? [])")
    }

    @Test func acksWaitForTheGapBeforeThem() throws {
        let rig = try serving("shared-gap-waits")
        rig.base.holdsAcknowledgements = true
        let all = (0..<5).map { rig.send(.put("k\($0)", "1")) }
        for number in 0..<5 {
            rig.base.write(foreign("f", "\(number)"), to: rig.partition, "texts")
            rig.base.acknowledge(1)
        }
        rig.executor.run()
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(all.map { $0.value?.version } == [4, 6, 8, 10, 12].map { Version($0) })
        #expect(rig.peek("f").value == "4")
    }

    @Test func aHigherEpochFencesAndNothingBehindItIsAcknowledged() throws {
        let rig = try serving("shared-fenced")
        #expect(rig.send(.put("a", "1")).value != nil)
        rig.base.holdsAcknowledgements = true
        let before = rig.send(.put("a", "2"))
        let behind = (0..<3).map { rig.send(.put("b\($0)", "1")) }
        rig.base.acknowledge(1)
        control(.claim, Epoch(grant: 9, run: 0), on: rig)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(before.value != nil)
        #expect(behind.allSatisfy { $0.error?.outcome == .notApplied })
        rig.executor.advance(by: .seconds(1))
        #expect(rig.coordinator.renewals == [9])
        rig.coordinator.say(.master(Grant(number: 10)))
        rig.executor.run()
        #expect(rig.peek("a").value == "2")
        for number in 0..<3 { #expect(rig.peek("b\(number)").value == .some(nil)) }
        #expect(
            texts(rig).suffix(5).sorted() == ["a=2", "b0=-", "b1=-", "b2=-", "settled"], "C3 overwrites what is void")
        #expect(rig.kept.asideCount == 0)
    }

    @Test func aHoleIsAcceptedWhileNoClaimCanHaveBeenCompacted() throws {
        for isOld in [false, true] {
            let rig = try serving("shared-hole-\(isOld)")
            #expect(rig.send(.put("a", "1")).value != nil)
            rig.base.holdsAcknowledgements = true
            let sent = rig.send(.put("b", "1"))
            if isOld { rig.clock.advance(by: .seconds(86_400)) }
            rig.base.writeMarker(to: rig.partition, "texts")
            rig.base.holdsAcknowledgements = false
            rig.executor.run()
            #expect(isOld ? sent.error?.outcome == .unknown : sent.value?.version == Version(5))
        }
    }

    // MARK: - W5

    @Test func aCommandThatStandsBeforeTheClaimsIsNotCalledVoidForASettledBehindThem() throws {
        let rig = try serving("shared-proof-behind", provesReads: true)
        rig.base.holdsAcknowledgements = true
        let query = rig.peek("a")
        let sent = rig.send(.put("a", "1"))
        // Of the proof, one record lies behind the claim; of the command, none.
        control(.claim, Epoch(grant: 9, run: 0), on: rig, in: ["bytes"])
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(query.error?.outcome == .notApplied)
        #expect(sent.error?.outcome == .unknown)
    }

    // MARK: - S1

    @Test func staleRecordsAreOverwrittenByTheNewestValue() throws {
        let former = try serving("shared-stale")
        #expect(former.send(.put("a", "1"), .put("b", "1")).value != nil)
        former.stop()
        let rig = try rig("shared-stale", after: former)
        rig.serve(2)
        let old = Epoch(grant: 1, run: 0)
        rig.base.write(record("a", "stale", old, 2), to: rig.partition, "texts")
        rig.base.write(record("z", "stale", old, 3), to: rig.partition, "texts")
        rig.executor.advance(by: .milliseconds(100))
        #expect(rig.peek("a").value == "1")
        #expect(rig.peek("z").value == .some(nil))
        #expect(texts(rig).suffix(4) == ["a=stale", "z=stale", "a=1", "z=-"])
    }

    @Test func commandsSeeTheVersionThatAnOverwritingWillGive() throws {
        let former = try serving("shared-stale-version")
        #expect(former.send(.put("a", "1")).value != nil)
        former.stop()
        let rig = try rig("shared-stale-version", after: former)
        rig.serve(2)
        let before = rig.send(.version("a")).value?.reply
        rig.base.write(record("a", "stale", Epoch(grant: 1, run: 0), 2), to: rig.partition, "texts")
        rig.base.holdsAcknowledgements = true
        rig.executor.advance(by: .milliseconds(100))
        let meanwhile = rig.send(.version("a"), .put("b", "1"))
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(texts(rig).suffix(3) == ["a=stale", "a=1", "b=1"])
        let after = try #require(rig.send(.version("a")).value?.reply)
        #expect(meanwhile.value?.reply == after)
        #expect(after != before)
    }

    @Test func aWriteOnItsWayIsNewerThanTheForeignRecordBeforeIt() throws {
        let former = try serving("shared-stale-in-flight")
        former.stop()
        let rig = try rig("shared-stale-in-flight", after: former)
        rig.serve(2)
        rig.base.holdsAcknowledgements = true
        let sent = rig.send(.put("a", "2"))
        rig.base.write(record("a", "stale", Epoch(grant: 1, run: 0), 2), to: rig.partition, "texts")
        rig.base.write(foreign("a", "f"), to: rig.partition, "texts")
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(sent.value != nil)
        #expect(rig.peek("a").value == "2")
        #expect(texts(rig).suffix(4) == ["a=stale", "a=f*", "a=2", "a=2"])
    }

    @Test func aBusyChangelogDoesNotHideTheOthers() throws {
        let rig = try serving("shared-busy")
        for number in 0..<3 {
            rig.base.write(
                Record(key: [9], value: [1], headers: RecordHeaders()), to: rig.partition, "bytes")
            rig.base.write(foreign("x", "\(number)"), to: rig.partition, "texts")
            rig.executor.advance(by: .milliseconds(100))
            #expect(rig.peek("x").value == "\(number)")
        }
    }

    @Test func aStaleControlRecordIsAnsweredByASettled() throws {
        let former = try serving("shared-stale-claim")
        former.stop()
        let rig = try rig("shared-stale-claim", after: former)
        rig.serve(2)
        let count = rig.records("texts").count
        control(.claim, Epoch(grant: 1, run: 7), on: rig)
        rig.executor.advance(by: .milliseconds(100))
        #expect(texts(rig).suffix(2) == ["claim", "settled"])
        #expect(rig.records("texts").last?.record.headers.stamp?.epoch == Epoch(grant: 2, run: 0))
        rig.executor.advance(by: .seconds(5))
        #expect(rig.records("texts").count <= count + 5)
    }

    // MARK: - W6, R3, C3

    @Test func aQuietMasterCoversItsLastCommands() throws {
        let rig = try serving("shared-cover")
        #expect(rig.send(.put("a", "1")).value != nil)
        rig.executor.advance(by: .milliseconds(900))
        #expect(texts(rig) == ["claim", "settled", "a=1"])
        rig.executor.advance(by: .milliseconds(200))
        #expect(texts(rig) == ["claim", "settled", "a=1", "settled"])
        #expect(rig.records("texts").last?.record.headers.stamp?.acknowledged == 1)
        rig.executor.advance(by: .seconds(5))
        #expect(texts(rig).count == 4)
    }

    @Test func aRepeatedRequestCoversNothingByItself() throws {
        let rig = try serving("shared-cover-repeat")
        var envelope = Envelope()
        envelope.idempotency = IdempotencyKey("r", digest: [1])
        for _ in 0..<2 { #expect(rig.send(.put("a", "1"), envelope: envelope).value != nil) }
        // The repeat knew that the first one was acknowledged, but wrote nothing that says so.
        rig.executor.advance(by: .milliseconds(1100))
        #expect(texts(rig) == ["claim", "settled", "a=1", "settled"])
        #expect(rig.records("texts").last?.record.headers.stamp?.acknowledged == 1)
    }

    @Test func aClaimantRewritesWhatIsNotCovered() throws {
        let former = try serving("shared-rewrite")
        #expect(former.send(.put("a", "1")).value != nil)
        #expect(former.send(.put("b", "1")).value != nil)
        // `b` carries an `a` of 1: only its own command is not covered. No settled follows: the process ends here.
        let rig = try rig("shared-rewrite", after: former)
        rig.serve(2)
        #expect(texts(rig) == ["claim", "settled", "a=1", "b=1", "claim", "b=1", "settled"])
        #expect(rig.peek("a").value == "1" && rig.peek("b").value == "1")
        #expect(rig.send(.version("b")).value?.reply.first?.hasPrefix("6@") == true)
    }

    @Test func aProperStopLeavesNothingToRewrite() throws {
        let former = try serving("shared-stop")
        #expect(former.send(.put("a", "1")).value != nil)
        former.stop()
        let rig = try rig("shared-stop", after: former)
        rig.serve(2)
        #expect(texts(rig) == ["claim", "settled", "a=1", "settled", "claim", "settled"])
    }

    @Test func anIncompleteCommandIsVoidAndItsKeysAreRewritten() throws {
        let former = try serving("shared-incomplete")
        #expect(former.send(.put("a", "1"), .number("n", 1)).value != nil)
        let epoch = Epoch(grant: 1, run: 0)
        former.base.write(record("a", "torn", epoch, 2, of: 2, covers: 1), to: former.partition, "texts")
        former.base.write(record("b", "behind", epoch, 3, covers: 1), to: former.partition, "texts")
        let rig = try rig("shared-incomplete", after: former)
        rig.serve(2)
        #expect(rig.peek("a").value == "1")
        #expect(rig.peek("b").value == .some(nil))
        #expect(Set(texts(rig).suffix(3)) == ["a=1", "b=-", "settled"])
    }

    @Test func anotherMasterUnderTheSameEpochIsFound() throws {
        for isBefore in [true, false] {
            let former = try serving("shared-equal-\(isBefore)")
            former.stop()
            let rig = try rig("shared-equal-\(isBefore)", after: former)
            rig.base.holdsAcknowledgements = true
            rig.serve(2)
            if !isBefore { rig.base.acknowledge(1) }
            control(.claim, Epoch(grant: 2, run: 0), on: rig)
            control(.settled, Epoch(grant: 2, run: 0), on: rig)
            rig.base.holdsAcknowledgements = false
            rig.executor.run()
            #expect(rig.coordinator.renewals == [2], "\(isBefore)")
            #expect(try rig.status.state != .serving)
        }
    }

    @Test func anEpochThatNeverSettledIsVoid() throws {
        let former = try serving("shared-unsettled")
        #expect(former.send(.put("a", "1")).value != nil)
        former.stop()
        let epoch = Epoch(grant: 5, run: 0)
        control(.claim, epoch, on: former)
        former.base.write(record("a", "void", epoch, 1), to: former.partition, "texts")
        former.base.write(record("b", "void", epoch, 2, covers: 1), to: former.partition, "texts")
        let rig = try rig("shared-unsettled", after: former)
        rig.serve(6)
        #expect(rig.peek("a").value == "1")
        #expect(rig.peek("b").value == .some(nil))
        #expect(Set(texts(rig).suffix(3)) == ["a=1", "b=-", "settled"])
    }

    @Test func aLostDoubtIsSaidLoudly() throws {
        let former = try serving("shared-late")
        #expect(former.send(.put("a", "1")).value != nil)
        former.base.write(record("a", "void", Epoch(grant: 1, run: 0), 3), to: former.partition, "texts")
        former.clock.advance(by: .seconds(86_401))
        let rig = try rig("shared-late", after: former)
        rig.serve(2)
        #expect(rig.messages.contains { $0.contains("older than the compaction lag") && $0.contains("texts \"a\"") })
    }

    // MARK: - Q3

    @Test func aQueryWaitsForTheLogsProof() throws {
        let rig = try serving("shared-proof", provesReads: true)
        #expect(rig.send(.put("a", "1")).value != nil)
        rig.base.holdsAcknowledgements = true
        let first = rig.peek("a")
        let second = rig.peek("a")
        #expect(first.isWaiting && second.isWaiting)
        rig.base.acknowledge(1)
        rig.executor.run()
        #expect(first.value == "1")
        #expect(second.isWaiting, "it had read after the proof was handed over")
        rig.base.acknowledge(1)
        rig.executor.run()
        #expect(second.value == "1")
    }

    @Test func aCommandThatWritesNothingWaitsForTheProofToo() throws {
        let rig = try serving("shared-proof-empty", provesReads: true)
        rig.base.holdsAcknowledgements = true
        let rejected = rig.send(.reject("no"))
        let read = rig.send(.get("a"))
        #expect(rejected.isWaiting && read.isWaiting)
        control(.claim, Epoch(grant: 9, run: 0), on: rig)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(rejected.error?.outcome == .notApplied && read.error?.outcome == .notApplied)
    }

    @Test func aQueryOfAFencedMasterIsNotAnswered() throws {
        let rig = try serving("shared-proof-fenced", provesReads: true)
        rig.base.holdsAcknowledgements = true
        let query = rig.peek("a")
        control(.claim, Epoch(grant: 9, run: 0), on: rig)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(query.error?.outcome == .notApplied)
    }

    @Test func aProofThatDoesNotComeEndsWithTheDeadline() throws {
        let rig = try serving("shared-proof-deadline", provesReads: true)
        rig.base.holdsAcknowledgements = true
        let query = rig.peek("a")
        rig.executor.advance(by: .seconds(10))
        #expect(query.error?.code == .deadline)
    }

    // MARK: - §9, §7

    @Test func anOutcomeNamesTheVersionThatTheLogGave() throws {
        let rig = try serving("shared-outcome")
        var envelope = Envelope()
        envelope.idempotency = IdempotencyKey("r", digest: [1])
        rig.base.holdsAcknowledgements = true
        let sent = rig.send(.put("a", "1"), envelope: envelope)
        let waiting = rig.send(.put("a", "1"), envelope: envelope)
        rig.base.write(foreign("x", "1"), to: rig.partition, "texts")
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(sent.value?.version == Version(4))
        #expect(waiting.value?.isReplay == true && waiting.value?.version == Version(4))
        let again = rig.send(.put("a", "1"), envelope: envelope)
        #expect(again.value?.isReplay == true)
        #expect(again.value?.version == Version(4))
    }

    @Test func twoThatClaimANewLogAtOnceGiveItOneNumber() throws {
        let rig = try rig("shared-two-first")
        // The other one's settled came into one changelog only before it was lost.
        control(.claim, Epoch(grant: 1, run: 0), on: rig)
        control(.settled, Epoch(grant: 1, run: 0), on: rig, in: ["texts"])
        rig.serve(2)
        #expect(try rig.status.state == .serving)
        let settled = rig.records("texts").last.flatMap { ControlRecord(bytes: $0.record.value ?? [])?.logNumber }
        #expect(settled == 7, "that of the first claim")
        rig.kept.forget(rig.partition, after: 0)
        let next = try self.rig("shared-two-first", after: rig)
        next.serve(3)
        #expect(try next.status.state == .serving, "\(next.messages)")
        #expect(next.kept.asideCount == 0)
    }

    @Test func aLogThatWasQuietForLongDoesNotMakeAMemstoreTooOld() throws {
        let former = try serving("shared-quiet")
        #expect(former.send(.put("a", "1")).value != nil)
        former.stop()
        former.clock.advance(by: .seconds(864_000))
        let rig = try rig("shared-quiet", after: former)
        rig.serve(2)
        #expect(try rig.status.state == .serving)
        #expect(rig.kept.asideCount == 0)
        #expect(rig.peek("a").value == "1")
    }

    @Test func aLogThatWasMadeAnewIsNotServed() throws {
        let rig = try serving("shared-anew")
        #expect(rig.send(.put("a", "1")).value != nil)
        rig.base.removeAll(rig.partition)
        #expect(rig.send(.put("a", "2")).error?.outcome == .unknown)
        rig.executor.advance(by: .seconds(1))
        #expect(try rig.status.state == .failed)
        #expect(try rig.status.reason?.contains("made anew") == true)
        #expect(rig.kept.asideCount == 0)
    }
}
