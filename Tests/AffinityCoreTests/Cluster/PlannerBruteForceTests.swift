import AffinityTestSupport
import AffinityTesting
import Testing

@testable import AffinityCore

/// Plans of a few partitions against all plans that there are.
@Suite struct PlannerBruteForceTests {
    private typealias Sets = [[NodeID]]

    private func subsets(_ nodes: [NodeID], _ count: Int) -> Sets {
        guard count > 0 else { return [[]] }
        return nodes.indices.flatMap { index in
            subsets(Array(nodes[(index + 1)...]), count - 1).map { [nodes[index]] + $0 }
        }
    }

    /// All choices of one from each list.
    private func choices(_ lists: [Sets]) -> [Sets] {
        lists.reduce([[]]) { choices, list in choices.flatMap { choice in list.map { choice + [$0] } } }
    }

    private func isBalanced(_ counts: [Int]) -> Bool { (counts.max() ?? 0) - (counts.min() ?? 0) <= 1 }

    @Test(arguments: [1, 2, newSeed()])
    func noPlanIsBetter(_ seed: UInt64) throws {
        let rig = PlanningRig(seed)
        for round in 0..<60 {
            let (nodes, partitions, replicas) = (rig.pick(1...4), rig.pick(1...4), rig.pick(1...3))
            let now = rig.disorder(nodes: nodes + 1, partitions: partitions, replicas: replicas)
            let request = PlanRequest(
                members: PlanningRig.members(nodes), partitions: partitions, replicas: replicas, current: now)
            let plan = Assignment.planned(for: request)
            let names = request.members.map(\.id)

            let all = choices(Array(repeating: subsets(names, min(replicas, nodes)), count: partitions))
            let balanced = all.map { Assignment(replicas: $0) }.filter { isBalanced(names.map($0.load)) }
            let fewest = try #require(balanced.map { $0.moves(from: now) }.min())
            #expect(plan.moves(from: now) == fewest, "seed \(seed), round \(round): \(request)")

            let masters = choices(plan.replicas.map { $0.map { [$0] } }).map { Assignment(replicas: $0) }
            let spread = masters.filter { isBalanced(names.map($0.masters)) }
            // A partition whose master has left changes in any case.
            let least = try #require(spread.map { $0.masterChanges(from: now) }.min())
            #expect(plan.masterChanges(from: now) == least, "seed \(seed), round \(round): \(request)")
        }
    }

    /// As even as the pins let it be: the sum of squares is the least.
    @Test(arguments: [1, 2, newSeed()])
    func aroundPinsNoPlanIsMoreEven(_ seed: UInt64) throws {
        let rig = PlanningRig(seed)
        for round in 0..<60 {
            let (nodes, partitions, replicas) = (rig.pick(1...4), rig.pick(1...4), rig.pick(1...3))
            let now = rig.disorder(nodes: nodes + 1, partitions: partitions, replicas: replicas)
            let names = PlanningRig.members(nodes).map(\.id)
            let pins = (0..<partitions).map { _ in
                rig.pick(0...1) == 0 ? [] : names.filter { _ in rig.pick(0...2) == 0 }.prefix(replicas)
            }
            let plan = Assignment.planned(
                for: PlanRequest(
                    members: PlanningRig.members(nodes), partitions: partitions, replicas: replicas, current: now,
                    pins: Dictionary(uniqueKeysWithValues: pins.enumerated().map { ($0, Array($1)) })))

            let sets = pins.map { pins in subsets(names, min(replicas, nodes)).filter { Set($0).isSuperset(of: pins) } }
            let all = choices(sets).map { Assignment(replicas: $0) }
            let squares = { (plan: Assignment) in names.reduce(0) { $0 + plan.load($1) * plan.load($1) } }
            let least = try #require(all.map(squares).min())
            #expect(squares(plan) == least, "seed \(seed), round \(round)")
            let fewest = all.filter { squares($0) == least }.map { $0.moves(from: now) }.min()
            #expect(plan.moves(from: now) == fewest, "seed \(seed), round \(round)")
        }
    }
}
