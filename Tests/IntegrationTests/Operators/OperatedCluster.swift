import AffinityTestSupport
import Foundation
import Testing

/// Two nodes of `KeyValue` with one replica of each partition, so that each move is a change of masters.
final class OperatedCluster: Sendable {
    @TaskLocal static var shared: OperatedCluster?

    let zookeeper: ZooKeeperServers
    let system = "operated-\(UUID().uuidString)"
    /// `n1` and `n2`.
    let nodes: [ServiceProcess]

    static let partitions = 4

    init() throws {
        let kafka = try KafkaCluster.shared.get()
        zookeeper = try ZooKeeperServers()
        nodes = try ["n1", "n2"].map { [zookeeper, system] name in
            let folder = try TemporaryFolder()
            // The session is long: machines under load are slow, and no test is about its end.
            return try ServiceProcess(
                Programs.keyValue,
                ServiceProcess.operators + [
                    "--system", system, "--node.id", name, "--node.port", "0", "--node.data", folder.path + "/data",
                    "--coordinator.kind", "zookeeper", "--coordinator.connect", zookeeper.servers,
                    "--coordinator.session", "10s", "--storage.kind", "kafka", "--storage.brokers", kafka.brokers,
                    "--storage.replication", "1", "--keyspaces.kv.partitions", "\(Self.partitions)",
                    "--gateway.access-log", "true",
                ], keeping: folder)
        }
        for node in nodes { try node.waitUntilReady() }
        try waitUntil { try $0.status().isSettled }
    }

    /// Ends both, as operators do.
    func stop() throws {
        for node in nodes { node.child.send(SIGTERM) }
        for node in nodes { #expect(try node.child.waitForExit() == 0, "\(node.child.text)") }
    }

    /// Waits until it is so on both nodes.
    func waitUntil(_ isSo: (ServiceProcess) throws -> Bool) throws {
        for node in nodes { try node.waitUntil { try isSo(node) } }
    }

    /// Takes back all that a test has asked for, and waits until nothing moves any more.
    func reset() throws {
        for name in ["n1", "n2"] { #expect(try nodes[0].admin("DELETE", "/admin/drained/\(name)").status == 200) }
        for partition in 0..<Self.partitions {
            #expect(try nodes[0].admin("DELETE", "/admin/pins/kv/\(partition)").status == 200)
        }
        let answer = try nodes[0].admin("DELETE", "/admin/paused")
        #expect(try answer.settings == OperatorSettings())
        try waitUntil { try $0.status().isSettled }
    }
}

/// Runs the tests of a suite against one cluster, and stops it in good order.
struct OperatedClusterTrait: SuiteTrait, TestScoping {
    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        let cluster = try OperatedCluster()
        try await OperatedCluster.$shared.withValue(cluster) { try await function() }
        try cluster.stop()
    }
}

/// The cluster that the suite's tests share, with nothing asked of it.
var operated: OperatedCluster {
    get throws {
        let cluster = try #require(OperatedCluster.shared)
        try cluster.reset()
        return cluster
    }
}

/// As `/admin` answers them.
struct OperatorSettings: Decodable, Equatable {
    var drained: [String] = []
    var isPaused = false
    var pins: [String: [String: [String]]] = [:]
}

/// As much of `/status` as operators change.
struct OperatedStatus: Decodable {
    struct Keyspace: Decodable {
        struct Partition: Decodable {
            var master: String?
            var standbys: [String]
            var next: [String]?
        }

        var partitions: [Partition]
    }

    struct Cluster: Decodable {
        var drained: [String]
        var isPaused: Bool
    }

    var keyspaces: [String: Keyspace]
    var cluster: Cluster?

    /// In the order of the partitions; empty for one that has none.
    var masters: [String] { partitions.map { $0.master ?? "" } }
    var partitions: [Keyspace.Partition] { keyspaces["kv"]?.partitions ?? [] }
    /// Both nodes are masters of as many partitions, and nothing moves.
    var isSettled: Bool {
        masters.sorted() == ["n1", "n1", "n2", "n2"] && partitions.allSatisfy { $0.next == nil && $0.standbys.isEmpty }
    }
}

extension ServiceProcess {
    /// Asks where operators do.
    func admin(
        _ method: String, _ target: String, _ headers: [(String, String)] = [], body: String? = nil
    ) throws -> HTTPClient.Answer {
        try HTTPClient(port: adminPort).ask(method, target, headers, json: body)
    }

    func status() throws -> OperatedStatus {
        let answer = try connect().ask("GET", "/status")
        return try JSONDecoder().decode(OperatedStatus.self, from: Data(answer.body))
    }
}

extension HTTPClient.Answer {
    var settings: OperatorSettings {
        get throws {
            try #require(status == 200, "\(self)")
            return try JSONDecoder().decode(OperatorSettings.self, from: Data(body))
        }
    }
}
