import AffinityTesting
import Testing

@testable import AffinityCore

/// The order of append, ack, apply and reply, with the log's words given by hand.
@Suite struct PipelineTests {
    @Test func theNextCommandReadsThroughTheOverlayAndQueriesDoNot() throws {
        let bench = try Bench()
        try bench.run(.put("a", "1"))
        #expect(try bench.run(.get("a")) == ["1"])
        #expect(try bench.partition.read(Peek("a")).get() == nil)
        bench.acknowledge()
        #expect(try bench.partition.read(Peek("a")).get() == "1")
        #expect(bench.partition.inFlight == 0)
    }

    @Test func answersKeepTheirOrder() throws {
        let bench = try Bench()
        try bench.run(.put("a", "1"), .publish("first"))
        // Neither writes; both wait for what is before them.
        #expect(bench.refusal(.publish("never"), .reject("no"))?.outcome == .rejected)
        try bench.run(.publish("second"))
        #expect(bench.partition.inFlight == 3)
        #expect(bench.events.isEmpty)
        bench.acknowledge()
        #expect(bench.events == ["first", "second"])
        #expect(bench.partition.inFlight == 0)
    }

    @Test func aBatchIsAppliedWholeWithItsPosition() throws {
        let bench = try Bench()
        try bench.run(.put("a", "1"), .number("n", 1))
        try bench.run(.put("b", "2"))
        bench.acknowledge(1)
        #expect(bench.committed("a") == nil, "half of a command is not applied")
        bench.acknowledge(2)
        #expect(bench.committed("a")?.value == "1")
        #expect(bench.committed("b")?.value == "2")
        // _requests, bytes, numbers, texts.
        #expect(bench.partition.position.description == "0.0.1.2")
    }

