import Foundation
import Testing

/// The guides show code that is compiled: here, or as an example.
@Suite struct SampleTests {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardizedFileURL.path
    private static let catalogue = repository + "/Sources/Affinity/Affinity.docc"
    static let guides = ((try? FileManager.default.contentsOfDirectory(atPath: catalogue)) ?? [])
        .filter { $0.hasSuffix(".md") }.sorted()
    /// The README's manifest is built by the tests of packages; the page is opened by those of the bank.
    private static let compiled = [
        "Tests/GuideTests", "Examples/Counter", "Examples/Bank", "Examples/Bank/Page/page.html", "README.md",
    ]

    @Test func thereAreGuides() { #expect(Self.guides.count >= 6, "\(Self.guides)") }

    @Test(arguments: guides) func everySampleStandsInCodeThatIsCompiled(guide: String) throws {
        let text = try String(contentsOfFile: "\(Self.catalogue)/\(guide)", encoding: .utf8)
        let sources = try Self.compiled.flatMap(Self.files).map { try String(contentsOfFile: $0, encoding: .utf8) }
            .map(Self.lines)
        for sample in Self.samples(text) {
            let isThere = sources.contains { Self.contains(sample, in: $0) }
            #expect(isThere, "no source has:\n\(sample.joined(separator: "\n"))")
        }
    }

    private static func files(_ path: String) -> [String] {
        let whole = "\(repository)/\(path)"
        if path.hasSuffix(".md") || path.hasSuffix(".html") { return [whole] }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: whole)) ?? []
        return names.filter { $0.hasSuffix(".swift") }.map { "\(whole)/\($0)" }
    }

    /// The blocks of a guide that are code, line by line.
    private static func samples(_ text: String) -> [[String]] {
        var samples: [[String]] = []
        var sample: [String]?
        for line in lines(text) {
            if line.hasPrefix("```") {
                if let sample { samples.append(sample) }
                sample = ["```swift", "```javascript"].contains(line) ? [] : nil
            } else {
                sample?.append(line)
            }
        }
        return samples
    }

    private static func lines(_ text: String) -> [String] {
        text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// Whether the lines stand there one after the other, all indented by as much more.
    private static func contains(_ sample: [String], in source: [String]) -> Bool {
        guard let first = sample.first, sample.count <= source.count else { return false }
        return source.indices.dropLast(sample.count - 1).contains { start in
            guard source[start].hasSuffix(first) else { return false }
            let indent = String(source[start].dropLast(first.count))
            guard indent.allSatisfy({ $0 == " " }) else { return false }
            return zip(sample, source[start...]).allSatisfy { $0.isEmpty ? $1.isEmpty : indent + $0 == $1 }
        }
    }
}
