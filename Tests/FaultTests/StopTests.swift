import AffinityTestSupport
import Foundation
import Glibc
import Testing

extension Faults {
    /// SIGTERM: the planned end.
    @Suite(.serialized) struct StopTests {
        @Test(arguments: KeyValueNode.MemStore.allCases)
        func whatWasReadIsAnswered(_ memstore: KeyValueNode.MemStore) async throws {
            let folder = try TemporaryFolder()
            let load = Load(seed: KillTests.seed, writers: 8, readers: 2)
            try await onThread {
                let data = folder.path + "/data"
                var isLateWritten = false
                for writes in [30, 400, 800] {
                    let node = try KeyValueNode.serving(data, memstore)
                    try load.checkAll(node.connect())
                    try load.run(node.port) {
                        try load.waitForWrites(writes)
                        node.child.send(SIGTERM)
                        try node.child.line { $0.message == "stopping" }
                        // Who is let in still gets what it asks for; who is not hears so, or finds nobody.
                        if let late = try? node.connect(), let answer = try? late.ask("PUT", "/kv/late", json: "1") {
                            #expect([201, 204, 503].contains(answer.status))
                            if answer.status < 300 { isLateWritten = true }
                        }
                        #expect(try node.child.waitForExit(within: 30) == 0)
                    }
                    let errors = node.child.lines.filter { $0.level == "error" }.map(\.text)
                    #expect(errors == [])
                    // A request without an answer was never read, so it is not applied.
                    load.ledger.refuseLost()
                }
                let node = try KeyValueNode.serving(data, memstore)
                try load.checkAll(node.connect())
                let late = try node.connect().ask("GET", "/kv/late").status
                #expect(late == 200 || (late == 404 && !isLateWritten))
                #expect(try node.stop() == 0)
                if memstore == .rocksdb {
                    let replay = try Replay(data, partitions: 3)
                    #expect(replay.differences == [])
                    #expect(replay.unread == 0, "a restart has nothing to replay")
                }
            }
            print("SIGTERM, \(memstore): \(load.ledger.summary)")
            #expect(load.ledger.mistakes == [])
        }

        @Test func aRestoreOfABigLogEndsPromptly() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let data = folder.path + "/data"
                let writer = try KeyValueNode.serving(data, .memory, partitions: 1)
                let connection = try writer.connect()
                let value = "\"" + String(repeating: "v", count: 1 << 20 - 64) + "\""
                for number in 0..<96 {
                    let answer = try connection.ask("PUT", "/kv/\(number)", json: value)
                    guard answer.status == 201 else { throw Failure("\(answer)") }
                }
                try writer.child.killNow()

                let node = try KeyValueNode.listening(data, .memory, partitions: 1)
                var before = ""
                try node.waitUntil {
                    before = try node.connect().ask("GET", "/readyz").text
                    return before.contains("catching-up")
                }
                node.child.send(SIGTERM)
                let start = ContinuousClock.now
                #expect(try node.child.waitForExit(within: 30) == 0)
                let time = ContinuousClock.now - start
                print("SIGTERM while restoring (\(before)): \(time)")
                #expect(time < .seconds(10))
                // Nothing is spoiled by it.
                let last = try KeyValueNode.serving(data, .rocksdb, partitions: 1)
                #expect(try last.connect().ask("GET", "/kv/95").text == value)
                #expect(try last.stop() == 0)
            }
        }

        /// The signal may come at any moment: before anything is open, while the log is opened, when it listens.
        @Test func aSignalAtAnyMomentOfTheStartIsAProperEnd() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let data = folder.path + "/data"
                for word in ["listening", "partition serves"] {
                    for _ in 0..<5 {
                        let child = try KeyValueNode.start(data)
                        try child.line { $0.message == word }
                        child.send(SIGTERM)
                        #expect(try child.waitForExit(within: 30) == 0, "at \(word)")
                    }
                }
                #expect(try KeyValueNode.serving(data).stop() == 0)
            }
        }
    }
}
