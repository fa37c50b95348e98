import AffinityTestSupport
import Testing

@testable import AffinityConfiguration

@Suite struct HostileTests {
    private func mistakes(_ bytes: [UInt8]) -> [String] {
        let configuration = Configuration.load(bytes: bytes, name: "c.yaml")
        _ = GatewayExample(configuration.reader)
        do throws(ConfigurationError) {
            try configuration.validate()
            return []
        } catch { return error.mistakes.map(\.description) }
    }

    @Test func whatIsNoUTF8IsRefused() {
        #expect(mistakes(Array("a: b\nc: ".utf8) + [0xFF]) == ["c.yaml:2:4: invalid leading UTF-8 octet"])
        #expect(mistakes([0xFF, 0xFE, 0x61, 0x00]).count == 1)
        #expect(mistakes(Array("node.id: ".utf8) + [0xC3]).count == 1)
        #expect(mistakes([0]).count == 1)
        // A byte order mark of UTF-8 is fine, and so is nothing at all.
        #expect(mistakes([0xEF, 0xBB, 0xBF] + Array("node.id: a".utf8)) == [])
        #expect(mistakes([]) == [])
        #expect(mistakes(Array("# nothing".utf8)) == [])
        #expect(mistakes(Array("node.id: a\r\ngateway:\r\n".utf8)) == [])
    }

    @Test func depthAndLengthAreBounded() {
        let deep = mistakes(Array((String(repeating: "[", count: 100_000)).utf8))
        #expect(deep == ["c.yaml:1:33: it is nested more than 32 levels deep"])
        let deepMaps = mistakes(Array((String(repeating: "{a: ", count: 50_000)).utf8))
        #expect(deepMaps.first?.hasSuffix("it is nested more than 32 levels deep") == true)
        let long = mistakes([UInt8](repeating: UInt8(ascii: "#"), count: 1 << 20 + 1))
        #expect(long == ["c.yaml:1:1: is longer than 1MiB"])
    }

    @Test func randomBytesNeverTrap() {
        let seed = newSeed()
        print("seed of random YAML: \(seed)")
        var random = SplitMix(state: seed)
        let pieces = [
            "node", "id", ": ", ":", "\n", "  ", "- ", "{", "}", "[", "]", ",", "\"", "'", "&a", "*a", "!!", "|\n", ">",
            "---", "...", "%YAML 1.1\n", "#", "gateway", ".", "limits", "body", "1MiB", "\t", "?", "\u{FEFF}", "é", "~",
            "<<", "\\x", "\r", "storage.password", "file",
        ]
        for _ in 0..<4_000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0...40, using: &random) {
                if Int.random(in: 0..<8, using: &random) == 0 {
                    bytes.append(.random(in: 0...255, using: &random))
                } else if let piece = pieces.randomElement(using: &random) {
                    bytes += Array(piece.utf8)
                }
            }
            _ = mistakes(bytes)
        }
    }

    @Test func randomWordsNeverTrap() {
        let seed = newSeed()
        print("seed of random words: \(seed)")
        var random = SplitMix(state: seed)
        for _ in 0..<4_000 {
            let scalars = (0..<Int.random(in: 0...12, using: &random)).map { _ in
                "0123456789.-=,KiBmsh \u{0}é🙂".randomElement(using: &random) ?? "0"
            }
            let word = String(scalars)
            _ = ByteCount(word)?.description
            if let duration = DurationText.parse(word) {
                #expect(DurationText.parse(DurationText.text(duration)) == duration)
            }
            _ = example(
                arguments: ["--gateway.limits.held", word, "--gateway.limits.body=\(word)", "--\(word)", word],
                environment: ["AFFINITY_GATEWAY_DEADLINE": word, "AFFINITY_\(word)": word])
        }
    }
}

/// A generator that gives the same numbers for the same seed.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
