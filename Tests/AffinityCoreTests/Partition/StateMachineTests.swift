import Testing

@testable import AffinityCore

/// The life of a replica as a value.
@Suite struct StateMachineTests {
    private let first = Epoch(grant: 1, run: 0)
    private let again = Epoch(grant: 1, run: 1)

    private func serving() -> PartitionStateMachine {
        var machine = PartitionStateMachine()
        #expect(machine.handle(.mastership(.master(Grant(number: 1)))) == .catchUp(first))
        #expect(machine.handle(.caughtUp(first, highest: .none)) == .claim(first))
        #expect(machine.handle(.claimed(first)) == .repair(first))
        #expect(machine.handle(.repaired(first)) == .settle(first))
        #expect(machine.handle(.settled(first)) == .confirm(first))
        #expect(machine.handle(.confirmed(first)) == .serve(first))
        #expect(machine.isServing)
        return machine
    }

    @Test func servesAndDrains() {
        var machine = serving()
        #expect(machine.handle(.drain) == .drain)
        #expect(machine.handle(.mastership(.master(Grant(number: 2)))) == .none)
        #expect(machine.handle(.failed("late", isRetriable: true, of: first)) == .none)
        #expect(machine.handle(.drained) == .release)
        #expect(machine.state == .stopped)
        #expect(machine.handle(.retry) == .none)
    }

    @Test func whoDoesNotServeStopsAtOnce() {
        var machine = PartitionStateMachine()
        _ = machine.handle(.mastership(.master(Grant(number: 1))))
        _ = machine.handle(.caughtUp(first, highest: .none))
        #expect(machine.handle(.drain) == .release)
        #expect(machine.state == .stopped)
    }

    @Test func aFailureIsRetriedUnderAHigherEpoch() {
        var machine = serving()
        machine.suspend("log")
        #expect(!machine.isServing)
        #expect(machine.handle(.failed("log", isRetriable: true, of: first)) == .releaseAndRetry)
        #expect(machine.handle(.retry) == .catchUp(again))
        #expect(machine.handle(.retry) == .none)
    }

    @Test func aLastingFailureIsNotRetried() {
        var machine = serving()
        #expect(machine.handle(.failed("damage", isRetriable: false, of: first)) == .release)
        #expect(machine.failure == "damage")
        #expect(machine.handle(.mastership(.master(Grant(number: 2)))) == .catchUp(Epoch(grant: 2, run: 0)))
    }

    @Test func aHigherEpochFoundBehindTheClaimAsksForAHigherGrant() {
        var machine = PartitionStateMachine()
        _ = machine.handle(.mastership(.master(Grant(number: 1))))
        _ = machine.handle(.caughtUp(first, highest: .none))
        _ = machine.handle(.claimed(first))
        #expect(machine.handle(.overtaken(again, by: Epoch(grant: 9, run: 0))) == .none)
        #expect(machine.handle(.overtaken(first, by: Epoch(grant: 6, run: 1))) == .renew(above: 6))
        #expect(!machine.isServing)
    }

    @Test func aHigherEpochInTheLogAsksForAHigherGrant() {
        var machine = PartitionStateMachine()
        _ = machine.handle(.mastership(.master(Grant(number: 1))))
        #expect(machine.handle(.caughtUp(first, highest: Epoch(grant: 4, run: 2))) == .renew(above: 4))
        #expect(machine.handle(.mastership(.master(Grant(number: 5)))) == .catchUp(Epoch(grant: 5, run: 0)))
    }

    @Test func theRunsOfAGrantEnd() {
        var machine = PartitionStateMachine()
        _ = machine.handle(.mastership(.master(Grant(number: 1))))
        for run in 0..<UInt16.max {
            _ = machine.handle(.failed("x", isRetriable: true, of: Epoch(grant: 1, run: run)))
            #expect(machine.handle(.retry) == .catchUp(Epoch(grant: 1, run: run + 1)))
        }
        _ = machine.handle(.failed("x", isRetriable: true, of: Epoch(grant: 1, run: .max)))
        #expect(machine.handle(.retry) == .renew(above: 1))
    }

    @Test func wordOfAFormerEpochIsIgnored() {
        var machine = PartitionStateMachine()
        _ = machine.handle(.mastership(.master(Grant(number: 1))))
        let second = Epoch(grant: 2, run: 0)
        #expect(machine.handle(.mastership(.master(Grant(number: 2)))) == .catchUp(second))
        #expect(machine.handle(.caughtUp(first, highest: .none)) == .none)
        #expect(machine.handle(.failed("old", isRetriable: true, of: first)) == .none)
        #expect(machine.state == .catchingUp(second))
        _ = machine.handle(.caughtUp(second, highest: .none))
        #expect(machine.handle(.claimed(first)) == .none)
        #expect(machine.handle(.settled(first)) == .none)
        #expect(machine.handle(.mastership(.standby)) == .follow)
        #expect(machine.handle(.failed("old", isRetriable: true, of: second)) == .none)
        #expect(machine.handle(.retry) == .none)
        #expect(machine.state == .standby)
    }

    @Test func aGrantIsTakenOnce() {
        var machine = serving()
        #expect(machine.handle(.mastership(.master(Grant(number: 1)))) == .none)
        #expect(machine.isServing)
    }

    @Test func aGrantThatNoEpochHasRoomForFails() {
        var machine = PartitionStateMachine()
        #expect(machine.handle(.mastership(.master(Grant(number: 1 << 48)))) == .release)
        #expect(machine.failure?.contains("48 bits") == true)
    }

    @Test func aCoordinatorThatCannotBeJoinedIsTriedAgain() {
        var machine = PartitionStateMachine()
        #expect(machine.handle(.failed("down", isRetriable: true, of: nil)) == .releaseAndRetry)
        #expect(machine.handle(.retry) == .join)
    }
}
