import AffinityConfiguration
import Testing

@Suite struct MistakeTests {
    @Test(arguments: [
        (
            "node: { id: 'a b' }",
            "c.yaml:1:13: node.id: \"a b\" will not do; expected a name of 1 to 100 letters, digits, hyphens and underscores"
        ),
        (
            "gateway:\n  limits:\n    held: 0",
            "c.yaml:3:11: gateway.limits.held: 0 is too little; expected a whole number from 1 to 1024"
        ),
        (
            "gateway.limits.held: 1025",
            "c.yaml:1:22: gateway.limits.held: 1025 is too much; expected a whole number from 1 to 1024"
        ),
        (
            "gateway.limits.held: 1e3",
            "c.yaml:1:22: gateway.limits.held: \"1e3\" is no whole number; expected a whole number from 1 to 1024"
        ),
        (
            "gateway.limits.held: +3",
            "c.yaml:1:22: gateway.limits.held: \"+3\" is no whole number; expected a whole number from 1 to 1024"
        ),
        (
            "gateway.limits.held: 99999999999999999999",
            "c.yaml:1:22: gateway.limits.held: \"99999999999999999999\" is no whole number; expected a whole number from 1 to 1024"
        ),
        (
            "gateway.limits.body: 12MB",
            "c.yaml:1:22: gateway.limits.body: \"12MB\" is no size; expected bytes, as 64KiB or 1048576, from 1B to 1GiB"
        ),
        (
            "gateway.limits.body: 2GiB",
            "c.yaml:1:22: gateway.limits.body: 2GiB is too much; expected bytes, as 64KiB or 1048576, from 1B to 1GiB"
        ),
        (
            "gateway.deadline: 10",
            "c.yaml:1:19: gateway.deadline: \"10\" is no duration; expected a duration, as 500ms, 2s, 10m, 1h or 1d, from 1ms to 1h"
        ),
        (
            "gateway.deadline: 2h",
            "c.yaml:1:19: gateway.deadline: 2h is too much; expected a duration, as 500ms, 2s, 10m, 1h or 1d, from 1ms to 1h"
        ),
        (
            "gateway.compress: yes",
            "c.yaml:1:19: gateway.compress: \"yes\" is neither true nor false; expected true or false"
        ),
        (
            "storage: { kind: kafak }",
            "c.yaml:1:18: storage.kind: \"kafak\" is none of the choices; expected one of local, kafka; did you mean kafka?"
        ),
        ("gateway.listeners: []", "c.yaml:1:20: gateway.listeners: has 0 items; expected 1…4 items"),
        (
            "gateway.listeners: [a, {b: c}]",
            "c.yaml:1:24: gateway.listeners: holds what is no text; expected a list, each item a text that is not empty"
        ),
        (
            "gateway.listeners: {a: b}",
            "c.yaml:1:20: gateway.listeners: is a map; expected a list, each item a text that is not empty"
        ),
        (
            "node.id: [a]",
            "c.yaml:1:10: node.id: is a list; expected a name of 1 to 100 letters, digits, hyphens and underscores"
        ),
        (
            "node.id:",
            "c.yaml:1:9: node.id: has no value; expected a name of 1 to 100 letters, digits, hyphens and underscores"
        ),
        (
            "node.id: { a: 1 }",
            "c.yaml:1:10: node.id: is a map; expected a name of 1 to 100 letters, digits, hyphens and underscores"
        ),
        (
            "gateway: 5",
            "c.yaml:1:10: gateway: is a group of keys and has no value itself; expected a map with keys such as listeners"
        ),
        (
            "gateway:\n  deadlin: 5s",
            "c.yaml:2:3: gateway.deadlin: there is no such key; did you mean gateway.deadline?"
        ),
        ("gatway: { deadline: 5s, body: 3 }", "c.yaml:1:1: gatway: there is no such key; did you mean gateway?"),
        ("gateway.body: 5", "c.yaml:1:1: gateway.body: there is no such key; did you mean gateway.limits.body?"),
        ("zzzzzzz: 5", "c.yaml:1:1: zzzzzzz: there is no such key"),
        ("node: { id: a }\nnode: { id: b }", "c.yaml:2:1: node: stands twice, at c.yaml:1:1 too"),
        ("node:\n  id: a\n  id: b", "c.yaml:3:3: node.id: stands twice, at c.yaml:2:3 too"),
        ("storage.kind: kafka", "program: storage.brokers: is needed when storage.kind is kafka"),
        ("- a", "c.yaml:1:1: is no map; expected keys with values, as in `node: { id: n1 }`"),
        ("node: {", "c.yaml:2:1: did not find expected node content while parsing a flow node at line 2"),
        (
            "node:\n\tid: a",
            "c.yaml:2:1: found character that cannot start any token while scanning for the next token at line 2"
        ),
        ("a: &x 1\nb: *x", "c.yaml:1:4: anchors (&name) are not understood here"),
        ("a: *x", "c.yaml:1:4: aliases (*name) are not understood here"),
        ("a: !!str 1", "c.yaml:1:4: tags (!name) are not understood here"),
        ("a: 1\n---\nb: 2", "c.yaml:2:1: a second document begins here; one file holds one"),
        ("? [a]\n: b", "c.yaml:1:3: a key has to be a text"),
        ("a: \u{7}", "c.yaml:1:4: control characters are not allowed"),
    ])
    func oneMistakeOfTheFile(yaml: String, expected: String) {
        #expect(example(yaml).mistakes == [expected])
    }

