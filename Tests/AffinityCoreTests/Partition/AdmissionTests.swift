import AffinityTestSupport
import AffinityTesting
import Synchronization
import Testing

@testable import AffinityCore

/// Limits, waiting, deadlines.
@Suite struct AdmissionTests {
    private func held(_ keyspace: String, _ limits: StateLimits) throws -> Rig {
        let rig = try Rig(keyspace, limits: limits)
        rig.serve()
        rig.base.holdsAcknowledgements = true
        return rig
    }

    private func deadline(_ rig: Rig, _ duration: Duration) -> Envelope {
        Envelope(deadline: rig.clock.monotonic.advanced(by: duration))
    }

    @Test func waitersComeInTheirOrder() throws {
        let rig = try held("admission-fifo", StateLimits(commands: 2, waiting: 3))
        let sent = (0..<6).map { rig.send(.put("a", "\($0)")) }
        #expect(rig.base.heldCount == 2)
        #expect(sent[5].error?.code == .overloaded)
        #expect(sent[5].error?.outcome == .notApplied)
        #expect(sent[5].error?.isRetriable == true)
        for _ in 0..<5 {
            rig.base.acknowledge(1)
            rig.executor.run()
        }
        #expect(sent.prefix(5).map { $0.value?.version.rawValue } == [3, 4, 5, 6, 7])
    }

    @Test func aWaiterThatWritesNothingLetsTheNextOneIn() throws {
        let rig = try held("admission-chain", StateLimits(commands: 1, waiting: 10))
        let first = rig.send(.put("a", "1"))
        let refused = rig.send(.put("", "1"))
        let rejected = rig.send(.reject("no"))
        let empty = rig.send(.get("a"))
        let last = rig.send(.put("a", "2"))
        rig.base.acknowledge(1)
        rig.executor.run()
        #expect(first.value != nil)
        #expect(refused.error?.code == .failed)
        #expect(rejected.error?.code == .rejected)
        #expect(empty.value?.reply == ["1"])
        #expect(last.isWaiting)
        #expect(rig.base.heldCount == 1, "no acknowledgement was to come that would have let it in")
        rig.base.acknowledge()
        rig.executor.run()
        #expect(last.value != nil)
    }

    @Test func bytesInFlightExceedTheirLimitByOneCommandAtMost() throws {
        let rig = try held("admission-bytes", StateLimits(commands: 100, bytes: 10, waiting: 100))
        let sent = (0..<20).map { _ in rig.send(.put("a", "12345678")) }
        #expect(rig.base.heldCount == 2)
        rig.base.acknowledge(1)
        rig.executor.run()
        #expect(rig.base.heldCount == 2)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(sent.allSatisfy { $0.value != nil })
    }

    @Test func aDeadlineThatPassesInLine() throws {
        let rig = try held("admission-deadline", StateLimits(commands: 1, waiting: 2))
        let first = rig.send(.put("a", "1"))
        let late = [
            rig.send(.put("b", "1"), envelope: deadline(rig, .seconds(1))),
            rig.send(.put("c", "1"), envelope: deadline(rig, .seconds(1))),
        ]
        rig.executor.advance(by: .seconds(2))
        #expect(late.map { $0.error?.outcome } == [.notApplied, .notApplied])
        #expect(late.map { $0.error?.code } == [.deadline, .deadline])
        let next = rig.send(.put("d", "1"))
        #expect(next.isWaiting, "those who have left do not count as waiting")
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(first.value != nil && next.value != nil)
        #expect(rig.peek("b").value == .some(nil))
    }

    @Test func aDeadlineThatPassesInFlightIsUnknown() throws {
        let rig = try held("admission-unknown", StateLimits())
        let write = rig.send(.put("a", "1"), envelope: deadline(rig, .seconds(1)))
        let empty = rig.send(.get("a"), envelope: deadline(rig, .seconds(1)))
        rig.executor.advance(by: .seconds(1))
        #expect(write.error?.outcome == .unknown && write.error?.code == .deadline)
        #expect(empty.error?.outcome == .notApplied && empty.error?.code == .deadline)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(rig.peek("a").value == "1", "it goes on")
    }

    @Test func theServicesOwnDeadline() throws {
        let rig = try held("admission-default", StateLimits())
        let write = rig.send(.put("a", "1"))
        rig.executor.advance(by: .seconds(9))
        #expect(write.isWaiting)
        rig.executor.advance(by: .seconds(1))
        #expect(write.error?.outcome == .unknown)
    }

    @Test func aDeadlineInThePastRunsNothing() throws {
        let rig = try Rig("admission-past")
        rig.serve()
        let error = rig.send(.put("a", "1"), envelope: Envelope(deadline: rig.clock.monotonic)).error
        #expect(error?.outcome == .notApplied && error?.code == .deadline)
        #expect(rig.peek("a").value == .some(nil))
    }

    @Test func deadlinesCloseTogetherDoNotWakeTheReplicaOnceEach() throws {
        let rig = try held("admission-storm", StateLimits())
        let sent = (0..<1000).map { index in
            rig.send(.put("a", "1"), envelope: deadline(rig, .seconds(1) + .microseconds(index)))
        }
        rig.clock.advance(by: .seconds(2))
        let count = rig.executor.run()
        #expect(sent.allSatisfy { $0.error?.code == .deadline })
        #expect(count < 3100, "the jobs of the callers' tasks, and a timer or two")
    }

