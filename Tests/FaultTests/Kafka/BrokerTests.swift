import AffinityTestSupport
import Foundation
import Testing

extension Faults.Kafka.OneBroker {
    /// The only broker goes and comes back.
    @Suite(.serialized) struct BrokerTests {
        @Test(arguments: [true, false])
        func writesWaitForTheBrokerAndNothingIsLost(_ isKilled: Bool) async throws {
            print("TEST_SEED=\(Faults.KillTests.seed)")
            let folder = try TemporaryFolder()
            let cluster = try brokers
            let service = KafkaService("broker-\(isKilled)", cluster, ["--gateway.deadline", "2s"])
            let load = Load(seed: Faults.KillTests.seed, writers: 4, readers: 1, pace: 5_000, allowsRewrites: true)
            try await onThread {
                let data = folder.path + "/data"
                let node = try service.serving(data)
                try load.run(node.port) {
                    try load.waitForWrites(200)
                    if isKilled { try cluster.kill(1) } else { try cluster.stop(1) }
                    try Outage.expectWaiting(node, load)
                    try cluster.start(1)
                    try load.waitForWrites(200)
                }
                #expect(load.ledger.unknown > 0)
                try service.finish(node, load, folder, data, .rocksdb)
            }
            print("Kafka, the broker \(isKilled ? "killed" : "stopped"): \(load.ledger.summary)")
        }

        @Test func aNodeStartsWithoutABrokerAndServesWhenItComes() async throws {
            let folder = try TemporaryFolder()
            let cluster = try brokers
            let service = KafkaService("late", cluster)
            try await onThread {
                try cluster.kill(1)
                let node = try service.listening(folder.path + "/data")
                let line = try node.child.line {
                    ["warning", "error"].contains($0.level) && $0.text.contains(service.brokers)
                }
                print("Kafka, no broker at the start: \(line.text)")
                let answer = try node.connect().ask("GET", "/readyz")
                #expect(answer.status == 503, "\(answer)")
                #expect(try node.connect().ask("PUT", "/kv/a", json: "1").status == 503)
                // Whatever becomes of a partition that waits, the node says so.
                try node.child.line { $0.message == "partition failed" && $0.text.contains("broker") }
                #expect(try node.connect().ask("GET", "/readyz").text.contains("broker"))
                try cluster.start(1)
                try node.waitUntilReady()
                #expect(try node.connect().ask("PUT", "/kv/a", json: "1").status == 201)
                #expect(try node.stop() == 0)
            }
        }
    }
}

/// What a service does while its log takes nothing.
enum Outage {
    /// Writes wait until their deadline, and their end is uncertain unless it is certain; reads go on.
    static func expectWaiting(_ node: ServiceProcess, _ load: Load) throws {
        let connection = try node.connect()
        // Until the log has noticed; and two more, which begin when it has.
        var answers: [Int] = []
        try waitUntil("writes that wait") {
            answers.append(try load.put(connection, "outage-\(answers.count)", "\(answers.count)").status)
            return answers.suffix(2).allSatisfy { [503, 504].contains($0) } && answers.count >= 2
        }
        print("writes meanwhile: \(answers)")
        let read = try connection.ask("GET", "/kv/sum-0")
        #expect([200, 404].contains(read.status), "\(read)")
        #expect(node.child.isRunning)
    }
}
