import AffinityCore
import AffinityTestSupport
import AffinityTesting
import Testing

/// What a register has answered always passes, and what it cannot have answered never does.
@Suite struct RandomHistoryTests {
    static let seeds = [1, 2, newSeed()]

    @Test(arguments: seeds) func aRegisterIsLinearizable(_ seed: UInt64) {
        for round in 0..<10 as Range<UInt64> {
            var history = Simulation(seed &+ round, clients: Int(2 + round % 7), operations: 150).history
            #expect(history.check() == .linearizable, "seed \(seed), round \(round)")
            history = Simulation(seed &+ round, clients: 4, operations: 80, doubts: 5).history
            for index in history.operations.indices { history.operations[index].forgetVersion() }
            #expect(history.check() == .linearizable, "seed \(seed), round \(round), without versions")
        }
    }

    private enum Mistake: CaseIterable { case staleRead, failedShows, doubleAdd, futureRead, versionAgain }

    @Test(arguments: seeds) func plantedMistakesAreFound(_ seed: UInt64) {
        let random = SeededRandom(seed)
        var planted = 0
        for round in 0..<8 as Range<UInt64> {
            let history = Simulation(seed &+ round, operations: 80, doubts: 5).history
            for mistake in Mistake.allCases {
                let all = plants(mistake, history)
                guard !all.isEmpty else { continue }
                planted += 1
                check(all[Int(random.next() % UInt64(all.count))], "\(mistake), seed \(seed), round \(round)")
            }
        }
        #expect(planted > 20)
    }

    private func check(_ history: KeyHistory, _ note: Comment) {
        guard case .violated(let violation) = history.check() else {
            Issue.record(note)
            return
        }
        // The shortest beginning: with the answer it cannot be, and without it can.
        var prefix = KeyHistory(history.model, violation.prefix)
        guard case .violated(let again) = prefix.check() else {
            Issue.record(note)
            return
        }
        // Of answers that come at the same moment any may be the one.
        #expect(again.culprit.end == violation.culprit.end, note)
        prefix.operations.removeAll { $0 == violation.culprit }
        var open = violation.culprit
        open.outcome = .unknown
        prefix.operations.append(open)
        #expect(prefix.check() == .linearizable, note)
    }

    /// All ways to plant a mistake.
    private func plants(_ mistake: Mistake, _ history: KeyHistory) -> [KeyHistory] {
        let all = history.operations
        var plants: [KeyHistory] = []
        func plant(_ index: Int, _ outcome: KeyHistory.Outcome) {
            var other = history
            other.operations[index].outcome = outcome
            plants.append(other)
        }
        for (index, operation) in all.enumerated() {
            guard let reply = operation.reply else { continue }
            switch (mistake, reply) {
            case (.staleRead, .value) where operation.input == .get:
                let before = all.filter { $0.end < operation.call }.compactMap(\.written)
                guard let newest = before.map(\.version).max() else { continue }
                for write in before where write.version < newest {
                    plant(index, .ok(.value(write.value, write.version)))
                }
            case (.futureRead, .value) where operation.input == .get:
                for write in all where write.call > operation.end {
                    if let written = write.written { plant(index, .ok(.value(written.value, written.version))) }
                }
            case (.failedShows, .written):
                let isSeen = all.contains { other in
                    guard case .value(let value, _)? = other.reply else { return false }
                    return value == operation.written?.value
                }
                if isSeen { plant(index, .failed) }
            case (.doubleAdd, .sum(let sum, let version)):
                if case .add(let number) = operation.input.action { plant(index, .ok(.sum(sum + number, version))) }
            case (.versionAgain, .written(_, let isNew)):
                for write in all where write.end < operation.call {
                    if let written = write.written { plant(index, .ok(.written(written.version, isNew: isNew))) }
                }
            default: continue
            }
        }
        return plants
    }

    /// Against all orders that there are.
    @Test(arguments: seeds) func theSearchIsRight(_ seed: UInt64) {
        let random = SeededRandom(seed)
        var violations = 0
        for round in 0..<150 as Range<UInt64> {
            var history = Simulation(seed &+ round, clients: 3, operations: 6, doubts: 25).history
            if round % 3 > 0 { history.disturb(random) }
            if round % 2 > 0 { for index in history.operations.indices { history.operations[index].forgetVersion() } }
            let isLinearizable = history.hasOrder()
            if !isLinearizable { violations += 1 }
            #expect((history.check() == .linearizable) == isLinearizable, "seed \(seed), round \(round): \(history)")
        }
        #expect(violations > 15 && violations < 135, "seed \(seed)")
    }
}

extension KeyOperation {
    var reply: KeyValueModel.Reply? {
        guard case .ok(let reply) = outcome else { return nil }
        return reply
    }

    /// What the operation has put or added, and its version.
    var written: (value: [UInt8], version: Version)? {
        switch (input.action, reply) {
        case (.put(let value), .written(let version?, _)): (value, version)
        case (.add, .sum(let sum, let version?)): (Array("\(sum)".utf8), version)
        default: nil
        }
    }

    mutating func forgetVersion() {
        switch reply {
        case .value(let value, _): outcome = .ok(.value(value, nil))
        case .written(_, let isNew): outcome = .ok(.written(nil, isNew: isNew))
        case .sum(let sum, _): outcome = .ok(.sum(sum, nil))
        case .notModified: outcome = .ok(.notModified(nil))
        default: break
        }
    }
}

extension KeyHistory {
    /// Gives one operation the answer of another of its kind, or none.
    fileprivate mutating func disturb(_ random: SeededRandom) {
        let (a, b) = (Int(random.next() % UInt64(operations.count)), Int(random.next() % UInt64(operations.count)))
        operations[a].outcome = operations[b].outcome
    }

    /// Whether there is an order, by trying all of them.
    fileprivate func hasOrder() -> Bool {
        hasOrder(of: operations.filter { $0.outcome != .failed }, from: model.initial)
    }

    private func hasOrder(of rest: [KeyOperation], from state: KeyValueModel.State) -> Bool {
        if rest.allSatisfy({ $0.outcome == .unknown }) { return true }
        return rest.indices.contains { index in
            let next = rest[index]
            let isTooEarly = rest.contains { $0.outcome != .unknown && $0.end < next.call }
            guard !isTooEarly, let state = model.apply(next.input, next.reply, to: state) else { return false }
            var others = rest
            others.remove(at: index)
            return hasOrder(of: others, from: state)
        }
    }
}
