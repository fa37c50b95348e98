import AffinityTestSupport
import Foundation
import Testing

/// `affinity log dump`.
@Suite struct LogCommandTests {
    struct Dumped: Decodable {
        var keyspace: String, partition: Int, store: String, offset: Int64, appended: Int64, kind: String
        var epoch: UInt64?, command: UInt64?, records: UInt32?, acknowledged: UInt64?
        var key: String?, keyHex: String?, value: String?, valueHex: String?
    }

    private func dump(_ words: [String]) throws -> [Dumped] {
        let (text, exit) = try affinity(["log", "dump", "--json"] + words)
        #expect(exit == 0, "\(text)")
        return try text.split(separator: "\n").map { try parsed($0) }
    }

    @Test func theEmbeddedLogIsReadWhileANodeWritesToIt() throws {
        let node = try ServiceProcess.keyValue(["--keyspaces.kv.partitions", "1"])
        let data = try #require(node.folder).path + "/data"
        let client = try node.connect()
        for number in 1...50 { #expect(try client.ask("PUT", "/kv/k\(number)", json: "\(number)").status == 201) }
        #expect(try client.ask("DELETE", "/kv/k7").status == 204)
        let records = try dump(["kv/0/kv", "--node.data", data])
        #expect(records.prefix(2).map(\.kind) == ["claim", "settled"])
        let written = records.filter { $0.kind == "command" }
        #expect(written.map(\.key) == (1...50).map { "k\($0)" } + ["k7"])
        #expect(written.map(\.value) == (1...50).map { "\($0)" } + [nil])
        #expect(written.map(\.command) == (1...51).map { UInt64($0) })
        #expect(zip(records, records.dropFirst()).allSatisfy { $0.offset < $1.offset && $0.appended <= $1.appended })

        // The node is none the worse for it, and what comes later is read by the next look.
        #expect(try client.ask("PUT", "/kv/after", json: "1").status == 201)
        #expect(try dump(["kv/0/kv", "--node.data", data]).last?.key == "after")
        #expect(try node.stop() == 0)
        #expect(try dump(["kv/0/kv", "--node.data", data]).filter { $0.kind == "command" }.count == 52)
    }

    @Test func peopleGetALineARecord() throws {
        let node = try ServiceProcess.keyValue(["--keyspaces.kv.partitions", "2"])
        let words = ["log", "dump", "--node.data=" + (try #require(node.folder).path) + "/data"]
        #expect(try node.connect().ask("PUT", "/kv/a%20%07", json: #"{"x":"é"}"#).status == 201)
        #expect(try node.connect().ask("PUT", "/kv/b", json: "1").status == 201)
        #expect(try node.connect().ask("DELETE", "/kv/b").status == 204)
        #expect(try node.stop() == 0)
        let (text, exit) = try affinity(words)
        #expect(exit == 0)
        for part in [
            "kv/0 kv: 0 to ", "kv/1 _requests: ", "claim by n1", "settled by n1", "0x612007 = {\"x\":\"é\"}", "  b = 1",
            "  b removed", "  n=1/1  ",
        ] {
            #expect(text.contains(part), "\(part) is not in:\n\(text)")
        }
        let list = try affinity(words + ["--list"])
        #expect(
            list.text.split(separator: "\n").map { $0.prefix { $0 != ":" } } == [
                "kv/0 _requests", "kv/0 kv", "kv/1 _requests", "kv/1 kv",
            ])
    }

    @Test func offsetAndLimitBoundWhatIsRead() throws {
        let node = try ServiceProcess.keyValue(["--keyspaces.kv.partitions", "1"])
        let data = try #require(node.folder).path + "/data"
        for number in 1...20 { #expect(try node.connect().ask("PUT", "/kv/k\(number)", json: "1").status == 201) }
        #expect(try node.stop() == 0)
        let words = ["kv/0/kv", "--node.data", data]
        #expect(try dump(words + ["--from", "10", "--limit", "3"]).map(\.offset) == [10, 11, 12])
        #expect(try dump(words + ["--limit", "0"]).isEmpty)
        #expect(try dump(words + ["--from", "1000000"]).isEmpty)
        #expect(
            try affinity(["log", "dump", "kv/9"] + words.dropFirst()) == ("affinity: there is no such changelog", 1))
    }

    @Test func aFolderWithoutALogIsSaidToBeNone() throws {
        let folder = try TemporaryFolder()
        let (text, exit) = try affinity("log", "dump", "--node.data", folder.path)
        #expect(exit == 3 && text.contains(folder.path), "\(text)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty, "nothing was made")
    }

    @Test func mistakesOfTheConfigurationAreSaid() throws {
        let (text, exit) = try affinity("log", "dump", "--storage.kind", "kafka")
        #expect(exit == 2 && text.contains("storage.brokers"), "\(text)")
    }

    @Test(.enabled(if: KafkaCluster.isAvailable, "needs Kafka")) func topicsAreReadAsTheEmbeddedLogIs() throws {
        let kafka = try KafkaCluster.shared.get()
        let system = "dumped-\(UUID().uuidString.prefix(8))"
        let log = [
            "--system", system, "--storage.kind", "kafka", "--storage.brokers", kafka.brokers, "--storage.replication",
            "1",
        ]
        let node = try ServiceProcess.keyValue(log + ["--keyspaces.kv.partitions", "2"])
        let client = try node.connect()
        for number in 1...20 { #expect(try client.ask("PUT", "/kv/k\(number)", json: "\(number)").status == 201) }
        let records = try dump(["kv"] + log)
        let written = records.filter { $0.store == "kv" && $0.kind == "command" }
        #expect(Set(written.compactMap(\.key)) == Set((1...20).map { "k\($0)" }))
        #expect(Set(written.map(\.partition)) == [0, 1])
        #expect(records.filter { $0.kind == "claim" }.count == 4, "one a store and partition")
        #expect(try node.stop() == 0)
        let list = try affinity(["log", "dump", "--list"] + log)
        #expect(list.exit == 0 && list.text.split(separator: "\n").count == 4, "\(list.text)")
    }

    @Test(.enabled(if: KafkaCluster.hasClients, "needs librdkafka")) func brokersThatAreNotThereAreUnavailable() throws
    {
        let (text, exit) = try affinity(
            "log", "dump", "--storage.kind", "kafka", "--storage.brokers", "127.0.0.1:1")
        #expect(exit == 3, "\(text)")
    }
}
