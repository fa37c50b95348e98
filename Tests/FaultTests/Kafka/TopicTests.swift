import AffinityTestSupport
import Foundation
import Testing

extension Faults.Kafka.OneBroker {
    /// A topic that is not what it was.
    @Suite(.serialized) struct TopicTests {
        @Test func aTopicThatWasMadeAnewEndsServiceAndDeletesNothing() async throws {
            let folder = try TemporaryFolder()
            var service = KafkaService("anew", try brokers)
            service.partitions = 1
            try await onThread { [service] in
                let data = folder.path + "/data"
                let node = try service.serving(data)
                let connection = try node.connect()
                for number in 0..<20 { #expect(try connection.ask("PUT", "/kv/k\(number)", json: "1").isGood) }

                let client = try TopicClient(service.brokers)
                try client.delete(service.topic("kv"))
                let settings = KafkaService.settings(lag: .seconds(86_400), segment: .seconds(86_400))
                try waitUntil("the topic's name") {
                    (try? client.create(service.topic("kv"), partitions: 1, settings)) != nil
                }
                // The write that finds out; nothing that stood in the old topic may seem to be in the new one.
                var answers: [Int] = []
                // The producer says so, or the log that comes back shorter than it was when it is tried again.
                let words = [service.topic("kv"), "made anew"]
                try node.waitUntil {
                    let key = "/kv/k\(answers.count)"
                    let answer = try connection.ask("PUT", key, [("Affinity-Timeout", "2s")], json: "2")
                    answers.append(answer.status)
                    return try node.partitionStates().allSatisfy { state in
                        state.state == "failed" && words.contains { state.reason?.contains($0) == true }
                    }
                }
                #expect(answers.allSatisfy { [503, 504].contains($0) }, "\(answers)")
                print("Kafka, topic made anew: \(Set(answers)), \(try node.partitionStates())")
                let line = try node.child.line { $0.level == "error" && $0.message == "partition failed" }
                #expect(line.fields["reason"]?.isEmpty == false, "\(line.text)")
                #expect(try connection.ask("PUT", "/kv/k0", json: "3").status == 503)
                #expect(try connection.ask("GET", "/kv/k0").status == 503)
                #expect(try connection.ask("GET", "/readyz").status == 503)
                #expect(try Self.files(data) > 0, "the memstore stays")
                #expect(try node.stop() == 0)
                #expect(try Self.files(data) > 0, "the memstore stays")

                // A new process cannot know which of the two was meant: it goes by the log, and keeps the memstore.
                let next = try service.serving(data)
                let aside = try next.child.line { $0.level == "error" && $0.message.contains("set aside") }
                let kept = aside.fields["kept"] ?? ""
                #expect(try !FileManager.default.contentsOfDirectory(atPath: kept).isEmpty, "\(aside.text)")
                #expect(try next.stop() == 0)
            }
        }

        private static func files(_ data: String) throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: data + "/memstores/kv-0").count
        }
    }
}
