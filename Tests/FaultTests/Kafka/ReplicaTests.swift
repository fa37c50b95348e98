import AffinityTestSupport
import Foundation
import Testing

extension Faults.Kafka.ThreeBrokers {
    /// Brokers fail beside others that go on.
    @Suite(.serialized) struct ReplicaTests {
        @Test func aKilledLeaderLosesNothingAcknowledged() async throws {
            let rounds = Faults.Kafka.rounds(1)
            print("TEST_SEED=\(Faults.KillTests.seed) FAULT_ROUNDS=\(rounds)")
            let folder = try TemporaryFolder()
            let cluster = try brokers
            var service = KafkaService("leader", cluster)
            service.replication = 3
            let load = Load(seed: Faults.KillTests.seed, pace: 5_000, allowsRewrites: true)
            try await onThread { [service] in
                let data = folder.path + "/data"
                let node = try service.serving(data)
                let client = try TopicClient(service.brokers)
                try load.run(node.port) {
                    for round in 0..<rounds {
                        try load.waitForWrites(200)
                        let leader = try client.replicas(service.topic("kv"))[round % service.partitions].leader
                        try cluster.kill(leader)
                        // Behind the election, which the partitions of other leaders do not wait for.
                        try waitUntil("another leader") {
                            try client.replicas(service.topic("kv")).allSatisfy { $0.leader != leader && $0.leader > 0 }
                        }
                        try load.waitForWrites(200)
                        try cluster.start(leader)
                        try Self.waitForReplicas(client, service)
                    }
                    try load.waitForWrites(100)
                }
                try service.finish(node, load, folder, data, .rocksdb)
            }
            print("Kafka, leaders killed: \(load.ledger.summary)")
        }

        @Test func withTooFewReplicasWritesWaitAndReadsGoOn() async throws {
            print("TEST_SEED=\(Faults.KillTests.seed)")
            let folder = try TemporaryFolder()
            let cluster = try brokers
            var service = KafkaService("few", cluster, ["--gateway.deadline", "2s"])
            service.replication = 3
            let load = Load(seed: Faults.KillTests.seed, writers: 4, readers: 1, pace: 5_000, allowsRewrites: true)
            try await onThread { [service] in
                let data = folder.path + "/data"
                let node = try service.serving(data)
                try load.run(node.port) {
                    try load.waitForWrites(200)
                    try cluster.stop(2)
                    try load.waitForWrites(50)
                    try cluster.stop(3)
                    try Outage.expectWaiting(node, load)
                    try load.waitForReads(50)
                    try cluster.start(2)
                    try load.waitForWrites(200)
                    try cluster.start(3)
                    try load.waitForWrites(100)
                }
                #expect(load.ledger.unknown > 0)
                try service.finish(node, load, folder, data, .rocksdb)
            }
            print("Kafka, too few replicas: \(load.ledger.summary)")
        }

        private static func waitForReplicas(_ client: TopicClient, _ service: KafkaService) throws {
            for store in KafkaService.stores {
                try waitUntil("three replicas") {
                    try client.replicas(service.topic(store)).allSatisfy { $0.inSync == 3 }
                }
            }
        }
    }
}
