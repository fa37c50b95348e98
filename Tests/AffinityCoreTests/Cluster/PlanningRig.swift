import AffinityCore
import AffinityTesting

/// Makes requests, and counts what plans do.
struct PlanningRig {
    let random: SeededRandom

    init(_ seed: UInt64) { random = SeededRandom(seed) }

    func pick(_ range: ClosedRange<Int>) -> Int { range.lowerBound + Int(random.next() % UInt64(range.count)) }

    static func node(_ number: Int) -> NodeID { NodeID("n\(number)") }

    static func members(_ count: Int) -> [PlanRequest.Member] { (0..<count).map { .init(id: node($0)) } }

    /// An assignment that nobody would plan: any nodes, more and fewer of them than asked for.
    func disorder(nodes: Int, partitions: Int, replicas: Int) -> Assignment {
        Assignment(
            replicas: (0..<partitions).map { _ in
                (0..<pick(0...replicas + 1)).reduce(into: []) { list, _ in
                    let node = Self.node(pick(0...nodes - 1))
                    if !list.contains(node) { list.append(node) }
                }
            })
    }

    /// Small numbers more often than large ones.
    func request() -> PlanRequest {
        let nodes = pick(1...[3, 8, 64][pick(0...2)])
        let partitions = pick(1...[4, 32, 200][pick(0...2)])
        let replicas = pick(1...5)
        let now = disorder(nodes: nodes + 1, partitions: max(0, partitions + pick(-2...1)), replicas: replicas)
        return PlanRequest(
            members: Self.members(nodes), partitions: partitions, replicas: replicas,
            current: pick(0...3) == 0 ? nil : now)
    }
}

extension Assignment {
    /// How many replicas a node holds.
    func load(_ node: NodeID) -> Int { replicas.count { $0.contains(node) } }

    /// For how many partitions a node is preferred as master.
    func masters(_ node: NodeID) -> Int { replicas.count { $0.first == node } }

    /// How many replicas are where none was.
    func moves(from current: Assignment?) -> Int {
        replicas.enumerated().reduce(0) { sum, item in
            let now = current.flatMap { item.offset < $0.replicas.count ? $0.replicas[item.offset] : nil } ?? []
            return sum + item.element.count { !now.contains($0) }
        }
    }

    /// For how many partitions another node is preferred as master.
    func masterChanges(from current: Assignment) -> Int {
        zip(replicas, current.replicas).count { $0.first != $1.first }
    }
}

/// Whether partitions can exchange replicas, each node keeping its share, so that fewer of them are new: a plan has the
/// fewest moves if and only if no cycle in the graph of such exchanges saves one.
struct ExchangesOfReplicas {
    private struct Arc {
        var from: Int
        var to: Int
        /// The moves that it adds.
        var moves: Int
    }

    private var arcs: [Arc] = []
    private let vertices: Int

    /// For members of one weight and no pins. The vertices are the nodes, then the partitions, then one through which
    /// a node passes a replica of its share on to another.
    init(_ plan: Assignment, _ request: PlanRequest) {
        let nodes = request.members.map(\.id)
        let pool = nodes.count + request.partitions
        vertices = pool + 1
        let total = request.partitions * min(request.replicas, nodes.count)
        let (share, larger) = total.quotientAndRemainder(dividingBy: nodes.count)
        for (number, node) in nodes.enumerated() {
            let load = plan.load(node)
            if load < share + min(larger, 1) { arcs.append(Arc(from: number, to: pool, moves: 0)) }
            if load > share { arcs.append(Arc(from: pool, to: number, moves: 0)) }
            for partition in 0..<request.partitions {
                let vertex = nodes.count + partition
                let cost = request.current?.replicas[partition].contains(node) == true ? 0 : 1
                let isPicked = plan.replicas[partition].contains(node)
                arcs.append(
                    isPicked
                        ? Arc(from: number, to: vertex, moves: -cost) : Arc(from: vertex, to: number, moves: cost))
            }
        }
    }

    /// Bellman and Ford: without a cycle that saves, the shortest paths are found in as many rounds as there are arcs
    /// in the longest.
    var saveMoves: Bool {
        var distances = Array(repeating: 0, count: vertices)
        for _ in 0...vertices {
            var hasChanged = false
            for arc in arcs where distances[arc.from] + arc.moves < distances[arc.to] {
                distances[arc.to] = distances[arc.from] + arc.moves
                hasChanged = true
            }
            if !hasChanged { return false }
        }
        return true
    }
}
