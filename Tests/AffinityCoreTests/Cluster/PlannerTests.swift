import AffinityTestSupport
import AffinityTesting
import Testing

@testable import AffinityCore

/// What every plan has, whatever was before.
@Suite struct PlannerTests {
    static let seeds = [1, 2, 3, 14_288_996_355_685_374_223, newSeed()]

    private func checkReplication(_ plan: Assignment, _ request: PlanRequest, _ note: Comment) {
        let count = min(request.replicas, request.members.count)
        let names = Set(request.members.map(\.id))
        #expect(plan.replicas.count == request.partitions, note)
        #expect(plan.replicas.allSatisfy { $0.count == count && Set($0).count == count }, note)
        #expect(plan.replicas.allSatisfy { $0.allSatisfy(names.contains) }, note)
    }

    private func spread(_ counts: [Int]) -> Int { (counts.max() ?? 0) - (counts.min() ?? 0) }

    private func checkSpread(_ plan: Assignment, _ request: PlanRequest, _ note: Comment) {
        #expect(spread(request.members.map { plan.load($0.id) }) <= 1, note)
        #expect(spread(request.members.map { plan.masters($0.id) }) <= 1, note)
    }

    @Test(arguments: seeds) func plansAreBalancedAndStay(_ seed: UInt64) {
        let rig = PlanningRig(seed)
        for round in 0..<40 {
            var request = rig.request()
            let note: Comment = "seed \(seed), round \(round)"
            let plan = Assignment.planned(for: request)
            checkReplication(plan, request, note)
            checkSpread(plan, request, note)
            request.members.sort { _, _ in rig.pick(0...1) == 0 }
            #expect(Assignment.planned(for: request) == plan, note)
            request.current = plan
            request.elsewhere = [PlanningRig.node(0): 9]
            #expect(Assignment.planned(for: request) == plan, note)
        }
    }

    /// A node joins or leaves: no plan that is as balanced has fewer new replicas.
    @Test(arguments: seeds) func aJoinOrLeaveMovesTheLeast(_ seed: UInt64) {
        let rig = PlanningRig(seed)
        for round in 0..<25 {
            var request = rig.request()
            let note: Comment = "seed \(seed), round \(round)"
            request.current = .planned(for: request)
            if rig.pick(0...1) == 0 || request.members.count == 1 {
                request.members.append(.init(id: NodeID("new")))
            } else {
                request.members.remove(at: rig.pick(0...request.members.count - 1))
            }
            let plan = Assignment.planned(for: request)
            checkReplication(plan, request, note)
            checkSpread(plan, request, note)
            #expect(!ExchangesOfReplicas(plan, request).saveMoves, note)
        }
    }

    @Test func aMoveTooManyIsSeen() {
        var request = PlanRequest(members: PlanningRig.members(3), partitions: 3, replicas: 1)
        func plan(_ nodes: [Int]) -> Assignment { Assignment(replicas: nodes.map { [PlanningRig.node($0)] }) }
        request.current = plan([0, 1, 2])
        #expect(ExchangesOfReplicas(plan([1, 2, 0]), request).saveMoves)
        #expect(ExchangesOfReplicas(plan([1, 0, 2]), request).saveMoves)
        #expect(!ExchangesOfReplicas(plan([0, 1, 2]), request).saveMoves)
        request.current = plan([0, 0, 2])
        #expect(!ExchangesOfReplicas(plan([0, 1, 2]), request).saveMoves)
        #expect(ExchangesOfReplicas(plan([1, 2, 0]), request).saveMoves)
    }

    @Test func aLargeKeyspaceIsPlannedAsWell() {
        var request = PlanRequest(members: PlanningRig.members(64), partitions: 1024, replicas: 5)
        request.current = .planned(for: request)
        request.members.removeFirst(3)
        let plan = Assignment.planned(for: request)
        checkReplication(plan, request, "three have left")
        checkSpread(plan, request, "three have left")
        #expect(!ExchangesOfReplicas(plan, request).saveMoves)
    }

    @Test(arguments: seeds) func pinsStand(_ seed: UInt64) {
        let rig = PlanningRig(seed)
        for round in 0..<40 {
            var request = rig.request()
            let note: Comment = "seed \(seed), round \(round)"
            for partition in 0..<request.partitions where rig.pick(0...4) == 0 {
                request.pins[partition] = (0..<rig.pick(1...6)).map { _ in PlanningRig.node(rig.pick(0...70)) }
            }
            request.pins[request.partitions] = [PlanningRig.node(0)]
            let plan = Assignment.planned(for: request)
            checkReplication(plan, request, note)
            checkPins(plan, request, note)
            request.current = plan
            #expect(Assignment.planned(for: request) == plan, note)
        }
    }

