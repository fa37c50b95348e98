import Foundation
import Testing

/// The scenarios of the folder `Scenarios`, against what stands in their files. See Docs/Testing.md.
@Suite struct ScenarioTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Scenarios")

    private static var names: [String] {
        get throws {
            try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".txt") }.sorted()
        }
    }

    private var isRegenerating: Bool { ProcessInfo.processInfo.environment["REGENERATE_SCENARIOS"] == "1" }

    @Test(arguments: try names) func comesOutAsItIsWritten(name: String) throws {
        let file = Self.folder.appending(path: name)
        let expected = Scenario(text: try String(contentsOf: file, encoding: .utf8))
        let found = try expected.run()
        if isRegenerating { return try Data(found.description.utf8).write(to: file) }
        if let difference = found.difference(from: expected) {
            Issue.record("\(name): \(difference)\nREGENERATE_SCENARIOS=1 writes what there is now.")
        }
    }

    @Test func comesOutTheSameEachTime() throws {
        let file = Self.folder.appending(path: try #require(try Self.names.first))
        let scenario = Scenario(text: try String(contentsOf: file, encoding: .utf8))
        #expect(try scenario.run() == scenario.run())
    }

    @Test func isReadAsItIsWritten() {
        let text = "# a comment\n\nput a 1 @n1\n    done, version 1\n\n    more\nlog\n"
        #expect(Scenario(text: text).description == text)
    }

    @Test(arguments: ["fly n1", "put a 1", "start", "cluster 3\nput a 1 @n7", "cluster 3\nadvance soon"])
    func whatNobodyUnderstandsIsAMistake(text: String) {
        #expect(throws: Mistake.self) { try Scenario(text: text).run() }
    }
}
