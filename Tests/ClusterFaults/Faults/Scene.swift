import AffinityTestSupport
import Foundation
import Glibc
import Synchronization

/// Where a fault happens: the system under load, and dice. Can be used on any thread.
final class Scene: Sendable {
    let cluster: Cluster
    let load: Load
    private let random: Mutex<Seeded>
    private let state = Mutex((taken: Set<String>(), notes: [String]()))

    init(_ cluster: Cluster, _ load: Load, seed: UInt64) {
        (self.cluster, self.load) = (cluster, load)
        random = Mutex(Seeded(seed))
    }

    // MARK: - Dice

    func roll(_ range: ClosedRange<Double>) -> Double { random.withLock { Double.random(in: range, using: &$0) } }

    func pick<Value: Sendable>(_ values: [Value]) -> Value? { random.withLock { values.randomElement(using: &$0) } }

    /// Keeps things as they are for a time, given in sessions.
    func hold(_ sessions: ClosedRange<Double>) {
        let length = roll(sessions) * Double(cluster.options.session) / 1_000
        note(String(format: "%.1f s", length))
        usleep(UInt32(length * 1_000_000))
    }

    // MARK: - Nodes

    /// Does something to a node, and nobody else does anything to it meanwhile; nothing if there is no node for it.
    ///
    /// - Parameter order: the node with the highest number is taken.
    func withNode(by order: (ClusterNode) throws -> Double, _ body: (ClusterNode) throws -> Void) throws {
        let free = cluster.running.filter { node in !state.withLock { $0.taken.contains(node.id) } }
        let ranked = try free.map { ($0, try order($0)) }
        guard let node = ranked.max(by: { $0.1 < $1.1 })?.0,
            state.withLock({ $0.taken.insert(node.id).inserted })
        else { return note("no node left") }
        defer { _ = state.withLock { $0.taken.remove(node.id) } }
        note(node.id)
        try body(node)
    }

    func withNode(_ body: (ClusterNode) throws -> Void) throws {
        try withNode(by: { _ in roll(0...1) }, body)
    }

    /// How many partitions a node is master of, and a little chance.
    func masterships(_ node: ClusterNode) throws -> Double {
        Double(try cluster.masters()[node.id]?.count ?? 0) + roll(0...0.5)
    }

    // MARK: - What is told

    func note(_ text: String) { state.withLock { $0.notes.append(text) } }
    var notes: String { state.withLock { $0.notes.joined(separator: ", ") } }
}
