import AffinityTestSupport
import Foundation
import Synchronization

/// The whole system on this machine: ZooKeeper, Kafka, the nodes, and the networks between them.
final class Cluster: Sendable {
    /// ZooKeeper's unit of time, in milliseconds.
    static let tick = 250

    let options: Options
    let zookeeper: ZooKeeperServers
    let kafka: KafkaCluster
    let kafkaPort: Int
    private let ports: Mutex<Ports>
    private let members = Mutex<[ClusterNode]>([])

    /// Starts the servers; nodes come by `add`.
    init(_ options: Options) throws {
        self.options = options
        var ports = Ports()
        kafkaPort = try ports.take(3)
        self.ports = Mutex(ports)
        zookeeper = try ZooKeeperServers(options.servers, tick: Self.tick)
        kafka = try KafkaCluster(properties: [:])
    }

    /// The nodes that the system has now, whether or not they run.
    var nodes: [ClusterNode] { members.withLock { $0 } }
    var running: [ClusterNode] { nodes.filter(\.isRunning) }

    // MARK: - Nodes

    /// Puts one node more into the system.
    @discardableResult
    func add() throws -> ClusterNode {
        let number = nodes.count + 1
        let (http, peer) = try ports.withLock { (try $0.take(), try $0.take()) }
        let node = try ClusterNode(
            "n\(number)", port: http, folder: "\(options.folder)/n\(number)", arguments: arguments(peer: peer))
        members.withLock { $0.append(node) }
        try node.start()
        return node
    }

    private func arguments(peer: Int) -> [String] {
        [
            "--node.port", "\(peer)", "--coordinator.kind", "zookeeper", "--coordinator.connect", zookeeper.servers,
            "--coordinator.session", "\(options.session)ms", "--coordinator.grace", "\(2 * options.session)ms",
            "--storage.kind", "kafka", "--storage.brokers", kafka.brokers, "--storage.replication", "1",
            "--keyspaces.kv.partitions", "\(options.partitions)", "--keyspaces.kv.replicas", "\(options.replicas)",
            "--keyspaces.kv.memstore", options.memstore,
        ]
    }

    /// Ends everything.
    func stop() {
        for node in nodes {
            try? node.kill()
            node.keepOutput()
        }
        kafka.stop()
        zookeeper.stop()
    }

    // MARK: - States

    /// Returns when every node that runs is ready, and every partition has all its replicas.
    ///
    /// - Parameter isAtRest: whether nobody writes, so that replicas become level and nothing stays on its way.
    /// - Returns: what was last in the way.
    @discardableResult
    func waitUntilWhole(within seconds: Double, isAtRest: Bool = false) throws -> String {
        var last: [String] = []
        var former = ""
        do {
            try waitUntil("the system to be whole", within: seconds) {
                last = obstacles(isAtRest: isAtRest)
                if last.isEmpty { return true }
                former = last[0]
                usleep(20_000)
                return false
            }
        } catch { throw Failure("\(error):\n  \(last.joined(separator: "\n  "))") }
        return former
    }

    /// What keeps the system from being whole.
    private func obstacles(isAtRest: Bool) -> [String] {
        let running = running
        var statuses: [String: NodeStatus] = [:]
        for node in running {
            guard node.isReady, let status = node.status else { return ["\(node.id) is not ready"] }
            statuses[node.id] = status
        }
        return (0..<options.partitions).flatMap { number in
            let seen = statuses.mapValues { $0.partitions[number] }
            return obstacle(seen, replicas: min(options.replicas, running.count), isAtRest).map { reason in
                [
                    "partition \(number) \(reason): "
                        + seen.sorted { $0.key < $1.key }.map { "\($0.key) says \($0.value)" }.joined(separator: ", ")
                ]
            } ?? []
        }
    }

    /// What is wrong with a partition as each node sees it.
    private func obstacle(_ seen: [String: NodeStatus.Partition], replicas: Int, _ isAtRest: Bool) -> String? {
        let masters = seen.filter { $0.value.role == "master" }
        let standbys = seen.filter { $0.value.role == "standby" }
        guard masters.count == 1, let master = masters.first, master.value.state == "serving" else {
            return "has no master, or many"
        }
        if standbys.count + 1 != replicas { return "has \(standbys.count) standbys" }
        for (_, partition) in seen {
            if partition.master != master.key { return "has another master for one" }
            if partition.next?.isEmpty == false { return "moves" }
            if isAtRest, partition.lag != 0 || partition.inFlight != 0 { return "is not level" }
        }
        return standbys.allSatisfy { $0.value.state == "standby" } ? nil : "has standbys that are none yet"
    }

    /// Which node is master of which partitions, as the nodes say.
    func masters() throws -> [String: Set<Int>] {
        var found: [String: Set<Int>] = [:]
        guard let status = nodes.lazy.compactMap(\.status).first else { throw Failure("no node answers") }
        for partition in status.partitions {
            if let master = partition.master { found[master, default: []].insert(partition.partition) }
        }
        return found
    }
}
