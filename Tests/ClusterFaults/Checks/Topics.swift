import AffinityCore
import AffinityTestSupport

/// What somebody else's program makes of the topics: the newest record of a key is its entry.
enum Topics {
    /// Compares the topics with a listing of all entries; words for what differs.
    static func differences(_ cluster: Cluster, _ listing: [String: String]) throws -> [String] {
        let client = try TopicClient(cluster.kafka.brokers)
        var entries: [String: String] = [:]
        for partition in 0..<cluster.options.partitions {
            for logged in try client.read("demo.kv.kv", partition) where !logged.record.key.isEmpty {
                let key = String(decoding: logged.record.key, as: UTF8.self)
                // An entry's version is the place behind its record.
                let version = logged.offset.rawValue + 1
                entries[key] = logged.record.value.map { "\(String(decoding: $0, as: UTF8.self)) (version \(version))" }
            }
        }
        return Set(entries.keys).union(listing.keys).sorted().filter { entries[$0] != listing[$0] }.map {
            "\($0): \(listing[$0] ?? "nothing"), but \(entries[$0] ?? "nothing") in its topic"
        }
    }
}