    @Test func recordsCarryTheirStamp() throws {
        let bench = try Bench()
        try bench.run(.put("a", "1"), .number("n", 1))
        try bench.run(.get("a"))
        _ = bench.refusal(.put("x", "y"), .reject("no"))
        bench.acknowledge()
        try bench.run(.put("b", "2"))
        let stamps = bench.log.records.map { $0.record.headers.stamp }
        let epoch = Epoch(grant: 1, run: 0)
        #expect(
            stamps == [
                RecordStamp(epoch: epoch, number: 1, count: 2, acknowledged: 0),
                RecordStamp(epoch: epoch, number: 1, count: 2, acknowledged: 0),
                RecordStamp(epoch: epoch, number: 2, count: 1, acknowledged: 1),
            ])
        #expect(bench.log.commands.count == 2, "commands without writes hand nothing over")
    }

    @Test func oneRecordAKey() throws {
        let bench = try Bench()
        try bench.run(.put("a", "1"), .put("b", "2"), .put("a", "3"), .remove("b"), .put("b", "4"))
        #expect(bench.log.records.map { $0.record.value } == [Array("3".utf8), Array("4".utf8)])
        bench.acknowledge()
        #expect(bench.committed("a")?.version == Version(1))
        #expect(bench.committed("b")?.version == Version(2))
    }

    @Test func removingWhatIsNotThereWritesNothing() throws {
        let bench = try Bench()
        #expect(try bench.run(.remove("a")) == ["-"])
        #expect(bench.log.records.isEmpty)
        try bench.run(.put("a", "1"))
        #expect(try bench.run(.remove("a")) == ["1"])
        #expect(try bench.run(.remove("a")) == ["-"], "the overlay knows that it is gone")
        #expect(bench.log.records.count == 2)
        bench.acknowledge()
        #expect(bench.committed("a") == nil)
    }

    @Test func aRejectionUndoesEverything() throws {
        let bench = try Bench()
        try bench.run(.put("a", "1"))
        let error = bench.refusal(
            .put("a", "2"), .put("b", "2"), .number("n", 1), .publish("x"), .effect("y"), .reject("no"))
        #expect(error?.rejection == Rejected("no"))
        #expect(try bench.run(.get("a"), .get("b"), .version("a")).prefix(2) == ["1", "-"])
        try bench.run(.put("c", "3"))
        #expect(bench.acknowledge() == nil, "the offsets that were expected of undone writes are free again")
        #expect(bench.committed("c")?.version == Version(2))
        #expect(bench.events.isEmpty && bench.effects == 0)
    }

    @Test func effectsLeaveOnceAndOnlyAfterTheCommit() throws {
        let bench = try Bench()
        try bench.run(.put("a", "1"), .publish("p"), .effect("e"))
        #expect(bench.events.isEmpty && bench.effects == 0)
        bench.acknowledge()
        bench.acknowledge()
        #expect(bench.events == ["p"] && bench.effects == 1)
    }

    @Test func anAckOutOfPlaceStepsDown() throws {
        let bench = try Bench()
        try bench.run(.put("a", "1"))
        let reason = bench.partition.acknowledge([LogAck(changelog: 3, result: .success(Offset(1)))])
        #expect(reason?.contains("acknowledged at 1 instead of 0") == true)
        #expect(bench.committed("a") == nil)
    }

    @Test func anAckForNothingStepsDown() throws {
        let bench = try Bench()
        #expect(bench.partition.acknowledge([LogAck(changelog: 3, result: .success(.zero))]) != nil)
    }

    @Test func whatWasAcknowledgedBeforeAFailureIsApplied() throws {
        let bench = try Bench()
        try bench.run(.put("a", "1"))
        try bench.run(.put("b", "2"))
        let acks = bench.log.takeAcks(1) + [LogAck(changelog: 3, result: .failure(LogError(.io, "gone")))]
        #expect(bench.partition.acknowledge(acks) == "the log failed: gone")
        #expect(bench.committed("a")?.value == "1")
        #expect(bench.committed("b") == nil)
    }

    @Test func aFailedCommitAppliesAndDeliversNothing() throws {
        let bench = try Bench()
        try bench.run(.put("a", "1"), .publish("p"))
        bench.engine.fail(.commit, with: MemStoreError(.io, "disk"))
        #expect(bench.acknowledge() == "the memstore failed: disk")
        #expect(bench.events.isEmpty)
        #expect(bench.partition.position.description == "0.0.0.0", "a position that no memstore has is not announced")
    }

    @Test func versionsAndTimes() throws {
        let bench = try Bench()
        try bench.run(.dated("a", "1", 42, ["x", "y"]))
        #expect(try bench.run(.version("a")) == ["1@42"])
        try bench.run(.put("a", "2"))
        bench.acknowledge()
        #expect(bench.committed("a")?.version == Version(2))
        #expect(bench.committed("a")?.time == bench.clock.now)
        #expect(bench.log.records[0].record.headers.tags == ["x", "y"])
        #expect(bench.log.records[0].record.headers.time == Timestamp(milliseconds: 42))
    }

    @Test func updatesAndInsertions() throws {
        let bench = try Bench()
        #expect(
            try bench.run(.insert("a", "1"), .insert("a", "2"), .update("a", "!"), .get("a")) == [
                "true", "false", "1!",
            ])
        #expect(try bench.run(.update("new", "x"), .get("new"), .count) == ["x", "2"])
    }

    @Test func changesAreKeptInOrderOnceTheyAreApplied() throws {
        let bench = try Bench()
        let (texts, numbers) = (bench.partition.instance.texts, bench.partition.instance.numbers)
        try bench.run(.put("a", "1"))
        try bench.run(.dated("a", "2", 9, ["t"]), .number("n", 1))
        try bench.run(.remove("a"))
        #expect(bench.partition.changes(of: texts).isEmpty, "nothing is told before the log has acknowledged it")
        bench.acknowledge()
        let changes = bench.partition.changes(of: texts)
        #expect(changes.map { $0.value.map { String(decoding: $0, as: UTF8.self) } } == ["1", "2", nil])
        #expect(changes.map(\.version.rawValue) == [1, 2, 3])
        #expect(changes.map(\.time) == [bench.clock.now, Timestamp(milliseconds: 9), nil])
        #expect(changes[1].tags == ["t"])
        #expect(bench.partition.changes(of: numbers).map(\.version.rawValue) == [1])
        #expect(changes.last?.position == bench.partition.position)
    }
}
