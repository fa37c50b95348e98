import Foundation

extension Subcommand {
    static let status = Subcommand(
        "status", "nodes, masters and standbys of the system, and the replicas of the node that answers",
        options: [.admin],
        details: """
            HERE, LAG and IN FLIGHT are about the replica of the node that answers: what it does, how many records it has
            not applied yet, how many of its commands are on their way to the log.
            """
    ) { call in
        let address = try call.address("admin", "AFFINITY_ADMIN", default: "http://127.0.0.1:8079")
        let answer = try Exchange(address: address, path: "/status").success()
        try printAnswer(answer, call, from: address) { try JSONDecoder().decode(Status.self, from: $0).text }
    }
}

/// As much of `/status` as a person wants to see at once.
private struct Status: Decodable {
    struct Node: Decodable {
        var id: String
        var address: String
        var state: String
    }

    struct Keyspace: Decodable {
        struct Partition: Decodable {
            var partition: Int
            var master: String?
            var epoch: UInt64
            var standbys: [String]
            var next: [String]?
            var role: String
            var state: String
            var reason: String?
            var lag: Int64
            var inFlight: Int
        }

        var partitions: [Partition]
    }

    struct Cluster: Decodable {
        var isPlanner: Bool
        var drained: [String]
        var isPaused: Bool
    }

    var system: String
    var node: String
    var nodes: [Node]
    var keyspaces: [String: Keyspace]
    var cluster: Cluster?

    var text: String {
        let partitions = keyspaces.sorted { $0.key < $1.key }.flatMap { name, keyspace in
            keyspace.partitions.map { (name, $0) }
        }
        var lines = [
            "system \(system), as \(node) sees it" + (cluster?.isPaused == true ? "; moves are paused" : ""), "",
        ]
        lines += table([["NODE", "ADDRESS", "STATE"]] + nodes.map(row)) + [""]
        let head = ["KEYSPACE", "PARTITION", "MASTER", "EPOCH", "STANDBYS", "MOVES TO", "HERE", "LAG", "IN FLIGHT"]
        lines += table([head] + partitions.map(row))
        let reasons = partitions.compactMap { name, partition in
            partition.reason.map { "\(name)/\(partition.partition): \($0)" }
        }
        if !reasons.isEmpty { lines += [""] + reasons }
        return lines.joined(separator: "\n")
    }

    private func row(_ node: Node) -> [String] {
        [node.id, node.address, node.state + (cluster?.drained.contains(node.id) == true ? ", drained" : "")]
    }

    private func row(_ keyspace: String, _ partition: Keyspace.Partition) -> [String] {
        let isHere = partition.role != "none"
        return [
            keyspace, "\(partition.partition)", partition.master ?? "none", "\(partition.epoch)",
            partition.standbys.isEmpty ? "-" : partition.standbys.joined(separator: " "),
            partition.next?.joined(separator: " ") ?? "-", isHere ? partition.state : "-",
            isHere ? "\(partition.lag)" : "-", isHere ? "\(partition.inFlight)" : "-",
        ]
    }
}
