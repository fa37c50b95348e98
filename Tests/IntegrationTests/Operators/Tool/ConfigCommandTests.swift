import AffinityTestSupport
import Foundation
import Testing

/// `affinity config`.
@Suite struct ConfigCommandTests {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../../..").standardizedFileURL.path

    @Test func theReferenceOfTheRepositoryIsWhatTheDeclarationsSay() throws {
        let (text, exit) = try affinity("config", "--markdown")
        let page = try String(contentsOfFile: "\(Self.repository)/Docs/Configuration.md", encoding: .utf8)
        #expect(exit == 0)
        #expect(
            text == page.trimmingCharacters(in: .newlines),
            "it is not: swift run affinity config --markdown > Docs/Configuration.md")
    }

    @Test func theReferenceNamesTheKeysThatANodeNames() throws {
        let node = try Child(Programs.keyValue, ["--help"])
        #expect(try node.waitForExit() == 0)
        let (text, exit) = try affinity("config")
        #expect(exit == 0)
        func names(_ text: String) -> Set<Substring> {
            Set(
                text.split(separator: "\n").filter { $0.hasPrefix("  ") && !$0.hasPrefix("   ") }.compactMap {
                    $0.split(separator: " ").first
                })
        }
        let expected = names(node.text.replacingOccurrences(of: "keyspaces.kv.", with: "keyspaces.<name>."))
        #expect(names(text) == expected && expected.count > 40)
    }

    @Test func programsGetOneObjectAKey() throws {
        struct Key: Decodable { var key: String, type: String, meaning: String, variable: String, `default`: String? }
        let keys: [Key] = try parsed(try affinity("config", "--json").text)
        let deadline = try #require(keys.first { $0.key == "gateway.deadline" })
        #expect(deadline.default == "10s" && deadline.type == "duration")
        #expect(deadline.variable == "AFFINITY_GATEWAY_DEADLINE")
    }

    @Test func aGoodFileIsGoodWhateverItsKeyspacesAreCalled() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/node.yaml"
        try """
        system: demo
        node: { id: n1, data: data/n1 }
        keyspaces: { accounts: { partitions: 8, memstore: rocksdb }, kv.partitions: 2 }
        """.write(toFile: path, atomically: true, encoding: .utf8)
        #expect(try affinity("config", "--check", path) == ("\(path): good", 0))
        #expect(try affinity("config", "--check", path, "--json") == ("[]", 0))
    }

    @Test func everyMistakeIsSaidWithItsPlaceAndWhatWasMeant() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/node.yaml"
        try """
        sytem: demo
        gateway:
          limits: { bodi: 1MiB }
          deadline: soon
        keyspaces: { kv: { partitons: 8, replicas: 99 } }
        storage: { kind: kafka }
        """.write(toFile: path, atomically: true, encoding: .utf8)
        let (text, exit) = try affinity("config", "--check", path, environment: ["AFFINITY_NODE_ID": "also wrong!"])
        #expect(exit == 1)
        let expected = [
            ":1:1: sytem: there is no such key; did you mean system?",
            ":3:13: gateway.limits.bodi: there is no such key; did you mean gateway.limits.body?",
            ":4:13: gateway.deadline: ",
            ":5:20: keyspaces.kv.partitons: there is no such key; did you mean keyspaces.kv.partitions?",
            ":5:44: keyspaces.kv.replicas: ", "storage.brokers: is needed when storage.kind is kafka",
        ]
        for words in expected { #expect(text.contains(words), "\(words) is not in:\n\(text)") }
        #expect(text.split(separator: "\n").count == expected.count, "\(text)")

        struct Mistake: Decodable { var line: Int?, key: String?, problem: String, suggestion: String? }
        let json = try affinity("config", "--check", path, "--json")
        let list = try #require(json.text.split(separator: "\n").first)
        let mistakes: [Mistake] = try parsed(list)
        #expect(json.exit == 1 && mistakes.count == expected.count)
        #expect(mistakes[0].line == 1 && mistakes[0].suggestion == "system")
    }

    @Test func aFileThatIsNotThereIsAMistake() throws {
        let (text, exit) = try affinity("config", "--check", "/nowhere/node.yaml")
        #expect(exit == 1 && text.contains("/nowhere/node.yaml"), "\(text)")
    }
}
