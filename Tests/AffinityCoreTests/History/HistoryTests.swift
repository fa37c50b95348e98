import AffinityCore
import AffinityTesting
import Testing

/// Histories of a few operations, and what is to be said of them.
@Suite struct HistoryTests {
    private func operation(
        _ client: String, _ input: KeyValueModel.Input, _ time: ClosedRange<Int64>, _ outcome: KeyHistory.Outcome
    ) -> KeyOperation {
        KeyOperation(
            client, input, from: MonotonicTime(nanoseconds: time.lowerBound * 1_000_000),
            to: MonotonicTime(nanoseconds: time.upperBound * 1_000_000), outcome)
    }

    private func put(_ text: String, _ time: ClosedRange<Int64>, _ version: UInt64?, isNew: Bool = false)
        -> KeyOperation
    {
        operation("w", .put(text), time, .ok(.written(version.map { Version($0) }, isNew: isNew)))
    }

    private func get(_ text: String, _ time: ClosedRange<Int64>, _ version: UInt64?) -> KeyOperation {
        operation("r", .get, time, .ok(.value(Array(text.utf8), version.map { Version($0) })))
    }

    private func isLinearizable(_ operations: KeyOperation...) -> Bool? {
        switch KeyHistory(KeyValueModel(), operations).check() {
        case .linearizable: true
        case .violated: false
        case .undecided: nil
        }
    }

    @Test func readsSeeWhatWasWritten() {
        #expect(isLinearizable() == true)
        #expect(isLinearizable(operation("r", .get, 0...1, .ok(.absent)), put("a", 2...3, 7, isNew: true)) == true)
        #expect(isLinearizable(put("a", 0...1, 7, isNew: true), get("a", 2...3, 7)) == true)
        #expect(isLinearizable(put("a", 0...1, 7, isNew: true), get("b", 2...3, 7)) == false)
        #expect(isLinearizable(put("a", 0...1, 7, isNew: true), get("a", 2...3, 8)) == false)
        #expect(isLinearizable(put("a", 0...1, 7), get("a", 2...3, 7)) == false)
    }

    @Test func whatRunsTogetherCanBeSeenOrNot() {
        let (first, second) = (put("a", 0...1, 1, isNew: true), put("b", 2...6, 2))
        #expect(isLinearizable(first, second, get("a", 3...4, 1), get("b", 5...6, 2)) == true)
        #expect(isLinearizable(first, second, get("b", 3...4, 2), get("a", 5...6, 1)) == false)
        #expect(isLinearizable(first, second, get("b", 3...5, 2), get("a", 5...6, 1)) == true, "the same moment")
    }

