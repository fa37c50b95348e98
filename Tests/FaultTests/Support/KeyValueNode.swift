import AffinityTestSupport
import Foundation

/// Starts `KeyValue` on a data folder.
enum KeyValueNode {
    enum MemStore: String, CaseIterable, Sendable { case memory, rocksdb }

    /// Starts it, whatever becomes of it.
    static func start(
        _ data: String, _ memstore: MemStore = .rocksdb, partitions: Int = 3, _ further: [String] = []
    ) throws -> Child {
        try Child(Programs.keyValue, ServiceProcess.listeners + arguments(data, memstore, partitions) + further)
    }

    /// Starts it and returns once it listens.
    static func listening(
        _ data: String, _ memstore: MemStore = .rocksdb, partitions: Int = 3, _ further: [String] = [],
        environment: [String: String] = [:]
    ) throws -> ServiceProcess {
        try ServiceProcess(Programs.keyValue, arguments(data, memstore, partitions) + further, environment: environment)
    }

    /// Starts it and returns once every partition serves.
    static func serving(
        _ data: String, _ memstore: MemStore = .rocksdb, partitions: Int = 3, _ further: [String] = [],
        environment: [String: String] = [:]
    ) throws -> ServiceProcess {
        let node = try listening(data, memstore, partitions: partitions, further, environment: environment)
        try node.waitUntilReady()
        return node
    }

    private static func arguments(_ data: String, _ memstore: MemStore, _ partitions: Int) -> [String] {
        [
            "--node.data", data, "--keyspaces.kv.memstore", memstore.rawValue, "--keyspaces.kv.partitions",
            "\(partitions)",
        ]
    }
}

extension ServiceProcess {
    /// All entries: key, version and value of each, a line an entry.
    func listing() throws -> [String] {
        struct Page: Decodable {
            struct Item: Decodable { let key: String, version: UInt64 }
            let items: [Item]
            let next: String?
        }
        let connection = try connect()
        var lines: [String] = []
        var after = ""
        while true {
            let answer = try connection.ask("GET", "/kv?limit=1000\(after)")
            guard answer.status == 200 else { throw Failure("listing: \(answer)") }
            let page = try JSONDecoder().decode(Page.self, from: Data(answer.text.utf8))
            // The values are compared as they came: each stands between its head and the head of the next item.
            let text = answer.text
            var rest = text[...]
            for item in page.items {
                guard let head = rest.range(of: "{\"key\":\"\(item.key)\",\"version\":\(item.version),\"value\":")
                else { throw Failure("listing: \(item)") }
                rest = rest[head.upperBound...]
                let end = rest.range(of: "},{\"key\":") ?? rest.range(of: "}]", options: .backwards)
                guard let end else { throw Failure("listing: no end") }
                lines.append("\(item.key) \(item.version) \(rest[..<end.lowerBound])")
            }
            guard let next = page.next else { return lines }
            after = "&after=\(next)"
        }
    }
}

extension HTTPClient.Answer {
    var isGood: Bool { (200...299).contains(status) }
    /// The number that the body is, without the blanks at its end.
    var number: Int? { Int(text.prefix { $0 != " " }) }
}
