import AffinityConfiguration
import Testing

@Suite struct ReferenceTests {
    @Test func textSaysWhatTheDeclarationsSay() {
        // What was given does not change what can be given.
        let configuration = Configuration.load(yaml: "node.id: other\nstorage.password: hunter2")
        _ = GatewayExample(configuration.reader)
        #expect(
            configuration.reference.text == """
                Each key is given as --key VALUE, as variable AFFINITY_KEY (dots and hyphens as underscores), or in
                the YAML file that --config FILE or AFFINITY_CONFIG names; the first of these counts.

                gateway
                  gateway.listeners      list, 1…4 items; default ["http://127.0.0.1:8080"]
                                         Where requests come in.
                  gateway.limits.body    size, 1B…1GiB; default 1MiB
                                         The longest body.
                  gateway.deadline       duration, 1ms…1h; default 10s
                                         How long a request may take, unless it says so itself.
                  gateway.limits.held    integer, 1…1024 requests; default 256
                                         Requests in flight.
                  gateway.compress       boolean; default false
                                         Whether answers are compressed.

                storage
                  storage.kind           choice, local, kafka; default local
                                         What keeps the changelogs.
                  storage.brokers        text; no default
                                         Where Kafka is.
                  storage.password.file  text; no default
                                         A file that holds storage.password.
                  storage.password       secret; no default
                                         What Kafka wants to hear.

                node
                  node.id                text; default n1
                                         The node's name.

                """)
    }

    @Test func markdownIsATableAGroup() {
        let configuration = Configuration()
        _ = configuration.reader.group("keyspaces.<name>").integer(
            "partitions", default: 4, in: 1...1_024, doc: "How many; a | b.")
        #expect(
            configuration.reference.markdown == """
                ## keyspaces

                | key | type | default | limits | meaning |
                |---|---|---|---|---|
                | `keyspaces.<name>.partitions` | integer | `4` | 1…1024 | How many; a \\| b. |

                """)
    }

    @Test func linesFitAHundredColumns() {
        let configuration = Configuration()
        let words = String(repeating: "some words that go on ", count: 30)
        _ = configuration.reader.string("a.very.long.name.of.a.key.that.needs.a.line", doc: words)
        _ = configuration.reader.string("short", doc: words)
        #expect(configuration.reference.text.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    @Test func keysKnowTheirValueAndWhereItComesFrom() throws {
        let configuration = Configuration.load(
            yaml: "storage.password: hunter2", name: "c.yaml", environment: ["AFFINITY_NODE_ID": "n2"])
        _ = GatewayExample(configuration.reader)
        let keys = configuration.reference.keys
        let id = try #require(keys.first { $0.name == "node.id" })
        #expect(id.value == "n2")
        #expect(id.source == .environment("AFFINITY_NODE_ID"))
        #expect(id.environmentVariable == "AFFINITY_NODE_ID")
        let password = try #require(keys.first { $0.name == "storage.password" })
        #expect(password.value == "***")
        #expect(password.source == .file("c.yaml", line: 1, column: 19))
    }
}