    @Test func aStaleReadIsFound() {
        let writes = [put("a", 0...1, 1, isNew: true), put("b", 2...3, 2)]
        let verdict = KeyHistory(KeyValueModel(), writes + [get("a", 4...5, 1), get("b", 6...7, 2)]).check()
        guard case .violated(let violation) = verdict else {
            Issue.record("\(verdict)")
            return
        }
        #expect(violation.culprit == get("a", 4...5, 1))
        #expect(violation.prefix == writes + [get("a", 4...5, 1)])
        #expect(
            verdict.description == """
                not linearizable: no order of the first 3 operations explains the answer of
                > 4.000 to 5.000 ms  r  GET -> a @1
                before it there may have been: b @2
                around it:
                  0.000 to 1.000 ms  w  PUT a -> created @1
                  2.000 to 3.000 ms  w  PUT b -> replaced @2
                > 4.000 to 5.000 ms  r  GET -> a @1
                """)
    }

    @Test func aLostWriteIsFound() {
        let first = put("a", 0...1, 1, isNew: true)
        #expect(isLinearizable(first, put("b", 2...3, 2), get("a", 4...5, 1)) == false)
        #expect(isLinearizable(first, put("b", 2...3, nil), get("a", 4...5, nil)) == false)
        #expect(isLinearizable(first, operation("d", .delete, 2...3, .ok(.deleted)), get("a", 4...5, 1)) == false)
    }

    @Test func aDoubleAddIsFound() {
        let five = operation("a", .add(5), 0...1, .ok(.sum(5, Version(1))))
        #expect(isLinearizable(five, get("5", 2...3, 1)) == true)
        #expect(isLinearizable(five, get("10", 2...3, 2)) == false)
        let unknown = operation("a", .add(5), 0...1, .unknown)
        #expect(isLinearizable(five, unknown, get("10", 2...3, 2)) == true)
        #expect(isLinearizable(five, unknown, get("15", 2...3, 3)) == false)
    }

    @Test func aReadFromTheFutureIsFound() {
        #expect(isLinearizable(get("a", 0...1, 1), put("a", 2...3, 1, isNew: true)) == false)
        #expect(isLinearizable(get("a", 0...2, 1), put("a", 1...3, 1, isNew: true)) == true)
    }

    @Test func anUnknownWriteMayComeLateOrNever() {
        let (first, lost) = (put("a", 0...1, 1, isNew: true), operation("u", .put("u"), 2...3, .unknown))
        #expect(isLinearizable(first, lost, get("a", 4...5, 1), get("u", 90...91, 9)) == true)
        #expect(isLinearizable(first, lost, get("a", 4...5, 1), get("a", 90...91, 1)) == true)
        #expect(isLinearizable(first, lost, get("u", 4...5, 2), get("a", 6...7, 1)) == false)
        #expect(isLinearizable(first, lost, get("u", 4...5, 1)) == false, "a version of another write")
        #expect(isLinearizable(first, lost, get("u", 4...5, 4), get("u", 6...7, 5)) == false, "written twice")
        #expect(isLinearizable(first, get("u", 1...2, 2), operation("u", .put("u"), 3...4, .unknown)) == false)
    }

    @Test func whatHasFailedMustNotShow() {
        let first = put("a", 0...1, 1, isNew: true)
        #expect(isLinearizable(first, operation("f", .put("f"), 2...3, .failed), get("a", 4...5, 1)) == true)
        #expect(isLinearizable(first, operation("f", .put("f"), 2...3, .failed), get("f", 4...5, 2)) == false)
    }

    @Test func versionsGrowWithEachChange() {
        let (first, delete) = (put("a", 0...1, 5, isNew: true), operation("d", .delete, 2...3, .ok(.deleted)))
        #expect(isLinearizable(first, put("b", 2...3, 5)) == false)
        #expect(isLinearizable(first, put("b", 2...3, 4)) == false)
        #expect(isLinearizable(first, delete, put("b", 4...5, 6, isNew: true)) == false, "the deletion has one too")
        #expect(isLinearizable(first, delete, put("b", 4...5, 7, isNew: true)) == true)
        let edge = KeyValueModel.State(version: Version(.max))
        let full = KeyHistory(KeyValueModel(initial: edge), [put("a", 0...1, nil, isNew: true), get("a", 2...3, .max)])
        #expect(full.check() == .linearizable)
    }

    @Test func conditionsAreHeld() {
        let first = put("a", 0...1, 5, isNew: true)
        func conditional(_ tags: UInt64..., reply: KeyValueModel.Reply?) -> KeyOperation {
            let input = KeyValueModel.Input(.put([98]), match: .versions(tags.map { Version($0) }))
            return operation("c", input, 2...3, reply.map { .ok($0) } ?? .unknown)
        }
        #expect(isLinearizable(first, conditional(5, reply: .written(Version(6), isNew: false))) == true)
        #expect(isLinearizable(first, conditional(4, reply: .written(Version(6), isNew: false))) == false)
        #expect(isLinearizable(first, conditional(4, reply: .conditionFailed(Version(5)))) == true)
        #expect(isLinearizable(first, conditional(5, reply: .conditionFailed(Version(5)))) == false)
        #expect(isLinearizable(first, conditional(4, reply: .conditionFailed(nil))) == false)
        #expect(isLinearizable(first, conditional(5, reply: nil), get("b", 4...5, 8)) == true)
        #expect(isLinearizable(first, conditional(4, reply: nil), get("b", 4...5, 8)) == false)
        let lost = operation("u", .put("u"), 0...1, .unknown)
        #expect(isLinearizable(first, lost, conditional(7, reply: nil), get("b", 4...5, 8)) == true)
        #expect(isLinearizable(first, lost, conditional(7, reply: nil), get("b", 4...5, 7)) == false)
        let create = KeyValueModel.Input(.put([98]), noneMatch: .any)
        #expect(isLinearizable(first, operation("c", create, 2...3, .ok(.written(nil, isNew: true)))) == false)
        #expect(isLinearizable(first, operation("c", create, 2...3, .ok(.conditionFailed(Version(5))))) == true)
        let fresh = KeyValueModel.Input(.get, noneMatch: .versions([Version(5)]))
        #expect(isLinearizable(first, operation("r", fresh, 2...3, .ok(.notModified(Version(5))))) == true)
        #expect(isLinearizable(first, operation("r", fresh, 2...3, .ok(.value([97], Version(5))))) == false)
    }

    @Test func addRefusesWhatIsNoInteger() {
        let refused = operation("a", .add(1), 2...3, .ok(.refused))
        for text in ["x", "1.0", "\(Int64.max)", ""] {
            #expect(isLinearizable(put(text, 0...1, 1, isNew: true), refused) == true)
        }
        #expect(isLinearizable(put("7", 0...1, 1, isNew: true), refused) == false)
        #expect(
            isLinearizable(put(" 7\n", 0...1, 1, isNew: true), operation("a", .add(1), 2...3, .ok(.sum(8, nil))))
                == true)
    }

    /// Writes without an answer, each of which may or may not have been: no one is tried that nothing tells of.
    @Test func manyUnknownWritesAreNoProblem() {
        var operations = (0..<40).map { operation("u\($0)", .put("u\($0)"), 0...1, .unknown) }
        operations += (0..<40).map { operation("a\($0)", .add(1), 0...1, .unknown) }
        operations += (0..<20).map { put("p\($0)", $0 * 10 + 5...$0 * 10 + 6, UInt64($0) * 2 + 100, isNew: $0 == 0) }
        operations.append(get("u7", 1000...1001, 500))
        #expect(KeyHistory(KeyValueModel(), operations).check(limit: 100_000) == .linearizable)
        operations.append(get("u8", 1002...1003, 400))
        guard case .violated(let violation) = KeyHistory(KeyValueModel(), operations).check(limit: 1_000_000) else {
            Issue.record("not found")
            return
        }
        #expect(violation.culprit == operations.last)
    }

    @Test func theWorkIsLimited() {
        let writes = (0..<20).map { put("p\($0)", 2...10, nil) }
        let operations = [put("a", 0...1, nil, isNew: true)] + writes + [get("x", 11...12, nil)]
        #expect(KeyHistory(KeyValueModel(), operations).check(limit: 1000) == .undecided(steps: 1000))
    }
}
