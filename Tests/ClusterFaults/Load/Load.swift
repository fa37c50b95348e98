import AffinityTestSupport
import Foundation
import Glibc
import Synchronization

/// Clients at every node, each on a thread of its own, for one round.
///
/// Some meet at few keys with all kinds of requests. Others write to one partition each, again and again, so that it is
/// seen how long a partition does not answer.
final class Load: Sendable {
    let history: History
    let keys: Keys
    private let cluster: Cluster
    private let totals: Totals
    private let complaints: Complaints
    private let seed: UInt64
    private let state = Mutex((isStopping: false, clients: 0))
    private let group = DispatchGroup()

    /// How many clients of the first kind each node has, and how many microseconds lie between two requests of one.
    private static let mixed = 3
    private static let pace: UInt32 = 8_000

    init(_ cluster: Cluster, round: Int, seed: UInt64, _ totals: Totals, _ complaints: Complaints) {
        (self.cluster, self.totals, self.complaints) = (cluster, totals, complaints)
        self.seed = seed &+ UInt64(round) &* 1_000_003
        history = History(partitions: cluster.options.partitions)
        keys = Keys(round: round, partitions: cluster.options.partitions)
    }

    // MARK: - Running

    func start() { for node in cluster.nodes { join(node) } }

    /// Puts clients at a node.
    func join(_ node: ClusterNode) {
        for _ in 0..<Self.mixed { start(node) { self.mix($0, &$1) } }
        for partition in 0..<cluster.options.partitions {
            let key = keys.probe(node.id, partition)
            start(node) { self.probe($0, key, &$1) }
        }
    }

    /// Lets every client end behind its answer, and returns when all have.
    func stop() {
        state.withLock { $0.isStopping = true }
        group.wait()
    }

    private func start(_ node: ClusterNode, _ body: @escaping @Sendable (Client, inout Seeded) -> Void) {
        let number = state.withLock { state in
            state.clients += 1
            return state.clients
        }
        group.enter()
        Thread.detachNewThread {
            defer { self.group.leave() }
            var random = Seeded(self.seed &+ UInt64(number))
            let client = Client(number, node, self.history, self.complaints) { self.cluster.nodes }
            while !self.state.withLock({ $0.isStopping }) {
                usleep(Self.pace / 2 + UInt32(random.next() % UInt64(Self.pace)))
                body(client, &random)
            }
        }
    }

    // MARK: - Requests

    private func probe(_ client: Client, _ key: String, _ random: inout Seeded) {
        _ = client.put(key, Int(random.next() >> 12))
    }

    private func mix(_ client: Client, _ random: inout Seeded) {
        let key = keys.entries.randomElement(using: &random) ?? ""
        // Values that no two requests share, with room for sums between them.
        let value = Int(random.next() >> 24) * 1_000
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<35: _ = client.read(key)
        case 35..<50: _ = client.put(key, value)
        case 50..<56: client.delete(key)
        case 56..<61: _ = client.put(key, value, .absent)
        case 61..<73: replace(client, key, value, &random)
        case 73..<78: client.add(key)
        case 78..<90: count(client, &random)
        default:
            let name = Totals.names.randomElement(using: &random) ?? ""
            totals.begin(name)
            if let sum = client.addOnce(name, self.name(&random), &random, isRecorded: false) {
                totals.end(name, sum: sum)
            }
        }
    }

    /// Reads, and writes if nobody has written since; or removes.
    private func replace(_ client: Client, _ key: String, _ value: Int, _ random: inout Seeded) {
        guard case .entry(_, version: let version?) = client.read(key) else { return }
        if Int.random(in: 0..<4, using: &random) == 0 {
            client.delete(key, .matches(version))
        } else {
            _ = client.put(key, value, .matches(version))
        }
    }

    private func count(_ client: Client, _ random: inout Seeded) {
        let key = keys.counters.randomElement(using: &random) ?? ""
        switch Int.random(in: 0..<4, using: &random) {
        case 0: _ = client.read(key)
        case 1: client.add(key)
        default: _ = client.addOnce(key, name(&random), &random)
        }
    }

    private func name(_ random: inout Seeded) -> String { String(random.next(), radix: 36) }
}
