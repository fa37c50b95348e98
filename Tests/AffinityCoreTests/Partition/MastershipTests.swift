import AffinityTesting
import Testing

@testable import AffinityCore

/// Step-down, retry, drain and stop.
@Suite struct MastershipTests {
    @Test func theClaimAndTheSettledStandBeforeEverythingElse() throws {
        let rig = try Rig("mastership-claim")
        rig.serve()
        #expect(rig.send(.put("a", "1")).value?.version == Version(3))
        for store in ["_requests", "bytes", "numbers", "texts"] {
            let kinds = rig.records(store).prefix(2).map { $0.record.value.flatMap { ControlRecord(bytes: $0)?.kind } }
            #expect(kinds == [.claim, .settled], "\(store)")
        }
        let stamps = rig.records("texts").map { $0.record.headers.stamp }
        #expect(stamps.map { $0?.number } == [0, 0, 1])
        #expect(stamps.map { $0?.count } == [4, 4, 1])
        #expect(rig.notes == ["standby", "master 1.0"])
    }

    @Test func aLogFailureLeavesTheOutcomeUnknownAndIsRetriedUnderAHigherEpoch() throws {
        let rig = try Rig("mastership-log-failure")
        rig.serve()
        #expect(rig.send(.put("a", "1")).value != nil)
        rig.base.holdsAcknowledgements = true
        let written = rig.send(.put("a", "2"))
        let lost = rig.send(.put("b", "1"))
        let rejected = rig.send(.reject("no"))
        rig.base.fail(with: LogError(.io, "gone"), written: 1)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(written.error?.outcome == .unknown)
        #expect(lost.error?.outcome == .unknown)
        #expect(rejected.error?.outcome == .notApplied, "nothing of it was handed over")
        #expect(rig.send(.get("a")).error?.code == .notReady)
        rig.executor.advance(by: .seconds(1))
        #expect(try rig.status.epoch == Epoch(grant: 1, run: 1))
        #expect(rig.peek("a").value == "2", "what reached the log is applied by the next epoch")
        #expect(rig.peek("b").value == .some(nil))
        #expect(rig.send(.put("b", "2")).value != nil)
        #expect(rig.notes == ["standby", "master 1.0", "standby", "master 1.1"])
    }

    @Test func aMemstoreFailureStepsDownAndTheWriteIsThereAfterwards() throws {
        let rig = try Rig("mastership-memstore-failure")
        rig.serve()
        rig.memstores.fail(.commit, with: MemStoreError(.io, "disk"))
        #expect(rig.send(.put("a", "1"), .publish("p")).error?.outcome == .unknown)
        rig.executor.advance(by: .seconds(1))
        #expect(rig.peek("a").value == "1")
    }

    @Test func somebodyElseInTheLogStepsDown() throws {
        let rig = try Rig("mastership-fenced")
        rig.serve()
        rig.base.write(Record(key: Array("x".utf8), value: [49], headers: RecordHeaders()), to: rig.partition, "texts")
        #expect(rig.send(.put("a", "1")).error?.outcome == .unknown)
        rig.executor.advance(by: .seconds(1))
        #expect(rig.peek("x").value == "1")
        #expect(rig.peek("a").value == "1")
    }

    @Test func standbyReleasesAndMasterServesAgain() throws {
        let rig = try Rig("mastership-standby")
        rig.serve()
        rig.base.holdsAcknowledgements = true
        let waiting = rig.send(.put("a", "1"))
        rig.coordinator.say(.standby)
        rig.executor.run()
        #expect(waiting.error?.outcome == .unknown)
        #expect(try rig.status.role == .standby)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        rig.coordinator.say(.master(Grant(number: 2)))
        rig.executor.run()
        #expect(try rig.status.epoch == Epoch(grant: 2, run: 0))
    }

