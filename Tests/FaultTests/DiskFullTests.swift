import AffinityTestSupport
import Foundation
import Testing

extension Faults {
    /// No space left, and space again.
    @Suite(.serialized) struct DiskFullTests {
        @Test(arguments: KeyValueNode.MemStore.allCases)
        func writesAreRefusedUntilThereIsSpace(_ memstore: KeyValueNode.MemStore) async throws {
            let folder = try TemporaryFolder()
            let load = Load(seed: KillTests.seed, writers: 4, readers: 1)
            try await onThread {
                guard let disk = SmallDisk(folder.path + "/disk", mebibytes: 64) else { return }
                let data = disk.path + "/data"
                let node = try KeyValueNode.serving(data, memstore, ["--gateway.deadline", "5s"])
                try load.run(node.port) { try load.waitForWrites(200) }

                for round in 0..<2 {
                    try disk.fill(leaving: 256)
                    try Self.fill(node, load)
                    disk.free()
                    // By itself, within seconds; nobody restarts it.
                    try node.waitUntil(within: 30) { try node.connect().ask("PUT", "/kv/space", json: "1").isGood }
                    try node.waitUntilReady()
                    try load.checkAll(node.connect())
                    try load.run(node.port) { try load.waitForWrites(100) }
                    #expect(load.ledger.mistakes == [], "round \(round)")
                }
                // And a stop and a start while it is full.
                try disk.fill(leaving: 0)
                #expect(try node.stop() == 0)
                let child = try KeyValueNode.start(data, memstore)
                // Either it says why it cannot, or it comes up: what it has to write at once is little.
                let line = try child.line { $0.message == "listening" || $0.text.contains("No space left") }
                if line.message.isEmpty {
                    #expect(try child.waitForExit() == 1)
                    #expect(line.text.contains(data), "\(line.text)")
                }
                try child.killNow()
                disk.free()
                let last = try KeyValueNode.serving(data, memstore)
                try load.checkAll(last.connect())
                #expect(try last.stop() == 0)
            }
            print("disk full, \(memstore): \(load.ledger.summary)")
            #expect(load.ledger.mistakes == [])
        }

        /// Writes until that is refused, and then for a while: reads go on or say why not.
        private static func fill(_ node: ServiceProcess, _ load: Load) throws {
            let connection = try node.connect()
            let filling = String(repeating: "f", count: 20_000)
            var refusals: [HTTPClient.Answer] = []
            for number in 0..<10_000 where refusals.count < 20 {
                let answer = try load.put(connection, "fill-\(number % 50)", "\"\(number) \(filling)\"")
                if !answer.isGood { refusals.append(answer) }
            }
            #expect(refusals.count == 20, "the disk never got full")
            for refusal in refusals { #expect([503, 504].contains(refusal.status), "\(refusal)") }
            let reasons = refusals.map(\.text).joined()
            #expect(reasons.contains("space") || reasons.contains("Space"), "names the reason: \(refusals)")
            try load.run(node.port) { try load.waitForReads(50) }
        }
    }
}
