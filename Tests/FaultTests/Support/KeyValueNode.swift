import Foundation
import Glibc

/// A `KeyValue` process on a data folder.
final class KeyValueNode: Sendable {
    enum MemStore: String, CaseIterable, Sendable { case memory, rocksdb }

    let child: Child
    let port: Int

    /// Starts it and returns once it listens.
    init(
        _ data: String, _ memstore: MemStore = .rocksdb, partitions: Int = 3, program: String = Programs.keyValue,
        _ arguments: [String] = []
    ) throws {
        child = try Self.start(data, memstore, partitions: partitions, program: program, arguments)
        do {
            let line = try child.line { $0.message == "listening" }
            port = line.fields["address"]?.split(separator: ":").last.flatMap { Int($0) } ?? 0
        } catch {
            child.send(SIGKILL)
            throw error
        }
    }

    deinit { child.send(SIGKILL) }

    /// Starts it, whatever becomes of it.
    static func start(
        _ data: String, _ memstore: MemStore = .rocksdb, partitions: Int = 3, program: String = Programs.keyValue,
        _ arguments: [String] = []
    ) throws -> Child {
        try Child(
            program,
            [
                "--node.data", data, "--gateway.listeners", "http://127.0.0.1:0", "--keyspaces.kv.memstore",
                memstore.rawValue, "--keyspaces.kv.partitions", "\(partitions)",
            ] + arguments)
    }

    /// Starts it and returns once every partition serves.
    static func serving(
        _ data: String, _ memstore: MemStore = .rocksdb, partitions: Int = 3, _ arguments: [String] = []
    ) throws -> KeyValueNode {
        let node = try KeyValueNode(data, memstore, partitions: partitions, arguments)
        try node.waitUntilReady()
        return node
    }

    func connect(seconds: Int = 60) throws -> Connection { try Connection(port: port, seconds: seconds) }

    func waitUntilReady() throws { try waitUntil { try self.connect().ask("GET", "/readyz").status == 200 } }

    /// Asks until it is so; fails when the process ends, or after a time beyond all reason.
    func waitUntil(within seconds: Double = 60, _ isSo: () throws -> Bool) throws {
        let limit = Date(timeIntervalSinceNow: seconds)
        while try !isSo() {
            if let exit = child.exit { throw Failure("ended with \(exit):\n\(child.text)") }
            guard Date() < limit else { throw Failure("not so within \(seconds) s:\n\(child.text)") }
            usleep(20_000)
        }
    }

    /// Ends it as an operator does, and gives the exit code.
    func stop(within seconds: Double = 60) throws -> Int32 {
        child.send(SIGTERM)
        return try child.waitForExit(within: seconds)
    }

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
            let page = try JSONDecoder().decode(Page.self, from: Data(answer.body.utf8))
            // The values are compared as they came: each stands between its head and the head of the next item.
            var rest = answer.body[...]
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
