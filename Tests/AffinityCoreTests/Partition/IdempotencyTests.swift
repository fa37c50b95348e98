import AffinityTesting
import Testing

@testable import AffinityCore

/// Requests with an idempotency key (PROTOCOL §9).
@Suite struct IdempotencyTests {
    private func envelope(_ name: String, _ digest: [UInt8] = [1]) -> Envelope {
        Envelope(idempotency: IdempotencyKey(name, digest: digest))
    }

    private func outcomes(_ rig: Rig) -> [LoggedRecord] {
        rig.records("_requests").filter { !$0.record.key.isEmpty }
    }

    @Test func aRepeatGetsTheFirstAnswerAndVersion() throws {
        let rig = try Rig("idempotency-reply")
        rig.serve()
        let first = rig.send(.update("a", "x"), .get("a"), envelope: envelope("r"))
        let again = rig.send(.update("a", "x"), .get("a"), envelope: envelope("r"))
        #expect(first.value?.reply == ["x"] && first.value?.isReplay == false)
        #expect(again.value?.reply == ["x"] && again.value?.isReplay == true)
        #expect(again.value?.version == first.value?.version)
        #expect(rig.peek("a").value == "x")
    }

    @Test func aRejectionIsRepeatedToo() throws {
        let rig = try Rig("idempotency-rejection")
        rig.serve()
        _ = rig.send(.put("a", "1"), .reject("no"), envelope: envelope("r"))
        // The second one would be accepted, if it ran.
        let again = rig.send(.put("a", "1"), envelope: envelope("r"))
        #expect(again.error?.rejection == Rejected("no"))
        #expect(again.error?.isReplay == true)
        #expect(rig.peek("a").value == .some(nil))
    }

    @Test func aRepeatInFlightWaitsForTheFirst() throws {
        let rig = try Rig("idempotency-in-flight")
        rig.serve()
        rig.base.holdsAcknowledgements = true
        let first = rig.send(.update("a", "x"), envelope: envelope("r"))
        let again = rig.send(.update("a", "x"), envelope: envelope("r"))
        #expect(first.isWaiting && again.isWaiting)
        rig.base.acknowledge()
        rig.executor.run()
        #expect(again.value?.isReplay == true)
        #expect(again.value?.version == first.value?.version)
    }

    @Test func aRepeatThatIsLostInFlightIsAsUnknownAsTheFirst() throws {
        let rig = try Rig("idempotency-lost")
        rig.serve()
        rig.base.holdsAcknowledgements = true
        let first = rig.send(.put("a", "1"), envelope: envelope("r"))
        let again = rig.send(.put("a", "1"), envelope: envelope("r"))
        rig.base.fail(with: LogError(.io, "gone"), written: 1)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(first.error?.outcome == .unknown)
        #expect(again.error?.outcome == .unknown)
        rig.executor.advance(by: .seconds(1))
        #expect(rig.send(.put("a", "1"), envelope: envelope("r")).value?.isReplay == true)
    }

    @Test func anotherRequestUnderTheSameNameIsRefused() throws {
        let rig = try Rig("idempotency-digest")
        rig.serve()
        _ = rig.send(.put("a", "1"), envelope: envelope("r"))
        let other = rig.send(.put("a", "2"), envelope: envelope("r", [2]))
        #expect(other.error?.code == .repeated && other.error?.outcome == .notApplied)
        #expect(rig.peek("a").value == "1")
        #expect(rig.send(.put("a", "3"), key: "else", envelope: envelope("r", [3])).value?.isReplay == false)
    }

    @Test func outcomesAreRemovedWhenTheirTimeHasPassed() throws {
        let rig = try Rig("idempotency-expiry", limits: StateLimits(idempotency: .seconds(60)))
        rig.serve()
        _ = rig.send(.put("a", "1"), envelope: envelope("r1"))
        rig.executor.advance(by: .seconds(30))
        _ = rig.send(.put("a", "2"), envelope: envelope("r2"))
        rig.executor.advance(by: .seconds(31))
        #expect(outcomes(rig).map { $0.record.value == nil } == [false, false, true])
        #expect(rig.send(.put("a", "3"), envelope: envelope("r1")).value?.isReplay == false)
        #expect(rig.send(.put("a", "3"), envelope: envelope("r2")).value?.isReplay == true)
    }

