import AffinityConfiguration
import FoundationEssentials
import Testing

@Suite struct PrecedenceTests {
    @Test func namesOfAGroupAreThoseThatSomebodyGave() throws {
        let configuration = Configuration.load(
            yaml: "keyspaces: { kv: { partitions: 2 }, empty: {}, b.partitions: 1 }\nother: { x: 1 }",
            arguments: ["--keyspaces.a.partitions", "3", "--keyspaces.kv.partitions=4"],
            environment: ["AFFINITY_KEYSPACES_C_PARTITIONS": "5"])
        #expect(configuration.reader.group("keyspaces").givenNames() == ["a", "b", "empty", "kv"])
        #expect(configuration.reader.givenNames() == ["keyspaces", "other"])
        #expect(configuration.reader.group("nothing").givenNames().isEmpty)
        #expect(Configuration(["keyspaces.kv.partitions": "1"]).reader.group("keyspaces").givenNames() == ["kv"])
    }

    @Test func nothingGivenReadsDefaults() {
        let (values, mistakes) = example()
        #expect(mistakes.isEmpty)
        #expect(values.listeners == ["http://127.0.0.1:8080"])
        #expect(values.body == .mebibytes(1))
        #expect(values.deadline == .seconds(10))
        #expect(values.held == 256)
        #expect(values.kind == .local)
        #expect(values.name == "n1")
        #expect(values.brokers == nil)
        #expect(values.password == nil)
    }

    @Test func layersCountInOrder() {
        let yaml = "node: { id: file }"
        #expect(example(yaml).values.name == "file")
        #expect(example(yaml, environment: ["AFFINITY_NODE_ID": "env"]).values.name == "env")
        let all = example(yaml, arguments: ["--node.id", "line"], environment: ["AFFINITY_NODE_ID": "env"])
        #expect(all.values.name == "line")
        #expect(all.mistakes.isEmpty)
        #expect(example(arguments: ["--node.id=x=y"]).mistakes.count == 1)
        #expect(example(environment: ["HOME": "/root", "AFFINITY": "x"]).mistakes.isEmpty)
        #expect(example(environment: ["AFFINITY_ADMIN": "http://127.0.0.1:8079"]).mistakes.isEmpty)
    }

    @Test func readsEveryTypeFromTheFile() {
        let (values, mistakes) = example(
            """
            # A comment.
            node: { id: n7 }
            gateway:
              listeners: ["http://a:1", 'https://b:2']
              limits: { body: 64KiB, held: 12 }
              deadline: 1500ms
              compress: true
            storage.kind: kafka
            storage.brokers: "127.0.0.1:9092"
            """)
        #expect(mistakes == [])
        #expect(values.name == "n7")
        #expect(values.listeners == ["http://a:1", "https://b:2"])
        #expect(values.body == 65_536)
        #expect(values.held == 12)
        #expect(values.deadline == .milliseconds(1_500))
        #expect(values.compress)
        #expect(values.kind == .kafka)
        #expect(values.brokers == "127.0.0.1:9092")
    }

    @Test func readsTheReferenceConfiguration() throws {
        let configuration = Configuration.load(
            yaml: """
                system: demo
                node: { id: n1, host: 127.0.0.1, port: 7001, data: data/n1 }      # where peers reach this node
                gateway: { listeners: ["http://127.0.0.1:8080"] }
                coordinator: { kind: zookeeper, connect: "127.0.0.1:2181", session: 4s }
                keyspaces: { kv: { partitions: 4, replicas: 2, memstore: rocksdb } }
                """, environment: ["AFFINITY_KEYSPACES_KV_REPLICAS": "3"])
        let reader = configuration.reader
        #expect(reader.string("system", default: "affinity", .name, doc: "") == "demo")
        let node = reader.group("node")
        #expect(node.string("id", default: "", doc: "") == "n1")
        #expect(node.string("host", default: "", doc: "") == "127.0.0.1")
        #expect(node.integer("port", default: 0, in: 0...65_535, doc: "") == 7_001)
        #expect(node.string("data", default: "data", doc: "") == "data/n1")
        #expect(reader.list("gateway.listeners", default: [], doc: "") == ["http://127.0.0.1:8080"])
        #expect(
            reader.choice("coordinator.kind", ["embedded", "zookeeper"], default: "embedded", doc: "") == "zookeeper")
        #expect(reader.list("coordinator.connect", default: [], doc: "") == ["127.0.0.1:2181"])
        let session = reader.duration("coordinator.session", default: .zero, in: .zero ... .seconds(60), doc: "")
        #expect(session == .seconds(4))
        let keyspace = reader.group("keyspaces.kv")
        #expect(keyspace.integer("partitions", default: 1, in: 1...1_024, doc: "") == 4)
        #expect(keyspace.integer("replicas", default: 1, in: 1...8, doc: "") == 3)
        #expect(keyspace.choice("memstore", ["memory", "rocksdb"], default: "memory", doc: "") == "rocksdb")
        try configuration.validate()
    }

    @Test func listsHaveCommasOutsideOfFiles() {
        let line = example(arguments: ["--gateway.listeners", "http://a, http://b"])
        #expect(line.values.listeners == ["http://a", "http://b"])
        #expect(example(environment: ["AFFINITY_GATEWAY_LISTENERS": "a,b,c"]).values.listeners == ["a", "b", "c"])
        #expect(example("gateway.listeners: a,b").values.listeners == ["a", "b"])
        #expect(example(environment: ["AFFINITY_GATEWAY_LISTENERS": "a,,c"]).mistakes.count == 1)
        #expect(example("gateway.listeners:\n- a\n- b").values.listeners == ["a", "b"])
    }

    @Test func findsTheFile() throws {
        let path = temporary("id.yaml", "node: { id: fromfile }")
        let other = temporary("other.yaml", "node: { id: other }")
        let byLine = Configuration.load(arguments: ["x", "--config", path], environment: ["AFFINITY_CONFIG": other])
        #expect(GatewayExample(byLine.reader).name == "fromfile")
        try byLine.validate()
        let byVariable = Configuration.load(arguments: ["x"], environment: ["AFFINITY_CONFIG": other])
        #expect(GatewayExample(byVariable.reader).name == "other")
        try byVariable.validate()
        for missing in ["/nowhere/at/all.yaml", "/tmp", ""] {
            let configuration = Configuration.load(arguments: ["x", "--config=\(missing)"], environment: [:])
            _ = GatewayExample(configuration.reader)
            #expect(throws: ConfigurationError.self) { try configuration.validate() }
        }
    }

    @Test func helpIsAWishAndNoMistake() {
        let configuration = Configuration.load(arguments: ["x", "--help"], environment: [:])
        #expect(configuration.wantsHelp)
        #expect(throws: Never.self) { try configuration.validate() }
        #expect(!Configuration.load(arguments: ["x"], environment: [:]).wantsHelp)
        #expect(!Configuration.load(arguments: [], environment: [:]).wantsHelp)
    }

    @Test func valuesInCodeAreBelowTheFile() throws {
        let configuration = Configuration(["node.id": "coded", "gateway.deadline": "3s"])
        let values = GatewayExample(configuration.reader)
        #expect(values.name == "coded")
        #expect(values.deadline == .seconds(3))
        try configuration.validate()
    }
}

/// A new file in a new folder.
func temporary(_ name: String, _ text: String) -> String {
    let folder = FileManager.default.temporaryDirectory.appending(path: "affinity-\(UUID().uuidString)")
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let file = folder.appending(path: name)
    try? Data(text.utf8).write(to: file)
    return file.path
}
