import AffinityTestSupport
import Foundation
import Testing

extension Faults {
    /// A disk that neither fails nor answers.
    @Suite(.serialized) struct HangTests {
        /// How many commands may be on their way to the log; so many more wait for a place.
        private static let inFlight = 4

        @Test(arguments: KeyValueNode.MemStore.allCases)
        func onlyWritesWaitForTheDisk(_ memstore: KeyValueNode.MemStore) async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let disk = try HangingDisk(in: folder.path)
                let data = folder.path + "/data"
                let settings = [
                    "--gateway.deadline", "2s", "--keyspaces.kv.in-flight.commands", "\(Self.inFlight)",
                    // Everything that syncs tries to meanwhile.
                    "--storage.compaction-interval", "100ms", "--storage.compaction-lag", "0s",
                ]
                let node = try KeyValueNode.serving(
                    data, memstore, partitions: 1, settings, environment: disk.environment)
                let reader = try node.connect()
                let keys = (0..<2 * Self.inFlight).map { "k\($0)" }
                for key in keys { #expect(try reader.ask("PUT", "/kv/\(key)", json: "1").status == 201) }

                for round in 2...3 {
                    try disk.hang()
                    let writers = try keys.map { key in
                        let writer = try node.connect()
                        let type = ("Content-Type", "application/json")
                        try writer.send(
                            HTTPClient.request("PUT", Array("/kv/\(key)".utf8), [type], Array("\(round)".utf8)))
                        return writer
                    }
                    let before = try Self.readUntil(keys, reader) {
                        try writers.allSatisfy { try $0.hasInput(within: 0) }
                    }
                    let answers = try writers.map { try $0.answer() }
                    // What has gone to the log may be there or not; what waited for a place has done nothing.
                    let statuses = answers.map(\.status).sorted()
                    let places =
                        Array(repeating: 503, count: Self.inFlight) + Array(repeating: 504, count: Self.inFlight)
                    #expect(statuses == places, "\(answers)")
                    let reasons = [503: "before there was a place", 504: "before the log acknowledged"]
                    for answer in answers { #expect(answer.text.contains(reasons[answer.status] ?? "-"), "\(answer)") }
                    disk.goOn()
                    #expect(try reader.ask("PUT", "/kv/after", json: "\(round)").isGood)
                    for ((key, answer), before) in zip(zip(keys, answers), before) {
                        let value = try reader.ask("GET", "/kv/\(key)").text
                        #expect(value == (answer.status == 504 ? "\(round)" : before), "\(key) \(answer)")
                    }
                }
                let listing = try node.listing()
                try node.child.killNow()
                let again = try KeyValueNode.serving(data, memstore, partitions: 1)
                #expect(try again.listing() == listing)
                #expect(try again.stop() == 0)
                let errors = node.child.lines.filter { $0.level == "error" }.map(\.text)
                #expect(errors == [])
            }
        }

        /// Reads everything again and again, each at once, and gives the values, which do not change.
        private static func readUntil(
            _ keys: [String], _ reader: HTTPClient, _ isOver: () throws -> Bool
        ) throws -> [String] {
            var longest = Duration.zero
            var values: [String] = []
            var count = 0
            repeat {
                let read = try (keys.map { "/kv/\($0)" } + ["/kv?limit=100", "/status", "/readyz"]).map { target in
                    let start = ContinuousClock.now
                    let answer = try reader.ask("GET", target)
                    longest = max(longest, .now - start)
                    guard answer.status == 200 else { throw Failure("\(target): \(answer)") }
                    return answer.text
                }
                if count > 0 { #expect(Array(read.prefix(keys.count)) == values) }
                values = Array(read.prefix(keys.count))
                count += 1
            } while try !isOver()
            print("\(count) rounds of reads beside a disk that hangs, the longest read \(longest)")
            #expect(longest < .seconds(1))
            return values
        }
    }
}
