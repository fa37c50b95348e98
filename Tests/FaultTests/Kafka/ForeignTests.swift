import AffinityTestSupport
import Foundation
import Testing

extension Faults.Kafka.OneBroker {
    /// Others write to the topics, and know nothing of masters.
    @Suite(.serialized) struct ForeignTests {
        @Test(arguments: KeyValueNode.MemStore.allCases)
        func foreignRecordsAppearByThemselves(_ memstore: KeyValueNode.MemStore) async throws {
            let folder = try TemporaryFolder()
            let service = KafkaService("foreign-\(memstore)", try brokers)
            let load = Load(seed: Faults.KillTests.seed, writers: 2, readers: 1)
            try await onThread {
                let data = folder.path + "/data"
                let node = try service.serving(data, memstore)
                let connection = try node.connect()
                let client = try TopicClient(service.brokers)
                var times: [Duration] = []
                for number in 0..<5 {
                    let key = "foreign-\(number)"
                    for value in ["\"from elsewhere\"", nil] {
                        let offset = try client.send([Self.record(service, key, value)])[0]
                        let start = ContinuousClock.now
                        try node.waitUntil {
                            let answer = try connection.ask("GET", "/kv/\(key)")
                            guard let value else { return answer.status == 404 }
                            return answer.text == value && answer.version == UInt64(offset + 1)
                        }
                        times.append(.now - start)
                    }
                }
                print("Kafka, foreign records, \(memstore): visible after \(times.sorted())")
                #expect(times.sorted()[times.count / 2] < .seconds(1))

                // Beside writes of the service; keys of others stay out of the load's way.
                let before = try node.partitionStates().map(\.mastership)
                try load.run(node.port) {
                    for number in 0..<50 {
                        try client.send([Self.record(service, "beside-\(number % 7)", "\(number)")])
                    }
                    try load.waitForWrites(100)
                }
                #expect(try node.partitionStates().map(\.mastership) == before, "nothing that ends a mastership")
                #expect(try connection.ask("GET", "/kv/beside-0").text == "49")
                try service.finish(node, load, folder, data, memstore)
            }
            print("Kafka, foreign records, \(memstore): \(load.ledger.summary)")
        }

        @Test func anAbortedTransactionLeavesNothingAndDisturbsNothing() async throws {
            let folder = try TemporaryFolder()
            var service = KafkaService("transaction", try brokers)
            service.partitions = 1
            let load = Load(seed: Faults.KillTests.seed, writers: 2, readers: 1)
            try await onThread { [service] in
                let data = folder.path + "/data"
                let node = try service.serving(data)
                let connection = try node.connect()
                try load.run(node.port) { try load.waitForWrites(50) }
                let before = try node.partitionStates().map(\.mastership)
                let client = try TopicClient(service.brokers, transactions: "foreign")
                for isCommitted in [false, true, false] {
                    let value = isCommitted ? "\"committed\"" : "\"aborted\""
                    try client.begin()
                    try client.send([Self.record(service, "in-doubt", value)])
                    // A write behind what is not decided waits for it.
                    let late = try node.connect()
                    try late.send(HTTPClient.request("PUT", Array("/kv/late".utf8), [], Array(value.utf8)))
                    #expect(try !late.hasInput(within: 300))
                    if isCommitted { try client.commit() } else { try client.abort() }
                    #expect(try late.answer().isGood)
                    try load.run(node.port) { try load.waitForWrites(50) }
                    // The last marker stands behind everything else; nothing follows it for a while.
                    try client.begin()
                    try client.send([Self.record(service, "nothing", "0")])
                    try client.abort()
                    try load.run(node.port) { try load.waitForWrites(20) }
                }
                #expect(try connection.ask("GET", "/kv/in-doubt").text == "\"committed\"")
                #expect(try connection.ask("GET", "/kv/nothing").status == 404)
                #expect(try node.partitionStates().map(\.mastership) == before, "nothing that ends a mastership")
                #expect(load.ledger.mistakes == [])
                try service.finish(node, load, folder, data, .rocksdb)
            }
            print("Kafka, transactions: \(load.ledger.summary)")
        }

        private static func record(_ service: KafkaService, _ key: String, _ value: String?) -> TopicClient.Outgoing {
            TopicClient.Outgoing(
                topic: service.topic("kv"), partition: service.partition(key), key: Array(key.utf8),
                value: value.map { Array($0.utf8) })
        }
    }
}
