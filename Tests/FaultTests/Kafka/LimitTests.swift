import AffinityTestSupport
import Foundation
import Testing

extension Faults.Kafka.OneBroker {
    /// Values as long as they may be.
    @Suite(.serialized) struct LimitTests {
        @Test(arguments: [nil, "2KiB"])
        func aValueOfTheBodyLimitIsKeptAndOneByteMoreRefused(_ limit: String?) async throws {
            let folder = try TemporaryFolder()
            let arguments = limit.map { ["--gateway.limits.body", $0] } ?? []
            let service = KafkaService("limit-\(limit ?? "default")", try brokers, arguments)
            try await onThread {
                let length = limit == nil ? 1 << 20 : 2 << 10
                let value = "\"" + String(repeating: "v", count: length - 2) + "\""
                // With all that may stand beside it: the longest key, and the longest name of a request.
                let key = String(repeating: "k", count: 1024)
                let name = [("Idempotency-Key", String(repeating: "n", count: 255))]
                for memstore in KeyValueNode.MemStore.allCases {
                    let node = try service.serving("\(folder.path)/\(memstore)", memstore)
                    let connection = try node.connect()
                    let isFirst = memstore == .memory
                    let answer = try connection.ask("PUT", "/kv/\(key)", name, json: value)
                    // The second process finds what the first has answered.
                    #expect(answer.status == 201, "\(answer)")
                    #expect((answer["Idempotency-Replayed"] == nil) == isFirst)
                    #expect(try connection.ask("PUT", "/kv/short", json: value).isGood)
                    let refused = try node.connect().ask("PUT", "/kv/short", json: value + " ")
                    #expect(refused.status == 413, "\(refused)")
                    #expect(try node.connect().ask("GET", "/kv/short").text == value)
                    #expect(try node.stop() == 0)
                    let again = try service.serving("\(folder.path)/\(memstore)", memstore)
                    #expect(try again.connect().ask("GET", "/kv/\(key)").text == value)
                    #expect(try again.connect().ask("GET", "/kv/short").text == value)
                    #expect(try again.stop() == 0)
                }
            }
        }
    }
}