    private func checkPins(_ plan: Assignment, _ request: PlanRequest, _ note: Comment) {
        let names = Set(request.members.map(\.id))
        for (partition, nodes) in plan.replicas.enumerated() {
            let wanted = (request.pins[partition] ?? []).reduce(into: [NodeID]()) { list, node in
                if names.contains(node), !list.contains(node) { list.append(node) }
            }
            #expect(Array(nodes.prefix(wanted.count)) == Array(wanted.prefix(nodes.count)), note)
        }
    }

    @Test func aPinnedNodeThatIsFullTakesNoOther() {
        let pins = Dictionary(uniqueKeysWithValues: (0..<6).map { ($0, [PlanningRig.node(2)]) })
        let plan = Assignment.planned(
            for: PlanRequest(members: PlanningRig.members(3), partitions: 10, replicas: 1, pins: pins))
        #expect((0..<3).map { plan.masters(PlanningRig.node($0)) } == [2, 2, 6])
    }

    @Test(arguments: seeds) func weightsSayHowMuch(_ seed: UInt64) {
        let rig = PlanningRig(seed)
        for round in 0..<40 {
            var request = rig.request()
            let note: Comment = "seed \(seed), round \(round)"
            for index in request.members.indices {
                request.members[index].weight = rig.pick(1...[3, 100][rig.pick(0...1)])
            }
            let plan = Assignment.planned(for: request)
            checkReplication(plan, request, note)
            let shares = shares(request)
            for (member, share) in zip(request.members, shares) {
                #expect(abs(Double(plan.load(member.id)) - share) < 1.000001, note)
            }
            let whole = request.members.reduce(0) { $0 + $1.weight }
            for member in request.members {
                let part = Double(member.weight * request.partitions) / Double(whole)
                #expect(abs(Double(plan.masters(member.id)) - part) < 1.000001, note)
            }
            request.current = plan
            #expect(Assignment.planned(for: request) == plan, note)
        }
    }

    /// The shares of the replicas by weights, none above the number of partitions: by halving.
    private func shares(_ request: PlanRequest) -> [Double] {
        let total = Double(request.partitions * min(request.replicas, request.members.count))
        var (low, high) = (0.0, total)
        func shares(_ factor: Double) -> [Double] {
            request.members.map { min(Double(request.partitions), Double($0.weight) * factor) }
        }
        for _ in 0..<200 {
            let middle = (low + high) / 2
            if shares(middle).reduce(0, +) < total { low = middle } else { high = middle }
        }
        return shares(high)
    }

    @Test func whatALostNodeServedFallsToMany() {
        let plan = Assignment.planned(for: PlanRequest(members: PlanningRig.members(16), partitions: 256, replicas: 3))
        for member in PlanningRig.members(16) {
            let next = plan.replicas.filter { $0[0] == member.id }.map { $0[1] }
            #expect(Set(next).count > 5)
        }
    }

    @Test func loadElsewhereBreaksTies() {
        let elsewhere = [PlanningRig.node(0): 7, PlanningRig.node(1): 3]
        let plan = Assignment.planned(
            for: PlanRequest(members: PlanningRig.members(3), partitions: 4, replicas: 2, elsewhere: elsewhere))
        #expect((0..<3).map { plan.load(PlanningRig.node($0)) } == [2, 3, 3])
        #expect((0..<3).map { plan.masters(PlanningRig.node($0)) } == [1, 1, 2])
    }

    @Test func nonsenseIsPlannedToo() {
        let two = PlanningRig.members(2)
        #expect(Assignment.planned(for: PlanRequest(members: [], partitions: 2, replicas: 1)).replicas == [[], []])
        #expect(Assignment.planned(for: PlanRequest(members: two, partitions: -1, replicas: 1)).replicas == [])
        #expect(Assignment.planned(for: PlanRequest(members: two, partitions: 1, replicas: -1)).replicas == [[]])
        let odd = [PlanRequest.Member(id: NodeID("a"), weight: .min), .init(id: NodeID("b"), weight: .max)]
        let current = Assignment(replicas: [[NodeID("a"), NodeID("a")]])
        let plan = Assignment.planned(
            for: PlanRequest(
                members: odd + odd, partitions: 3, replicas: 1, current: current, pins: [-1: [NodeID("a")]],
                elsewhere: [NodeID("a"): .max, NodeID("b"): .min]))
        #expect(plan.replicas == [[NodeID("a")], [NodeID("b")], [NodeID("b")]])
    }
}
