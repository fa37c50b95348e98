import AffinityConfiguration
import Testing

/// The properties of a library, `storage.kafka.*`: names and rules that are not the framework's.
@Suite struct PropertyTests {
    /// What a configuration makes of the properties of a library that has a few.
    private struct Read {
        let values: [String: Secret]
        let mistakes: [String]
        let reference: ConfigurationReference

        init(_ yaml: String = "", arguments: [String] = [], environment: [String: String] = [:]) {
            let configuration = Configuration.load(
                yaml: yaml, name: "c.yaml", arguments: arguments, environment: environment)
            values = configuration.reader.group("storage").properties(
                "kafka",
                names: ["acks", "client.id", "debug", "sasl.password", "sasl.username", "socket.timeout.ms"],
                isSecret: { $0 == "sasl.password" }, doc: "Properties of librdkafka."
            ) { name, value in
                switch name {
                case "acks": "cannot be changed"
                case "socket.timeout.ms": Int(value) == nil ? "needs a number" : nil
                case "sasl.password": value.count < 3 ? "the value will not do" : nil
                default: nil
                }
            }
            reference = configuration.reference
            do throws(ConfigurationError) {
                try configuration.validate()
                mistakes = []
            } catch {
                mistakes = error.mistakes.map(\.description)
            }
        }

        var texts: [String: String] { values.mapValues { $0.reveal() } }
    }

    @Test func onlyWhatWasGivenIsThere() {
        #expect(Read().texts == [:])
        #expect(Read("storage: { kafka: {} }").texts == [:])
        #expect(Read("storage.kafka.client.id: me").texts == ["client.id": "me"])
    }

    /// Names have dots of their own: in a file they can stand whole, in parts, or as maps.
    @Test(arguments: [
        "storage: { kafka: { sasl.username: me, socket.timeout.ms: 500 } }",
        "storage:\n  kafka:\n    sasl: { username: me }\n    socket.timeout: { ms: 500 }",
        "storage.kafka.sasl.username: me\nstorage.kafka: { socket: { timeout.ms: 500 } }",
    ])
    func dotsAreReadAsTheyStand(yaml: String) {
        let read = Read(yaml)
        #expect(read.mistakes == [])
        #expect(read.texts == ["sasl.username": "me", "socket.timeout.ms": "500"])
    }

    @Test func layersCountInOrder() {
        let yaml = "storage.kafka.sasl: { username: file, password: fromfile }"
        let environment = [
            "AFFINITY_STORAGE_KAFKA_SASL_USERNAME": "env", "AFFINITY_STORAGE_KAFKA_SOCKET_TIMEOUT_MS": "7",
        ]
        let two = Read(yaml, environment: environment)
        #expect(two.texts == ["sasl.username": "env", "sasl.password": "fromfile", "socket.timeout.ms": "7"])
        let three = Read(yaml, arguments: ["--storage.kafka.sasl.username=line"], environment: environment)
        #expect(three.texts["sasl.username"] == "line")
        #expect(two.mistakes + three.mistakes == [])
    }

    @Test func aValueThatIsNotUsedIsNotJudged() {
        let read = Read(
            "storage.kafka.socket.timeout.ms: soon", environment: ["AFFINITY_STORAGE_KAFKA_SOCKET_TIMEOUT_MS": "7"])
        #expect(read.texts == ["socket.timeout.ms": "7"])
        #expect(read.mistakes == [])
    }

    @Test func secretsComeFromFilesToo() {
        let file = temporary("password", "fromfile\n")
        for read in [
            Read("storage.kafka.sasl.password: { file: \(file) }"),
            Read("storage.kafka: { sasl: { password.file: \(file) } }"),
            Read(arguments: ["--storage.kafka.sasl.password.file", file]),
            Read(
                "storage.kafka.sasl.password: direct",
                environment: ["AFFINITY_STORAGE_KAFKA_SASL_PASSWORD_FILE": file]),
        ] {
            #expect(read.mistakes == [])
            #expect(read.texts == ["sasl.password": "fromfile"])
        }
        // What is no secret has no such form.
        #expect(Read("storage.kafka.sasl.username: { file: \(file) }").mistakes.count == 1)
        #expect(Read(arguments: ["--storage.kafka.sasl.username.file=\(file)"]).mistakes.count == 1)
    }

    /// All values are kept as secrets, because only the library knows which of them say too much.
    @Test func valuesNeverPrint() {
        let read = Read("storage.kafka.sasl: { username: hunter1, password: hunter2 }")
        var dumped = ""
        dump(read.values, to: &dumped)
        for text in ["\(read.values)", String(reflecting: read.values), dumped] {
            #expect(!text.contains("hunter") && text.contains("***"))
        }
    }

    @Test(arguments: [
        ("storage.kafka.acks: 1", "c.yaml:1:21: storage.kafka.acks: cannot be changed"),
        (
            "storage: { kafka: { socket.timeout.ms: soon } }",
            "c.yaml:1:40: storage.kafka.socket.timeout.ms: needs a number"
        ),
        (
            "storage.kafka.sasl.usernam: me",
            "c.yaml:1:1: storage.kafka.sasl.usernam: there is no such key; did you mean storage.kafka.sasl.username?"
        ),
        (
            "storage: { kafak: { debug: all } }",
            "c.yaml:1:12: storage.kafak: there is no such key; did you mean storage.kafka?"
        ),
        (
            "storage.kafka: all",
            "c.yaml:1:16: storage.kafka: is a group of keys and has no value itself; expected a map with keys such as acks"
        ),
        (
            "storage.kafka.debug: [a, b]",
            "c.yaml:1:22: storage.kafka.debug: is a list; expected a text"
        ),
    ])
    func oneMistakeOfTheFile(yaml: String, expected: String) {
        #expect(Read(yaml).mistakes == [expected])
    }

    @Test func mistakesOfOtherLayersSayWhere() {
        #expect(
            Read(environment: ["AFFINITY_STORAGE_KAFKA_ACKS": "1"]).mistakes
                == ["AFFINITY_STORAGE_KAFKA_ACKS: storage.kafka.acks: cannot be changed"])
        #expect(
            Read(environment: ["AFFINITY_STORAGE_KAFKA_DEBUGG": "1"]).mistakes
                == [
                    "AFFINITY_STORAGE_KAFKA_DEBUGG: no key has this variable; did you mean AFFINITY_STORAGE_KAFKA_DEBUG?"
                ])
        #expect(
            Read(arguments: ["--storage.kafka.socket.timeout.ms=soon"]).mistakes
                == ["--storage.kafka.socket.timeout.ms: storage.kafka.socket.timeout.ms: needs a number"])
    }

    @Test func mistakesOfSecretsShowNothing() {
        for read in [
            Read("storage.kafka.sasl.password: h2"), Read("storage.kafka.sasl: { password: [h2] }"),
            Read("storage.kafka.sasl.pasword: h2"), Read(arguments: ["--storage.kafka.sasl.password=h2"]),
            Read(environment: ["AFFINITY_STORAGE_KAFKA_SASL_PASSWORD": "h2"]),
            Read("storage.kafka.sasl.password: { file: \(temporary("password", "h2")) }"),
        ] {
            #expect(read.mistakes.count == 1)
            #expect(read.mistakes.allSatisfy { !$0.contains("h2") }, "\(read.mistakes)")
        }
    }

    @Test func theReferenceHasOneLineForAll() {
        let read = Read("storage.kafka: { debug: all, sasl.password: hunter2 }")
        #expect(read.reference.keys.map(\.name) == ["storage.kafka.*"])
        #expect(!read.reference.text.contains("hunter2"))
    }
}
