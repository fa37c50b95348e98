import Foundation

/// What operators have asked for, as a node answers it.
struct Settings: Decodable {
    var drained: [String]
    var isPaused: Bool
    var pins: [String: [Int: [String]]]

    var text: String {
        var lines = [
            "drained: \(drained.isEmpty ? "none" : drained.joined(separator: " "))",
            "paused: \(isPaused ? "yes" : "no")",
        ]
        let pinned = pins.sorted { $0.key < $1.key }.flatMap { keyspace, partitions in
            partitions.sorted { $0.key < $1.key }.map { "pinned: \(keyspace) \($0) on \($1.joined(separator: " "))" }
        }
        lines += pinned.isEmpty ? ["pinned: none"] : pinned
        return lines.joined(separator: "\n")
    }
}

/// As much of `/status` as a person wants to see at once.
struct Status: Decodable {
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
        let members = nodes.map { node in
            [node.id, node.address, node.state + (cluster?.drained.contains(node.id) == true ? ", drained" : "")]
        }
        let partitions = keyspaces.sorted { $0.key < $1.key }.flatMap { name, keyspace in
            keyspace.partitions.map { partition in
                [
                    name, "\(partition.partition)", partition.master ?? "none", "\(partition.epoch)",
                    partition.standbys.joined(separator: " "), (partition.next ?? []).joined(separator: " "),
                ]
            }
        }
        var lines = [
            "system \(system), as \(node) sees it" + (cluster?.isPaused == true ? "; moves are paused" : ""), "",
        ]
        lines += table([["NODE", "ADDRESS", "STATE"]] + members) + [""]
        lines += table([["KEYSPACE", "PARTITION", "MASTER", "EPOCH", "STANDBYS", "MOVES TO"]] + partitions)
        return lines.joined(separator: "\n")
    }

    /// The rows with their columns below each other.
    private func table(_ rows: [[String]]) -> [String] {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            var line = ""
            for (text, width) in zip(row, widths) {
                line += text + String(repeating: " ", count: width - text.count + 2)
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}

/// The answer as it is, for a program, with its members in order.
func json(_ answer: Data) throws -> String {
    let value = try JSONSerialization.jsonObject(with: answer, options: .fragmentsAllowed)
    let shown = try JSONSerialization.data(
        withJSONObject: value, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes, .fragmentsAllowed])
    return String(decoding: shown, as: UTF8.self)
}

/// What is wrong, in the words of the node.
func problem(_ answer: Data) -> String {
    struct Problem: Decodable { var detail: String }
    let detail = (try? JSONDecoder().decode(Problem.self, from: answer))?.detail
    return detail ?? String(decoding: answer, as: UTF8.self)
}
