import AffinityConfiguration
import Testing

@Suite struct ValueTests {
    @Test func durations() {
        let good: [(String, Duration)] = [
            ("500ms", .milliseconds(500)), ("2s", .seconds(2)), ("10m", .seconds(600)), ("1h", .seconds(3_600)),
            ("1d", .seconds(86_400)), ("7us", .microseconds(7)), ("3ns", .nanoseconds(3)), ("0s", .zero),
        ]
        for (text, duration) in good {
            #expect(DurationText.parse(text) == duration)
            #expect(DurationText.text(duration) == text)
        }
        #expect(DurationText.text(.seconds(90)) == "90s")
        #expect(DurationText.text(.seconds(Int64.max)) == "9223372036854775807ns")
        #expect(DurationText.text(.seconds(Int64.min)) == "-9223372036854775808ns")
        for bad in [
            "", "s", "1", "1 s", " 1s", "1S", "-1s", "+1s", "1.5s", "1h30m", "１s", "99999999999999999999s",
            "999999999999d",
        ] {
            #expect(DurationText.parse(bad) == nil, "\(bad)")
        }
    }

    @Test func sizes() {
        let good: [(String, ByteCount)] = [
            ("0B", 0), ("1B", 1), ("64KiB", .kibibytes(64)), ("1MiB", .mebibytes(1)), ("3GiB", .gibibytes(3)),
            ("2TiB", .tebibytes(2)), ("1000B", 1_000),
        ]
        for (text, size) in good {
            #expect(ByteCount(text) == size)
            #expect(size.description == text)
        }
        #expect(ByteCount("1048576") == .mebibytes(1))
        for bad in ["", "KiB", "1KB", "1k", "1 KiB", "-1", "1.5MiB", "9999999999999999999", "8388608TiB"] {
            #expect(ByteCount(bad) == nil, "\(bad)")
        }
    }

    @Test func secretsNeverPrint() throws {
        let hidden = "hunter2-\u{1F600}"
        for layers in [
            example("storage: { password: '\(hidden)' }"), example(arguments: ["--storage.password", hidden]),
            example(environment: ["AFFINITY_STORAGE_PASSWORD": hidden]),
            example("storage.password: { file: \(temporary("password", hidden + "\n")) }"),
            example(arguments: ["--storage.password.file", temporary("password", hidden + "\r\n")]),
        ] {
            #expect(layers.mistakes == [])
            let secret = try #require(layers.values.password)
            #expect(secret.reveal() == hidden)
            var dumped = ""
            dump(layers.values, to: &dumped)
            for text in ["\(secret)", String(reflecting: secret), "\(layers.values)", dumped] {
                #expect(!text.contains("hunter2"))
                #expect(text.contains("***"))
            }
        }
    }

    @Test func mistakesOfSecretsShowNothing() {
        let password = temporary("password", "hunter2")
        for (yaml, arguments) in [
            ("storage: { password: [hunter2] }", []), ("storage: { password: { hunter: hunter2 } }", []),
            ("storage: { pasword: hunter2 }", []), ("", ["--storage.pasword", "hunter2"]), ("", ["hunter2"]),
            ("storage.password: ''", []), ("storage.password: { file: /nowhere }", []),
            ("storage.password: { file: \(temporary("empty", "")) }", []),
            ("storage.password: { file: \(password), other: hunter2 }", []),
            ("", ["--storage.password=hunter2", "--storage.password.file=\(password)"]),
        ] {
            let (_, mistakes) = example(yaml, arguments: arguments)
            #expect(!mistakes.isEmpty, "\(yaml) \(arguments)")
            #expect(mistakes.allSatisfy { !$0.contains("hunter2") })
        }
    }

    @Test func aSecretOfAHigherLayerCounts() {
        let file = temporary("password", "fromfile")
        let above = example("storage.password: direct", arguments: ["--storage.password.file=\(file)"])
        #expect(above.values.password?.reveal() == "fromfile")
        #expect(above.mistakes == [])
        let below = example("storage.password: { file: \(file) }", environment: ["AFFINITY_STORAGE_PASSWORD": "direct"])
        #expect(below.values.password?.reveal() == "direct")
        #expect(below.mistakes == [])
    }
}
