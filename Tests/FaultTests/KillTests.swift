import AffinityTestSupport
import Foundation
import Testing

/// All tests of faults: one after the other, because they measure a machine's worth of load.
@Suite(.serialized) enum Faults {}

extension Faults {
    /// The process is killed under load at any moment, again and again.
    @Suite(.serialized) struct KillTests {
        /// More rounds for longer runs; a seed to repeat what a run has sent.
        static let rounds = ProcessInfo.processInfo.environment["FAULT_ROUNDS"].flatMap { Int($0) } ?? 12
        static let seed = newSeed()

        @Test(arguments: KeyValueNode.MemStore.allCases)
        func nothingAcknowledgedIsLost(_ memstore: KeyValueNode.MemStore) async throws {
            print("TEST_SEED=\(Self.seed) FAULT_ROUNDS=\(Self.rounds)")
            let folder = try TemporaryFolder()
            let load = Load(seed: Self.seed)
            try await onThread {
                let data = folder.path + "/data"
                try Self.killAgainAndAgain(data, memstore, load)
                let listing = try Self.finish(data, memstore, load)
                try Self.compareReplays(folder, listing, memstore)
            }
            print("\(memstore): \(Self.rounds) rounds, \(load.ledger.summary)")
            #expect(load.ledger.mistakes == [])
            #expect(load.ledger.acknowledged >= Self.rounds * 50)
        }

        /// The log forgets all the time what was overwritten or removed, and is killed at that too.
        @Test(arguments: KeyValueNode.MemStore.allCases)
        func nothingIsLostWhileTheLogIsCompacted(_ memstore: KeyValueNode.MemStore) async throws {
            print("TEST_SEED=\(Self.seed) FAULT_ROUNDS=\(Self.rounds)")
            let folder = try TemporaryFolder()
            let load = Load(seed: Self.seed)
            let compactions = try await onThread {
                let data = folder.path + "/data"
                let settings = [
                    "--storage.compaction-interval", "100ms", "--storage.compaction-lag", "0s",
                    "--storage.delete-retention", "0s",
                ]
                let compactions = try Self.killAgainAndAgain(data, memstore, load, settings)
                let listing = try Self.finish(data, memstore, load, settings)
                try Self.compareReplays(folder, listing, memstore)
                return compactions
            }
            print("\(memstore): \(Self.rounds) rounds, \(compactions) compactions, \(load.ledger.summary)")
            #expect(load.ledger.mistakes == [])
            #expect(compactions >= Self.rounds)
        }

        /// Gives how often a changelog was compacted.
        @discardableResult
        private static func killAgainAndAgain(
            _ data: String, _ memstore: KeyValueNode.MemStore, _ load: Load, _ settings: [String] = []
        ) throws -> Int {
            var compactions = 0
            var random = Seeded(seed)
            for round in 0..<rounds {
                if round % 4 == 3 { try killWhileStarting(data, memstore, settings, &random) }
                let node = try KeyValueNode.serving(data, memstore, settings)
                try load.checkAll(node.connect())
                // A pattern of changes that are seldom flushed, and now and then of many.
                let writes = Int.random(in: 50..<(round % 3 == 0 ? 1_500 : 600), using: &random)
                try load.run(node.port) {
                    try load.waitForWrites(writes)
                    try node.child.killNow()
                }
                compactions += node.child.lines.count { $0.message == "a changelog was compacted" }
                guard load.ledger.mistakes.isEmpty else { break }
            }
            return compactions
        }

        /// Kills it in the middle of coming up: at its first line, when it listens, or when a partition serves.
        private static func killWhileStarting(
            _ data: String, _ memstore: KeyValueNode.MemStore, _ settings: [String], _ random: inout Seeded
        ) throws {
            let child = try KeyValueNode.start(data, memstore, settings)
            switch Int.random(in: 0..<3, using: &random) {
            // Not a wait for anything: the moment is the point, and it has no name yet.
            case 0: usleep(UInt32.random(in: 0..<60_000, using: &random))
            case 1: try child.line { $0.message == "listening" }
            default: try child.line { $0.message == "partition serves" }
            }
            try child.killNow()
        }

        /// A last check, and a proper end. Gives what is there.
        private static func finish(
            _ data: String, _ memstore: KeyValueNode.MemStore, _ load: Load, _ settings: [String] = []
        ) throws -> [String] {
            let node = try KeyValueNode.serving(data, memstore, settings)
            try load.checkAll(node.connect())
            let listing = try node.listing()
            #expect(try node.stop() == 0)
            #expect(!node.child.text.contains("\"error\""), "\(node.child.text)")
            return listing
        }

        /// The log alone, and the log behind a memstore that has gone on through every crash, say the same.
        private static func compareReplays(
            _ folder: TemporaryFolder, _ listing: [String], _ memstore: KeyValueNode.MemStore
        ) throws {
            let data = folder.path + "/data"
            for (kind, isFresh) in [(KeyValueNode.MemStore.memory, true), (.rocksdb, false), (.rocksdb, true)] {
                let name = "\(kind)-\(isFresh)"
                try folder.copy(data, to: name)
                if isFresh { try? FileManager.default.removeItem(atPath: "\(folder.path)/\(name)/memstores") }
                let node = try KeyValueNode.serving("\(folder.path)/\(name)", kind)
                #expect(try node.listing() == listing, "\(memstore) and \(name)")
                #expect(try node.stop() == 0)
            }
            let replays = try ["rocksdb-false", "rocksdb-true"].map {
                try Replay("\(folder.path)/\($0)", partitions: 3)
            }
            for replay in replays {
                #expect(replay.differences == [])
                #expect(replay.entries["_requests", default: 0] > 0 && replay.entries["kv", default: 0] > 0)
                #expect(replay.unread == 0, "the memstore was closed level with the log")
            }
        }
    }
}