    @Test func aNameThatIsUsedAgainKeepsItsNewOutcome() throws {
        let rig = try Rig("idempotency-again", limits: StateLimits(idempotency: .seconds(60)))
        rig.serve()
        _ = rig.send(.put("a", "1"), envelope: envelope("r"))
        // Its time has passed, and no timer has run yet.
        rig.clock.advance(by: .seconds(60))
        let used = rig.send(.put("a", "2"), envelope: envelope("r"))
        #expect(used.value?.isReplay == false)
        rig.executor.advance(by: .seconds(30))
        #expect(rig.send(.put("a", "2"), envelope: envelope("r")).value?.isReplay == true)
    }

    @Test func manyOutcomesAreRemovedInBoundedSteps() throws {
        let rig = try Rig("idempotency-many", limits: StateLimits(idempotency: .seconds(60)))
        rig.serve()
        for index in 0..<600 { _ = rig.send(.get("a"), envelope: envelope("r\(index)")) }
        rig.executor.advance(by: .seconds(61))
        #expect(outcomes(rig).count == 1200)
        let counts = Set(outcomes(rig).suffix(600).compactMap { $0.record.headers.stamp?.count })
        #expect(counts.max() == 256)
    }

    @Test func aTellIsRemovedToo() throws {
        let rig = try Rig("idempotency-tell", limits: StateLimits(idempotency: .seconds(60)))
        rig.serve()
        let (service, envelope) = (rig.service, envelope("r"))
        _ = rig.start { () throws(AskError) in try await service.tell(Steps(.put("a", "1")), envelope) }
        rig.executor.advance(by: .seconds(61))
        #expect(outcomes(rig).last?.record.value == nil)
    }

    @Test func aRestartKeepsOutcomesAndTheirOrder() throws {
        let former = try Rig("idempotency-restart", limits: StateLimits(idempotency: .seconds(60)))
        former.serve()
        let first = former.send(.update("a", "x"), envelope: envelope("r1"))
        former.executor.advance(by: .seconds(30))
        _ = former.send(.update("a", "x"), envelope: envelope("r2"))
        former.stop()
        let rig = try Rig("idempotency-restart", limits: StateLimits(idempotency: .seconds(60)), after: former)
        rig.serve(2)
        let again = rig.send(.update("a", "x"), envelope: envelope("r1"))
        #expect(again.value?.isReplay == true && again.value?.version == first.value?.version)
        rig.executor.advance(by: .seconds(31))
        #expect(outcomes(rig).filter { $0.record.value == nil }.count == 1, "the older one only")
        rig.executor.advance(by: .seconds(30))
        #expect(outcomes(rig).filter { $0.record.value == nil }.count == 2)
    }

    @Test func timesFromTheLogDoNotTrap() throws {
        let rig = try Rig("idempotency-times")
        let outcome = AnsweredRequests.Outcome(digest: [1], isRejected: false, version: .none, answer: [91, 93]).bytes
        for (index, time) in [Int64.min, .max, 0].enumerated() {
            let headers = RecordHeaders(time: Timestamp(milliseconds: time))
            rig.base.write(
                Record(key: [UInt8(index + 1)], value: outcome, headers: headers), to: rig.partition, "_requests")
        }
        rig.serve()
        #expect(rig.send(.put("a", "1")).value != nil)
        rig.executor.advance(by: .seconds(60))
        #expect(try rig.status.state == .serving)
    }

    @Test func outcomesSurviveTheirBytesAndDamageDoesNotTrap() {
        let outcome = AnsweredRequests.Outcome(digest: [1, 2], isRejected: true, version: Version(7), answer: [3])
        #expect(AnsweredRequests.Outcome(bytes: outcome.bytes) == outcome)
        for length in 0..<outcome.bytes.count - 1 {
            _ = AnsweredRequests.Outcome(bytes: Array(outcome.bytes.prefix(length)))
        }
        #expect(AnsweredRequests.Outcome(bytes: []) == nil)
    }
}
