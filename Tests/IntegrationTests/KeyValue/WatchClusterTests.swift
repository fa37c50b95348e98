import AffinityTestSupport
import Foundation
import Testing

/// `WS /kv/{key}` on three nodes, of which one is killed.
@Suite(.serialized, .enabled(if: KafkaCluster.isAvailable && ZooKeeperServers.isAvailable))
struct WatchClusterTests {
    /// Three nodes with a replica of each partition on each.
    private static func nodes(_ zookeeper: ZooKeeperServers) throws -> [String: ServiceProcess] {
        let kafka = try KafkaCluster.shared.get()
        let system = "watched-\(UUID().uuidString)"
        var nodes: [String: ServiceProcess] = [:]
        for name in ["n1", "n2", "n3"] {
            let folder = try TemporaryFolder()
            nodes[name] = try ServiceProcess(
                Programs.keyValue,
                [
                    "--system", system, "--node.id", name, "--node.port", "0", "--node.data", folder.path + "/data",
                    "--coordinator.kind", "zookeeper", "--coordinator.connect", zookeeper.servers,
                    "--coordinator.session", "3s", "--storage.kind", "kafka", "--storage.brokers", kafka.brokers,
                    "--storage.replication", "1", "--keyspaces.kv.partitions", "2", "--keyspaces.kv.replicas", "3",
                ], keeping: folder)
        }
        for node in nodes.values {
            try node.waitUntilReady()
            try node.waitUntil { try node.status().partitions.allSatisfy { $0.standbys.count == 2 } }
        }
        return nodes
    }

    /// Writes numbers one after the other, each once, whatever happens meanwhile.
    private static func write(_ numbers: Range<Int>, _ key: String, at node: ServiceProcess) throws {
        for number in numbers {
            try node.waitUntil {
                guard let client = try? node.connect() else { return false }
                let answer = try client.ask(
                    "PUT", "/kv/\(key)", [("Idempotency-Key", "w\(number)")], json: "\(number)")
                guard [201, 204, 503, 504].contains(answer.status) else { throw Failure("\(answer)") }
                return answer.status < 300
            }
        }
    }

    /// Reads until the value is `last`; gives what was seen, and the last version.
    private static func read(_ watch: WebSocketProbe, to last: Int) throws -> (values: [Int], version: UInt64) {
        struct Members: Decodable { var value: Int?, version: UInt64? }
        var values: [Int] = []
        var version: UInt64 = 0
        while values.last != last {
            let text = try watch.text()
            let members = try JSONDecoder().decode(Members.self, from: Data(text.utf8))
            guard let value = members.value, let next = members.version, next > version else {
                throw Failure("\(text) after \(values) at \(version)")
            }
            // A new master writes again what may not have been settled: a change, with a version of its own.
            if values.last != value { values.append(value) }
            version = next
        }
        return (values, version)
    }

    /// From Kafka, and over the peer link.
    @Test func aLongWayBehindEveryChangeComesOnceOnEveryNode() async throws {
        let zookeeper = try ZooKeeperServers()
        try await onThread {
            let nodes = try Self.nodes(zookeeper)
            let client = try #require(nodes["n1"]).connect()
            let first = try client.put("far", "0")
            let value = String(repeating: "x", count: 256 << 10)
            var versions: [UInt64] = []
            for number in 0..<120 {
                versions.append(try client.put("far", "\"\(number)\(value)\""))
                for other in 0..<4 { try client.put("other-\(other)", "\(number)") }
            }
            for (name, node) in nodes {
                let watch = try node.watch("far", after: "\(first)")
                for version in versions {
                    let event = try watch.event()
                    try #require(
                        !event.isReset && event.version == version,
                        "\(event.text.prefix(50)), not \(version), at \(name)")
                }
                let next = try client.put("far", "1")
                versions.append(next)
                #expect(try watch.event().version == next)
            }
            for node in nodes.values { node.child.send(SIGTERM) }
            for node in nodes.values { #expect(try node.child.waitForExit() == 0) }
        }
    }

    @Test func watchesGoOnOverTheDeathOfTheMaster() async throws {
        let zookeeper = try ZooKeeperServers()
        try await onThread {
            var nodes = try Self.nodes(zookeeper)
            let key = "w"
            let any = try #require(nodes["n1"])
            try Self.write(0..<1, key, at: any)
            let partition = try #require(try any.connect().ask("GET", "/kv/\(key)").partition)
            let master = try #require(try any.status().partitions[partition].master)
            var watches: [String: WebSocketProbe] = [:]
            for (name, node) in nodes { watches[name] = try WebSocketProbe(port: node.port, "/kv/\(key)") }
            let survivor = try #require(nodes.first { $0.key != master }?.value)
            try Self.write(1..<20, key, at: survivor)
            // What was open at the node that dies is read up to there, and goes on elsewhere.
            let lost = try Self.read(try #require(watches[master]), to: 19)
            #expect(lost.values == Array(0..<20))
            try nodes[master]?.child.killNow()
            nodes[master] = nil
            try Self.write(20..<60, key, at: survivor)
            for (name, node) in nodes {
                let seen = try Self.read(try #require(watches[name]), to: 59)
                #expect(seen.values == Array(0..<60), "\(name), \(master) was killed")
                let resumed = try WebSocketProbe(port: node.port, "/kv/\(key)?after=\(lost.version)")
                let since = try Self.read(resumed, to: 59).values
                #expect(since.drop { $0 == 19 } == Array(20..<60)[...], "resumed on \(name)")
            }
            // A handover in good order too: a node that drains says so, and its watchers go on elsewhere.
            let (leaving, node) = try #require(nodes.first)
            let watch = try #require(watches[leaving])
            node.child.send(SIGTERM)
            #expect(try watch.closeCode() == 1001)
            #expect(try node.child.waitForExit() == 0)
            nodes[leaving] = nil
            let (name, last) = try #require(nodes.first)
            try Self.write(60..<65, key, at: last)
            #expect(try Self.read(try #require(watches[name]), to: 64).values == Array(60..<65))
            last.child.send(SIGTERM)
            #expect(try last.child.waitForExit() == 0)
        }
    }
}
