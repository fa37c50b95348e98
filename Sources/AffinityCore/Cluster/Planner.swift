extension Assignment {
    /// Plans which nodes hold the replicas: the same result for the same request, in whatever order its members stand.
    ///
    /// What is asked for, the first before the second and so on:
    /// 1. Each partition has `replicas` different nodes, or all if there are fewer; the pins stand.
    /// 2. Each node holds the part of the replicas that its weight says, rounded up or down, as far as pins and the
    ///    number of partitions let it. The preferred masters are spread in the same way over what the nodes hold.
    /// 3. As few replicas as possible are new.
    /// 4. The preferred master changes for as few partitions as possible, given the nodes of each.
    /// 5. Where there is still a choice, nodes that hold less of other keyspaces get more.
    public static func planned(for request: PlanRequest) -> Assignment {
        let planner = Planner(request)
        let sets = planner.replicaSets()
        return planner.assignment(of: sets, masters: planner.masters(of: sets))
    }
}

/// A request in which nodes are numbers, in the order of their names.
private struct Planner {
    let nodes: [NodeID]
    let weights: [Int]
    /// The place of each node's load elsewhere among all such loads: 0 for the least.
    let ranks: [Int]
    let replicas: Int
    /// For each partition the nodes that it has now, as far as they are members.
    let current: [[Int]]
    /// For each partition whether the first of those is the preferred master: it may have left.
    let hasMaster: [Bool]
    /// For each partition the nodes that it must have.
    let pins: [[Int]]
    let scale: Scale

    init(_ request: PlanRequest) {
        let weights = Dictionary(request.members.map { ($0.id, $0.weight) }, uniquingKeysWith: max)
        let nodes = weights.keys.sorted { $0.description < $1.description }
        let numbers = Dictionary(uniqueKeysWithValues: zip(nodes, nodes.indices))
        let replicas = max(0, min(request.replicas, nodes.count))
        let partitions = 0..<max(0, request.partitions)
        let current = request.current?.replicas ?? []
        let now = partitions.map { $0 < current.count ? current[$0] : [] }
        self.nodes = nodes
        self.weights = nodes.map { min(max(weights[$0] ?? 1, 1), 1 << 16) }
        self.replicas = replicas
        ranks = Self.ranks(nodes.map { request.elsewhere[$0] ?? 0 })
        self.current = now.map { Self.numbered($0, numbers) }
        hasMaster = now.map { $0.first.map { numbers[$0] != nil } ?? false }
        pins = partitions.map { Array(Self.numbered(request.pins[$0] ?? [], numbers).prefix(replicas)) }
        scale = Scale(nodes: nodes.count)
    }

    private static func ranks(_ loads: [Int]) -> [Int] {
        let places = Dictionary(uniqueKeysWithValues: zip(Set(loads).sorted(), 0...))
        return loads.map { places[$0] ?? 0 }
    }

    private static func numbered(_ nodes: [NodeID], _ numbers: [NodeID: Int]) -> [Int] {
        var result: [Int] = []
        for node in nodes {
            if let number = numbers[node], !result.contains(number) { result.append(number) }
        }
        return result
    }

    // MARK: - Choosing

    /// Which nodes each partition is to have, ascending.
    func replicaSets() -> [[Int]] {
        picks(replicas) { partition in
            var costs = Array(repeating: scale.move, count: nodes.count)
            for node in current[partition] { costs[node] = 0 }
            if let master = current[partition].first { costs[master] = -scale.order }
            for node in pins[partition] { costs[node] = Transportation.required }
            return costs
        }
    }

    /// Which of its nodes each partition is to prefer as master.
    func masters(of sets: [[Int]]) -> [Int?] {
        let masters = picks(min(1, replicas)) { partition in
            var costs = Array(repeating: Transportation.forbidden, count: nodes.count)
            for node in sets[partition] { costs[node] = costOfMaster(partition, node) }
            if let pinned = pins[partition].first { costs[pinned] = Transportation.required }
            return costs
        }
        return masters.map(\.first)
    }

    /// The next in line comes before others, and a new replica, which has the whole log to read, behind them.
    private func costOfMaster(_ partition: Int, _ node: Int) -> Int {
        guard current[partition].contains(node) else { return scale.move + 2 * scale.order }
        guard current[partition].first == node else { return scale.move + scale.order }
        return hasMaster[partition] ? 0 : scale.move
    }

    private func picks(_ count: Int, costs: (Int) -> [Int]) -> [[Int]] {
        let loads = zip(shares(count), ranks).map { Transportation.Load(share: $0, rank: $1, step: scale.balance) }
        var problem = Transportation(rows: pins.indices.map(costs), loads: loads, picks: count)
        problem.solve()
        return pins.indices.map(problem.picked)
    }

    /// How often each node is to be picked, if each partition picks so many: by weight, but what is pinned is, and
    /// nothing is picked twice.
    private func shares(_ count: Int) -> [ClosedRange<Int>] {
        var pinned = Array(repeating: 0, count: nodes.count)
        var possible = Array(repeating: pins.count { $0.count < count }, count: nodes.count)
        for pins in pins {
            for node in pins.prefix(count) {
                pinned[node] += 1
                if pins.count >= count { possible[node] += 1 }
            }
        }
        let bounds = zip(pinned, possible).map { $0...$1 }
        return proportionalShares(of: count * pins.count, weights: weights, within: bounds)
    }

    // MARK: - The result

    /// The pins in their order, the master, what stays in its order, and what is new: not by name, or what a lost node
    /// was master of would fall to its neighbour alone.
    func assignment(of sets: [[Int]], masters: [Int?]) -> Assignment {
        Assignment(
            replicas: sets.indices.map { partition in
                let before = pins[partition] + (masters[partition].map { [$0] } ?? []) + current[partition]
                let kept = before.filter(sets[partition].contains)
                let others = sets[partition].sorted {
                    Transportation.scattered(partition, $0) < Transportation.scattered(partition, $1)
                }
                return unique(kept + others).map { nodes[$0] }
            })
    }

    private func unique(_ list: [Int]) -> [Int] {
        list.indices.filter { !list[..<$0].contains(list[$0]) }.map { list[$0] }
    }
}

/// What costs count: one of each outweighs all that a cycle of exchanges can bring of those before it.
///
/// A cycle visits each node once, two ranks at most count in it, and an exchange changes the order by two at most.
private struct Scale {
    /// A preferred master that has to be another.
    let order: Int
    /// A new replica.
    let move: Int
    /// A replica away from what the weights say.
    let balance: Int

    init(nodes: Int) {
        order = 2 * nodes + 1
        move = 2 * order * (nodes + 2)
        balance = move * (nodes + 2)
    }
}
