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
    private let state = Mutex(State())

    private struct State {
        var members: [ClusterNode] = []
        var spare: [ClusterNode] = []
    }

    /// Starts the servers and the nodes; one node more than the options say is there to be added.
    init(_ options: Options) throws {
        self.options = options
        var ports = Ports()
        let count = options.nodes + 1
        zookeeper = try ZooKeeperServers(options.servers, tick: Self.tick)
        let servers = zookeeper.servers.split(separator: ",").compactMap { Int($0.split(separator: ":")[1]) }
        let kafkaPort = try ports.take(2 + count)
        let networks = try (0..<count).map {
            try Networks(zookeeper: servers, kafka: kafkaPort + 2 + $0, listener: try ports.take())
        }
        kafka = try KafkaCluster(port: kafkaPort, properties: Self.listeners(kafkaPort, networks.map(\.kafka.address)))
        var nodes = try networks.enumerated().map { index, networks in
            let id = "n\(index + 1)"
            return try ClusterNode(
                id, port: try ports.take(), networks, folder: "\(options.folder)/\(id)", arguments: arguments(networks))
        }
        let spare = nodes.removeLast()
        state.withLock { ($0.members, $0.spare) = (nodes, [spare]) }
        for node in nodes { try node.start() }
    }

    /// A listener of Kafka's for each node, with another address that the node is told: that of its proxy.
    private static func listeners(_ port: Int, _ told: [String]) -> [String: String] {
        let names = told.indices.map { "NODE\($0 + 1)" }
        let listens = zip(names, told.indices).map { "\($0)://127.0.0.1:\(port + 2 + $1)" }
        let isTold = zip(names, told).map { "\($0)://\($1)" }
        func joined(_ parts: [String]) -> String { parts.joined(separator: ",") }
        return [
            "listeners": joined(["PLAINTEXT://127.0.0.1:\(port)", "CONTROLLER://127.0.0.1:\(port + 1)"] + listens),
            "advertised.listeners": joined(["PLAINTEXT://127.0.0.1:\(port)"] + isTold),
            "listener.security.protocol.map": joined((["PLAINTEXT", "CONTROLLER"] + names).map { "\($0):PLAINTEXT" }),
            // A broker that was killed is not let in again while its former session lasts.
            "broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "500",
        ]
    }

    private func arguments(_ networks: Networks) -> [String] {
        [
            "--node.port", "\(networks.peers.port)", "--node.listen", "127.0.0.1:\(networks.listener)",
            "--coordinator.kind", "zookeeper", "--coordinator.connect",
            networks.zookeeper.map(\.address).joined(separator: ","),
            "--coordinator.session", "\(options.session)ms", "--coordinator.grace", "\(2 * options.session)ms",
            "--storage.kind", "kafka", "--storage.brokers", networks.kafka.address, "--storage.replication", "1",
            "--keyspaces.kv.partitions", "\(options.partitions)", "--keyspaces.kv.replicas", "\(options.replicas)",
            "--keyspaces.kv.memstore", options.memstore,
        ]
    }

    // MARK: - Nodes

    /// The nodes that the system has now, whether or not they run.
    var nodes: [ClusterNode] { state.withLock { $0.members } }
    var running: [ClusterNode] { nodes.filter(\.isRunning) }

    /// Starts a node that the system does not have.
    func add() throws -> ClusterNode? {
        guard let node = state.withLock({ $0.spare.popLast() }) else { return nil }
        try node.start()
        state.withLock { $0.members.append(node) }
        return node
    }

    /// The node, which does not run, is not to come back for now.
    func remove(_ node: ClusterNode) {
        state.withLock { state in
            state.members.removeAll { $0 === node }
            state.spare.append(node)
        }
    }

    /// Ends everything.
    func stop() {
        for node in state.withLock({ $0.members + $0.spare }) {
            try? node.kill()
            node.keepOutput()
            node.networks.stop()
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
            if isAtRest, partition.inFlight != 0 { return "is written to" }
            // What a standby knows of the end may be old.
            if isAtRest, partition.role != "none", partition.position != master.value.position { return "is not level" }
        }
        return standbys.allSatisfy { $0.value.state == "standby" } ? nil : "has standbys that are none yet"
    }

    /// Which node is master of which partitions, as the first node says that answers.
    func masters() throws -> [String: Set<Int>] {
        for node in nodes {
            guard let status = node.status else { continue }
            var found: [String: Set<Int>] = [:]
            for partition in status.partitions {
                if let master = partition.master { found[master, default: []].insert(partition.partition) }
            }
            return found
        }
        return [:]
    }
}
