import AffinityTestSupport
import Foundation

/// What the replicas of a system at rest have.
enum Replicas {
    /// Compares what the masters say with what every node says from its own replicas; words for what differs.
    static func differences(_ nodes: [ClusterNode]) throws -> [String] {
        guard let first = nodes.first else { return ["there is no node"] }
        let masters = try listing(first, [])
        var found: [String] = []
        for node in nodes {
            // Without a bound to its lag, a standby always answers itself.
            let own = try listing(node, [("Affinity-Read", "stale"), ("Affinity-Max-Lag", "3600s")])
            let linearizable = try listing(node, [])
            for (name, other) in [("its replicas", own), ("masters", linearizable)] {
                for key in Set(masters.keys).union(other.keys).sorted() where masters[key] != other[key] {
                    found.append(
                        "\(key): \(masters[key] ?? "nothing"), but \(other[key] ?? "nothing") at \(node.id) from \(name)"
                    )
                }
            }
        }
        return found
    }

    /// Version and value of every entry, by key.
    static func listing(_ node: ClusterNode, _ headers: [(String, String)]) throws -> [String: String] {
        struct Page: Decodable {
            struct Item: Decodable { let key: String, version: UInt64, value: Int }
            let items: [Item]
            let next: String?
        }
        let connection = try node.connect(timeout: 30)
        var found: [String: String] = [:]
        var after = ""
        while true {
            let answer = try connection.ask("GET", "/kv?limit=1000\(after)", headers)
            guard answer.status == 200 else { throw Failure("listing of \(node.id): \(answer)") }
            let page = try JSONDecoder().decode(Page.self, from: Data(answer.body))
            for item in page.items { found[item.key] = "\(item.value) (version \(item.version))" }
            guard let next = page.next else { return found }
            after = "&after=\(next)"
        }
    }
}
