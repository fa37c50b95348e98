import AffinityTestSupport
import Foundation
import Testing

extension Faults.Kafka.OneBroker {
    /// Compaction takes whatever it may while a node is written to, ends and comes back.
    @Suite(.serialized) struct CompactionTests {
        @Test(arguments: KeyValueNode.MemStore.allCases)
        func compactionTakesNothingThatCounts(_ memstore: KeyValueNode.MemStore) async throws {
            let rounds = Faults.Kafka.rounds(1)
            print("TEST_SEED=\(Faults.KillTests.seed) FAULT_ROUNDS=\(rounds)")
            let folder = try TemporaryFolder()
            let service = KafkaService("compaction-\(memstore)", try brokers, ["--storage.compaction-lag", "3s"])
            let load = Load(seed: Faults.KillTests.seed, allowsRewrites: true)
            try await onThread {
                try service.makeTopics(lag: .seconds(3), segment: .milliseconds(200))
                let data = folder.path + "/data"
                for round in 0..<rounds {
                    let node = try service.serving(data, memstore)
                    try load.checkAll(node.connect())
                    try load.run(node.port) {
                        try load.waitForWrites(400)
                        try service.waitForCompaction(node)
                        try load.waitForWrites(100)
                        if round % 2 == 0 { try node.child.killNow() }
                    }
                    if round % 2 == 1 { #expect(try node.stop() == 0) }
                    #expect(load.ledger.mistakes == [], "round \(round)")
                }
                // And with nothing else going on; what is compared in the end is compacted too.
                let last = try service.serving(data, memstore)
                try load.checkAll(last.connect())
                try service.waitForCompaction(last)
                try service.finish(last, load, folder, data, memstore)
            }
            print("Kafka, compaction, \(memstore): \(load.ledger.summary)")
        }
    }
}
