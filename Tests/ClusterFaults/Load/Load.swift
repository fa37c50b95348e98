import AffinityTestSupport
import AffinityTesting
import Foundation
import Glibc
import Synchronization

/// Clients at every node, each on a thread of its own, for one round.
///
/// Some meet at few keys with all kinds of requests. Others write to one partition each, again and again, so that it is
/// seen how long a partition does not answer. Beside them each of the few keys is watched, at changing nodes.
final class Load: Sendable {
    let journal: Journal
    let keys: Keys
    let watchers: [Watcher]
    private let cluster: Cluster
    private let totals: Totals
    private let complaints: Complaints
    private let seed: UInt64
    private let patience: String
    private let state = Mutex((isStopping: false, clients: 0))
    private let group = DispatchGroup()
    private let isWatched = Atomic(true)
    private let watching = DispatchGroup()

    /// How many clients of the first kind each node has, and how many microseconds lie between two requests of one.
    private static let mixed = 3
    private static let pace: UInt32 = 8_000

    /// - Parameter patience: how long the service has for an answer to those of the second kind.
    init(
        _ cluster: Cluster, round: Int, seed: UInt64, _ totals: Totals, _ complaints: Complaints, patience: String
    ) {
        (self.cluster, self.totals, self.complaints, self.patience) = (cluster, totals, complaints, patience)
        self.seed = seed &+ UInt64(round) &* 1_000_003
        journal = Journal(partitions: cluster.options.partitions)
        keys = Keys(round: round, partitions: cluster.options.partitions)
        watchers = (keys.entries + keys.counters).enumerated().map { Watcher($0 + 1, $1) }
    }

    // MARK: - Running

    func start() {
        for node in cluster.nodes { join(node) }
        for (index, watcher) in watchers.enumerated() { start(watcher, seed &+ UInt64(index) &* 7_919) }
    }

    /// Puts clients at a node.
    func join(_ node: ClusterNode) {
        for _ in 0..<Self.mixed { start(node, deadline: "3s") { self.mix($0, &$1) } }
        for partition in 0..<cluster.options.partitions {
            let key = keys.probe(node.id, partition)
            start(node, deadline: patience) { $0.put(key, Int($1.next() >> 12)) }
        }
    }

    /// Lets every client end behind its answer, and returns when all have.
    func stop() {
        state.withLock { $0.isStopping = true }
        group.wait()
    }

    /// Lets those who watch go.
    func stopWatching() {
        isWatched.store(false, ordering: .relaxed)
        watching.wait()
    }

    private func start(_ watcher: Watcher, _ seed: UInt64) {
        watching.enter()
        Thread.detachNewThread {
            defer { self.watching.leave() }
            var random = Seeded(seed)
            do {
                try watcher.follow({ self.cluster.nodes }, &random) { !self.isWatched.load(ordering: .relaxed) }
            } catch { self.complaints.add("\(error)") }
        }
    }

    private func start(
        _ node: ClusterNode, deadline: String, _ body: @escaping @Sendable (Client, inout Seeded) -> Void
    ) {
        let number = state.withLock { state in
            state.clients += 1
            return state.clients
        }
        group.enter()
        Thread.detachNewThread {
            defer { self.group.leave() }
            var random = Seeded(self.seed &+ UInt64(number))
            let client = Client(number, node, self.journal, self.complaints, deadline: deadline) { self.cluster.nodes }
            while !self.state.withLock({ $0.isStopping }) {
                usleep(Self.pace / 2 + UInt32(random.next() % UInt64(Self.pace)))
                body(client, &random)
            }
        }
    }

    // MARK: - Requests

    private func mix(_ client: Client, _ random: inout Seeded) {
        let key = keys.entries.randomElement(using: &random) ?? ""
        // Values that no two requests share, with room for sums between them.
        let value = Int(random.next() >> 24) * 1_000
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<35: _ = client.read(key)
        case 35..<50: client.put(key, value)
        case 50..<56: client.delete(key)
        case 56..<61: client.put(key, value, noneMatch: .any)
        case 61..<73: replace(client, key, value, &random)
        case 73..<78: client.add(key)
        case 78..<90: count(client, &random)
        default: countTotal(client, &random)
        }
    }

    /// Reads, and writes or removes if nobody has written since.
    private func replace(_ client: Client, _ key: String, _ value: Int, _ random: inout Seeded) {
        guard case .value(_, let version?)? = client.read(key) else { return }
        if Int.random(in: 0..<4, using: &random) == 0 {
            client.delete(key, match: .versions([version]))
        } else {
            client.put(key, value, match: .versions([version]))
        }
    }

    private func count(_ client: Client, _ random: inout Seeded) {
        let key = keys.counters.randomElement(using: &random) ?? ""
        switch Int.random(in: 0..<4, using: &random) {
        case 0: _ = client.read(key)
        case 1: client.add(key)
        default: _ = client.addOnce(key, id(&random), &random)
        }
    }

    private func countTotal(_ client: Client, _ random: inout Seeded) {
        let name = Totals.names.randomElement(using: &random) ?? ""
        totals.begin(name)
        if let sum = client.addOnce(name, id(&random), &random, isNoted: false) { totals.end(name, sum: Int(sum)) }
    }

    private func id(_ random: inout Seeded) -> String { String(random.next(), radix: 36) }
}