    @Test func queriesWaitForAPosition() throws {
        let rig = try held("admission-position", StateLimits(waiting: 1))
        let write = rig.send(.put("a", "1"))
        let position = try #require(Position("2.2.2.3"))
        let query = rig.peek("a", envelope: Envelope(positions: [0: position]))
        let tooMany = rig.peek("a", envelope: Envelope(positions: [0: position]))
        #expect(query.isWaiting)
        #expect(tooMany.error?.code == .overloaded)
        #expect(rig.peek("a").value == .some(nil), "others do not wait")
        rig.base.acknowledge()
        rig.executor.run()
        #expect(query.value == "1" && write.value?.reached.position == position)
        let never = try #require(Position("0.0.0.900"))
        let late = rig.peek("a", envelope: Envelope(positions: [0: never]))
        rig.executor.advance(by: .seconds(10))
        #expect(late.error?.code == .deadline && late.error?.outcome == .notApplied)
    }

    @Test func aSlowHandlerIsReported() throws {
        let rig = try Rig("admission-slow")
        rig.serve()
        let clock = rig.clock
        Ledger.spending.withLock { $0["admission-slow"] = { clock.advance(by: .milliseconds($0)) } }
        _ = rig.send(.spend(milliseconds: 100))
        #expect(!rig.messages.contains { $0.contains("ran long") })
        _ = rig.send(.spend(milliseconds: 101))
        #expect(
            rig.messages.contains { $0.contains("a handler ran long") && $0.contains("Steps") && $0.contains("101") })
    }

    @Test func aReportAboutARequestNamesItsTrace() throws {
        let rig = try Rig("admission-traced")
        rig.serve()
        let clock = rig.clock
        Ledger.spending.withLock { $0["admission-traced"] = { clock.advance(by: .milliseconds($0)) } }
        let trace = "0af7651916cd43dd8448eb211c80319c", span = "b7ad6b7169203331"
        _ = rig.send(.spend(milliseconds: 101), envelope: Envelope(traceparent: "00-\(trace)-\(span)-01"))
        #expect(
            rig.messages.contains { $0.contains("a handler ran long") && $0.contains(trace) && $0.contains(span) })
    }

    /// Random commands, faults of every kind, and a caller count that must come out even: everybody is answered once,
    /// and what was acknowledged is there.
    @Test(arguments: [1, 2, 3, newSeed()])
    func everybodyIsAnsweredWhateverHappens(_ seed: UInt64) throws {
        let random = SeededRandom(seed)
        func pick(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
        let rig = try Rig("admission-random-\(seed)", limits: StateLimits(commands: 4, bytes: 40, waiting: 6))
        rig.serve()
        var sent: [(key: String, value: String, answer: Answered<Commit<[String]>>)] = []
        var grant: UInt64 = 1
        for round in 0..<300 {
            switch pick(12) {
            case 0: rig.base.holdsAcknowledgements.toggle()
            case 1: rig.base.acknowledge(pick(3))
            case 2: rig.base.fail(with: LogError(.io, "gone"), written: pick(3))
            case 3: rig.memstores.fail(.commit, after: pick(3), with: MemStoreError(.io, "disk"))
            case 4: rig.executor.advance(by: .milliseconds(pick(3000)))
            case 5:
                grant += 1
                rig.coordinator.say(pick(2) == 0 ? .standby : .master(Grant(number: grant)))
            default:
                let key = "\(pick(5))"
                let steps: [Step] = pick(4) == 0 ? [.get(key)] : [.put(key, "\(round)")]
                var command = Steps()
                command.steps = pick(6) == 0 ? steps + [.reject("no")] : steps
                let envelope = pick(3) == 0 ? deadline(rig, .milliseconds(pick(2000))) : Envelope()
                let (service, final) = (rig.service, command)
                sent.append(
                    (
                        key, command.steps.count == 1 && steps.isPut ? "\(round)" : "",
                        rig.start { () throws(AskError) in try await service.commit(final, envelope) }
                    ))
            }
            rig.executor.run()
        }
        rig.base.holdsAcknowledgements = false
        rig.executor.advance(by: .seconds(30))
        grant += 1
        rig.coordinator.say(.master(Grant(number: grant)))
        rig.executor.advance(by: .seconds(30))
        #expect(sent.allSatisfy { !$0.answer.isWaiting }, "seed \(seed)")
        for key in Set(sent.map(\.key)) {
            // The last acknowledged write, or one behind it whose outcome is unknown.
            let writes = sent.filter { $0.key == key && !$0.value.isEmpty }
            let last = writes.lastIndex { $0.answer.value != nil }
            let possible = writes[(last ?? 0)...].filter { write in
                write.answer.value != nil || write.answer.error?.outcome == .unknown
            }
            let value = rig.peek(key).value
            #expect(value != nil, "seed \(seed)")
            if let value = value ?? nil { #expect(possible.map(\.value).contains(value), "seed \(seed), key \(key)") }
            if value == .some(nil) { #expect(last == nil, "seed \(seed), key \(key)") }
        }
        rig.stop()
        #expect(rig.isEnded, "seed \(seed)")
    }
}

extension [Step] {
    fileprivate var isPut: Bool { if case .put = first { true } else { false } }
}
