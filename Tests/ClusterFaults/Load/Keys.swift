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
        entries = (0..<3 * partitions).map { "r\(round)-k\($0)" }
        counters = (0..<partitions).map { "r\(round)-c\($0)" }
    }

    /// The key of one client's sign of life from a partition.
    func probe(_ node: String, _ partition: Int) -> String {
        (0...).lazy.map { "r\(round)-p-\(node)-\($0)" }.first { Self.partition($0, of: partitions) == partition } ?? ""
    }

    static func partition(_ key: String, of count: Int) -> Int {
        Partitioner.partition(bytes: Array(key.utf8), of: count)
    }
}
