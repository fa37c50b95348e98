import AffinityTestSupport
import Foundation
import Glibc
import Testing

extension Faults.Kafka.OneBroker {
    /// The process ends without warning, and its log is elsewhere.
    @Suite(.serialized) struct NodeKillTests {
        @Test(arguments: KeyValueNode.MemStore.allCases)
        func aKilledNodeLosesNothingAcknowledged(_ memstore: KeyValueNode.MemStore) async throws {
            let rounds = Faults.Kafka.rounds(3)
            print("TEST_SEED=\(Faults.KillTests.seed) FAULT_ROUNDS=\(rounds)")
            let folder = try TemporaryFolder()
            let service = KafkaService("kill-\(memstore)", try brokers)
            let load = Load(seed: Faults.KillTests.seed, allowsRewrites: true)
            try await onThread {
                var random = Seeded(Faults.KillTests.seed)
                let data = folder.path + "/data"
                for round in 0..<rounds {
                    if round % 2 == 1 { try Self.killWhileStarting(service, data, memstore, &random) }
                    let node = try service.serving(data, memstore)
                    try load.checkAll(node.connect())
                    let writes = Int.random(in: 50..<500, using: &random)
                    try load.run(node.port) {
                        try load.waitForWrites(writes)
                        try node.child.killNow()
                    }
                    #expect(load.ledger.mistakes == [], "round \(round)")
                }
                try service.finish(service.serving(data, memstore), load, folder, data, memstore)
            }
            print("Kafka, kill -9, \(memstore): \(load.ledger.summary)")
            #expect(load.ledger.acknowledged >= rounds * 50)
        }

        /// In the middle of coming up: at once, when it listens, or when a partition serves.
        private static func killWhileStarting(
            _ service: KafkaService, _ data: String, _ memstore: KeyValueNode.MemStore, _ random: inout Seeded
        ) throws {
            let child = try service.start(data, memstore)
            switch Int.random(in: 0..<3, using: &random) {
            // Not a wait for anything: the moment is the point, and it has no name yet.
            case 0: usleep(UInt32.random(in: 0..<300_000, using: &random))
            case 1: try child.line { $0.message == "listening" }
            default: try child.line { $0.message == "partition serves" }
            }
            try child.killNow()
        }
    }
}
