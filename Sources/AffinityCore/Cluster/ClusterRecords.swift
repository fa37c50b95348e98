internal import FoundationEssentials

/// What stands in the nodes of the tree: JSON, so that a person can read it with ZooKeeper's own tools.
package protocol ClusterRecord: Codable, Sendable, Equatable {}

extension ClusterRecord {
    /// The JSON text, with its members in order.
    var bytes: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(self) else { preconditionFailure("a record of plain values has a text") }
        return Array(data)
    }

    /// Reads a record; `nil` if the bytes are not one.
    init?(bytes: [UInt8]) {
        guard let record = try? JSONDecoder().decode(Self.self, from: Data(bytes)) else { return nil }
        self = record
    }
}

/// `nodes/<id>`, with the session that the node lives in: who is there, and how far its replicas are.
struct NodeRecord: ClusterRecord {
    var host: String
    var port: Int
    /// How much of the data the node is to hold, in relation to others.
    var weight = 1
    /// The keyspaces that the node holds partitions of.
    var keyspaces: [String]
    /// The node stops: it takes no mastership.
    var isDraining = false
    /// By keyspace, the partitions whose replicas here are level with the log, and those that cannot go on.
    var level: [String: PartitionSet] = [:]
    var failed: [String: PartitionSet] = [:]

    init(host: String, port: Int, weight: Int, keyspaces: [String]) {
        (self.host, self.port, self.weight, self.keyspaces) = (host, port, weight, keyspaces)
    }

    /// Members that a node of another version does not write have their defaults.
    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: CodingKeys.self)
        host = try members.decode(String.self, forKey: .host)
        port = try members.decode(Int.self, forKey: .port)
        weight = try members.decodeIfPresent(Int.self, forKey: .weight) ?? 1
        keyspaces = try members.decodeIfPresent([String].self, forKey: .keyspaces) ?? []
        isDraining = try members.decodeIfPresent(Bool.self, forKey: .isDraining) ?? false
        level = try members.decodeIfPresent([String: PartitionSet].self, forKey: .level) ?? [:]
        failed = try members.decodeIfPresent([String: PartitionSet].self, forKey: .failed) ?? [:]
    }
}

/// `beats/<id>`, for ever: written again and again, so that others see that the node's lease may run (Q1).
struct BeatRecord: ClusterRecord {
    var session: Int64
    var count: UInt64
    /// How long a lease runs from the sending of a beat, in milliseconds.
    var lease: Int64
}

/// `keyspaces/<name>`, for ever.
struct KeyspaceRecord: ClusterRecord {
    var partitions: Int
}

/// `keyspaces/<name>/assignment`, for ever: written by the planner.
struct AssignmentRecord: ClusterRecord {
    /// For each partition its nodes, in the order in which they are preferred as master.
    var partitions: [[String]]
    /// What some of them are to become, once the replicas that are new there are level.
    var next: [Int: [String]] = [:]
}

/// `keyspaces/<name>/grants/<partition>`, for ever: raised at each grant (PROTOCOL §4).
struct GrantRecord: ClusterRecord {
    /// Somebody who may have a lease (Q2).
    struct Master: Codable, Sendable, Equatable {
        var node: String
        var grant: UInt64
        var session: Int64
        /// How long a lease of it runs, in milliseconds.
        var lease: Int64?
    }

    var grant: UInt64 = 0
    /// Every master since, and including, the last one that may have served; without those that released.
    var masters: [Master] = []
    /// Whom the last master has named.
    var successor: String?
    /// The last master, if it gave the partition up because it could not serve.
    var failed: String?
}

/// `keyspaces/<name>/masters/<partition>`, with the master's session.
struct MasterRecord: ClusterRecord {
    var node: String
    var grant: UInt64
}

/// `settings`, for ever: what operators want.
package struct SettingsRecord: ClusterRecord {
    /// Nodes that are to hold nothing.
    package var drained: [String] = []
    /// Nothing is moved, unless a partition has no replica left.
    package var isPaused = false
    /// By keyspace and partition, the nodes that it is to be on.
    package var pins: [String: [Int: [String]]] = [:]

    package init() {}

    /// What is not said is as it is at first.
    package init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: CodingKeys.self)
        drained = try members.decodeIfPresent([String].self, forKey: .drained) ?? []
        isPaused = try members.decodeIfPresent(Bool.self, forKey: .isPaused) ?? false
        pins = try members.decodeIfPresent([String: [Int: [String]]].self, forKey: .pins) ?? [:]
    }
}

/// Some partitions of a keyspace; in JSON a text like `0-3,7`.
struct PartitionSet: Codable, Sendable, Equatable {
    private(set) var numbers: Set<Int> = []

    init(_ numbers: Set<Int> = []) { self.numbers = numbers }

    func contains(_ number: Int) -> Bool { numbers.contains(number) }

    /// Puts a number in or takes it out.
    mutating func set(_ number: Int, _ isIn: Bool) {
        if isIn { numbers.insert(number) } else { numbers.remove(number) }
    }

    /// More numbers than any keyspace has are no set of partitions.
    private static let greatest = 1 << 20

    init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        for part in text.split(separator: ",") {
            let ends = part.split(separator: "-").compactMap { Int($0) }
            guard let first = ends.first, let last = ends.last, ends.count <= 2, 0...last ~= first, last < Self.greatest
            else {
                throw DecodingError.dataCorrupted(
                    DecodingError.Context(codingPath: decoder.codingPath, debugDescription: "\(part) is no range"))
            }
            numbers.formUnion(first...last)
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    private var description: String {
        var parts: [String] = []
        var sorted = numbers.sorted()[...]
        while let first = sorted.popFirst() {
            var last = first
            while sorted.first == last + 1 { last = sorted.removeFirst() }
            parts.append(first == last ? "\(first)" : "\(first)-\(last)")
        }
        return parts.joined(separator: ",")
    }
}

/// Where the records stand, below the system's own node.
struct ClusterPaths: Sendable {
    let root: String

    init(system: String) { root = "/" + system }

    var nodes: String { root + "/nodes" }
    var beats: String { root + "/beats" }
    var planner: String { root + "/planner" }
    var settings: String { root + "/settings" }
    var keyspaces: String { root + "/keyspaces" }

    func node(_ id: String) -> String { "\(nodes)/\(id)" }
    func beat(_ id: String) -> String { "\(beats)/\(id)" }
    func keyspace(_ name: String) -> String { "\(keyspaces)/\(name)" }
    func assignment(_ keyspace: String) -> String { "\(self.keyspace(keyspace))/assignment" }
    func grants(_ keyspace: String) -> String { "\(self.keyspace(keyspace))/grants" }
    func masters(_ keyspace: String) -> String { "\(self.keyspace(keyspace))/masters" }
    func grant(_ partition: PartitionID) -> String { "\(grants(partition.keyspace))/\(partition.number)" }
    func master(_ partition: PartitionID) -> String { "\(masters(partition.keyspace))/\(partition.number)" }
}