    @Test func mastershipLostWhileClaiming() throws {
        let rig = try Rig("mastership-lost-claiming")
        rig.base.holdsAcknowledgements = true
        rig.serve()
        #expect(try rig.status.state == .claiming)
        #expect(rig.send(.put("a", "1")).error?.code == .notReady)
        rig.coordinator.say(.standby)
        rig.executor.run()
        #expect(try rig.status.state == .standby)
        rig.coordinator.say(.master(Grant(number: 2)))
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(try rig.status.state == .serving)
    }

    @Test func onlyTheNewestWordOfTheCoordinatorCounts() throws {
        let rig = try Rig("mastership-newest")
        rig.start()
        for number in 1...1000 as ClosedRange<UInt64> {
            rig.coordinator.say(.master(Grant(number: number)))
            rig.coordinator.say(.standby)
        }
        rig.coordinator.say(.master(Grant(number: 1001)))
        rig.executor.run()
        #expect(try rig.status.epoch == Epoch(grant: 1001, run: 0))
        #expect(rig.records("texts").count == 2)
    }

    @Test func drainAnswersWhatIsInFlightAndRefusesWhatIsNew() throws {
        let rig = try Rig("mastership-drain", limits: StateLimits(commands: 2))
        rig.serve()
        rig.base.holdsAcknowledgements = true
        let inFlight = [rig.send(.put("a", "1")), rig.send(.put("b", "1"))]
        let inLine = rig.send(.put("c", "1"))
        rig.stop()
        #expect(!rig.isEnded)
        #expect(inLine.error?.code == .draining)
        #expect(rig.send(.put("d", "1")).error?.code == .draining)
        #expect(rig.peek("a").error?.code == .draining)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(inFlight.allSatisfy { $0.value != nil })
        #expect(rig.isEnded)
        #expect(rig.notes.suffix(2) == ["standby", "stopping"])
        #expect(rig.coordinator.joined == 0)
    }

    @Test func aLogThatDoesNotAnswerDoesNotKeepTheNodeFromStopping() throws {
        let rig = try Rig("mastership-hung-log")
        rig.serve()
        rig.base.holdsAcknowledgements = true
        let waiting = rig.send(.put("a", "1"), envelope: Envelope(deadline: MonotonicTime(nanoseconds: .max - 1)))
        rig.stop()
        rig.executor.advance(by: .seconds(10))
        #expect(waiting.error?.outcome == .unknown)
        #expect(rig.isEnded)
    }

    @Test func stopWhileClaimingAndBeforeTheCoordinatorSpoke() throws {
        let claiming = try Rig("mastership-stop-claiming")
        claiming.base.holdsAcknowledgements = true
        claiming.serve()
        claiming.stop()
        #expect(claiming.isEnded)
        let starting = try Rig("mastership-stop-starting")
        starting.start()
        starting.stop()
        #expect(starting.isEnded)
        #expect(starting.coordinator.joined == 0)
    }

    @Test func aCoordinatorThatIsAwayIsJoinedLater() throws {
        let rig = try Rig("mastership-join")
        rig.coordinator.failJoin(with: CoordinatorError(.io, "away"))
        rig.start()
        #expect(try rig.status.reason == "coordinator: away")
        rig.executor.advance(by: .seconds(1))
        rig.coordinator.say(.master(Grant(number: 1)))
        rig.executor.run()
        #expect(try rig.status.state == .serving)
    }

    @Test func aCancelledReplicaLeavesNobodyWaiting() throws {
        let rig = try Rig("mastership-cancelled")
        let service = rig.service
        let task = Task(executorPreference: rig.executor) { await service.run() }
        rig.executor.run()
        rig.coordinator.say(.master(Grant(number: 1)))
        rig.executor.run()
        rig.base.holdsAcknowledgements = true
        let waiting = rig.send(.put("a", "1"))
        task.cancel()
        rig.executor.run()
        #expect(waiting.error?.outcome == .unknown)
        #expect(rig.coordinator.joined == 0)
    }
}
