import AffinityCore

/// The keys of one round: few, so that clients meet at them.
struct Keys: Sendable {
    /// All kinds of requests meet at these.
    let entries: [String]
    /// These are only added to and read.
    let counters: [String]
    private let round: Int
    private let partitions: Int

    init(round: Int, partitions: Int) {
        (self.round, self.partitions) = (round, partitions)
        let all = 0..<partitions
        entries = all.flatMap { partition in (0..<3).map { Self.key("r\(round)-k\($0)", partition, partitions) } }
        counters = all.map { Self.key("r\(round)-c", $0, partitions) }
    }

    /// The key of one client's sign of life from a partition.
    func probe(_ node: String, _ partition: Int) -> String { Self.key("r\(round)-p-\(node)", partition, partitions) }

    /// A key of that partition.
    private static func key(_ name: String, _ partition: Int, _ partitions: Int) -> String {
        (0...).lazy.map { "\(name)-\($0)" }.first { Self.partition($0, of: partitions) == partition } ?? ""
    }

    static func partition(_ key: String, of count: Int) -> Int {
        Partitioner.partition(bytes: Array(key.utf8), of: count)
    }
}