    @Test(arguments: [
        (["--node.idd", "x"], "--node.idd: there is no such key; did you mean --node.id?"),
        (
            ["--gateway.limits.held=many"],
            "--gateway.limits.held: gateway.limits.held: \"many\" is no whole number; expected a whole number from 1 to 1024"
        ),
        (["--node.id"], "--node.id: has no value; expected --node.id=value"),
        (["--node.id", "--gateway.compress=true"], "--node.id: has no value; expected --node.id=value"),
        (["--node.id=a", "--node.id=b"], "--node.id: is given twice"),
        (["stray"], "argument 1: is no option; expected --key value or --key=value"),
        (["--"], "argument 1: is no option; expected --key value or --key=value"),
        (["--=x"], "--: there is no such key"),
    ])
    func oneMistakeOfTheCommandLine(arguments: [String], expected: String) {
        #expect(example(arguments: arguments).mistakes == [expected])
    }

    @Test(arguments: [
        ("AFFINITY_NODE_IDD", "x", "AFFINITY_NODE_IDD: no key has this variable; did you mean AFFINITY_NODE_ID?"),
        (
            "AFFINITY_NODE_ID", "",
            "AFFINITY_NODE_ID: node.id: \"\" will not do; expected a name of 1 to 100 letters, digits, hyphens and underscores"
        ),
        (
            "AFFINITY_GATEWAY_COMPRESS", "1",
            "AFFINITY_GATEWAY_COMPRESS: gateway.compress: \"1\" is neither true nor false; expected true or false"
        ),
        ("AFFINITY_", "1", "AFFINITY_: no key has this variable"),
    ])
    func oneMistakeOfTheEnvironment(name: String, value: String, expected: String) {
        #expect(example(environment: [name: value]).mistakes == [expected])
    }

    @Test func variablesOfKubernetesAreNamed() {
        let mistakes = example(environment: ["AFFINITY_PORT_8080_TCP_ADDR": "10.0.0.1"]).mistakes
        #expect(mistakes.first?.contains("enableServiceLinks") == true)
    }

    @Test func allMistakesComeTogetherAndInOrder() {
        let mistakes = example(
            "gateway:\n  compress: no\n  limits: { held: 0 }\nfoo: 1", arguments: ["--bar=1", "--node.id="],
            environment: ["AFFINITY_FOO": "1", "AFFINITY_GATEWAY_LIMITS_HELD": "9999"]
        ).mistakes
        #expect(
            mistakes.map { String($0.prefix { $0 != ";" }) } == [
                "c.yaml:2:13: gateway.compress: \"no\" is neither true nor false",
                "c.yaml:3:19: gateway.limits.held: 0 is too little",
                "c.yaml:4:1: foo: there is no such key",
                "AFFINITY_FOO: no key has this variable",
                "AFFINITY_GATEWAY_LIMITS_HELD: gateway.limits.held: 9999 is too much",
                "--bar: there is no such key",
                "--node.id: node.id: \"\" will not do",
            ])
    }

    @Test func variablesOfSeveralKeysAreRefused() {
        let configuration = Configuration.load(yaml: "", environment: ["AFFINITY_A_B": "1"])
        _ = configuration.reader.string("a.b", doc: "")
        _ = configuration.reader.string("a-b", doc: "")
        let error = #expect(throws: ConfigurationError.self) { try configuration.validate() }
        #expect(
            error?.description
                == "AFFINITY_A_B: is the variable of several keys: a.b, a-b; expected them in the file or on the command line"
        )
    }

    @Test func whatComesFromOutsideCannotMoveTheTerminal() {
        let mistakes = example(
            "\"a\\n\\e[2J\": 1\ngateway.compress: \"\\e[31m\\u202e\(String(repeating: "x", count: 999))\""
        ).mistakes
        #expect(mistakes.count == 2)
        #expect(mistakes.allSatisfy { !$0.contains("\u{1B}") && !$0.contains("\n") && $0.count < 300 })
        #expect(mistakes.first?.hasPrefix("c.yaml:1:1: a\\u{a}\\u{1b}[2J: ") == true)
    }

    @Test func twoDeclarationsHaveToAgree() throws {
        let configuration = Configuration()
        for _ in 0..<2 { _ = configuration.reader.integer("a", default: 1, in: 1...2, doc: "") }
        try configuration.validate()
        _ = configuration.reader.integer("a", default: 1, in: 1...3, doc: "")
        #expect(throws: ConfigurationError.self) { try configuration.validate() }
    }

    @Test func listsOfMistakesAreBounded() {
        let yaml = (0..<20_000).map { "key\($0): 1" }.joined(separator: "\n")
        let configuration = Configuration.load(yaml: yaml)
        _ = GatewayExample(configuration.reader)
        let error = #expect(throws: ConfigurationError.self) { try configuration.validate() }
        #expect(error?.mistakes.count == 100)
        #expect(error?.omitted == 19_900)
    }
}
