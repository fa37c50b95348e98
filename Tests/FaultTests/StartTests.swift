import AffinityTestSupport
import Foundation
import Glibc
import Testing

extension Faults {
    /// What a node says and does when it cannot, or must not, run.
    @Suite(.serialized) struct StartTests {
        @Test func aSecondProcessOnADataFolderIsRefusedAndHarmless() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let data = folder.path + "/data"
                let first = try KeyValueNode.serving(data)
                #expect(try first.connect().ask("PUT", "/kv/a", json: "1").status == 201)
                let second = try KeyValueNode.start(data)
                #expect(try second.waitForExit() == 1)
                #expect(second.text.contains(data) && second.text.contains("\(first.child.pid)"), "\(second.text)")
                #expect(try first.connect().ask("GET", "/kv/a").text == "1")
                #expect(try first.connect().ask("PUT", "/kv/a", json: "2").status == 204)
                #expect(try first.stop() == 0)
                let again = try KeyValueNode.serving(data)
                #expect(try again.connect().ask("GET", "/kv/a").text == "2")
                #expect(try again.stop() == 0)
            }
        }

        @Test func anotherNumberOfPartitionsIsRefused() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let data = folder.path + "/data"
                let first = try KeyValueNode.serving(data, partitions: 3)
                #expect(try first.connect().ask("PUT", "/kv/a", json: "1").status == 201)
                try first.child.killNow()
                let other = try KeyValueNode.start(data, partitions: 4)
                #expect(try other.waitForExit() == 1)
                for word in ["keyspaces.kv.partitions", "3", "4"] {
                    #expect(other.text.contains(word), "\(other.text)")
                }
                let again = try KeyValueNode.serving(data, partitions: 3)
                #expect(try again.connect().ask("GET", "/kv/a").text == "1")
                #expect(try again.stop() == 0)
            }
        }

        @Test func everyMistakeOfTheConfigurationIsListed() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let file = folder.path + "/node.yaml"
                try "system: demo\nnode: { hots: 127.0.0.1 }\nkeyspaces: { kv: { memstore: rocks } }\n"
                    .write(toFile: file, atomically: true, encoding: .utf8)
                let child = try Child(
                    Programs.keyValue,
                    [
                        "--config", file, "--node.data", folder.path + "/data", "--gateway.deadline", "soon",
                        "--keyspaces.kv.partitions", "0", "--gateway.listeners", "http://127.0.0.1:99999",
                    ], environment: ["AFFINITY_NODE_DRAIN": "-1s"])
                #expect(try child.waitForExit() == 78)
                let mistakes = ["hots", "rocks", "gateway.deadline", "partitions", "99999", "AFFINITY_NODE_DRAIN"]
                for word in mistakes { #expect(child.text.contains(word), "\(word) in \(child.text)") }
                #expect(!FileManager.default.fileExists(atPath: folder.path + "/data"), "nothing is made")
            }
        }

        @Test func helpIsTheReference() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let child = try Child(Programs.keyValue, ["--help"], folder: folder.path)
                #expect(try child.waitForExit() == 0)
                for key in ["node.data", "keyspaces.kv.partitions", "gateway.listeners", "storage.kind"] {
                    #expect(child.text.contains(key), "\(key)")
                }
                #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [])
            }
        }

        @Test func aDataFolderThatIsAFileIsNamed() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let data = folder.path + "/data"
                try "mine".write(toFile: data, atomically: true, encoding: .utf8)
                let child = try KeyValueNode.start(data)
                #expect(try child.waitForExit() == 1)
                #expect(child.text.contains(data), "\(child.text)")
                #expect(try String(contentsOfFile: data, encoding: .utf8) == "mine")
            }
        }

        @Test func aReadOnlyDataFolderIsNamed() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                guard let disk = SmallDisk(folder.path + "/disk", mebibytes: 32) else { return }
                let data = disk.path + "/data"
                #expect(try KeyValueNode.serving(data).stop() == 0)
                try disk.makeReadOnly()
                let child = try KeyValueNode.start(data)
                #expect(try child.waitForExit() == 1)
                #expect(child.text.contains(data) && child.text.contains("Read-only"), "\(child.text)")
            }
        }

        @Test func anAddressInUseIsNamed() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let first = try KeyValueNode.serving(folder.path + "/one")
                let second = try Child(
                    Programs.keyValue,
                    ["--node.data", folder.path + "/two", "--gateway.listeners", "http://127.0.0.1:\(first.port)"])
                #expect(try second.waitForExit() == 1)
                #expect(second.text.contains("\(first.port)"), "\(second.text)")
                // Nothing of it is left running, or locked.
                #expect(try KeyValueNode.serving(folder.path + "/two", partitions: 4).stop() == 0)
            }
        }
    }
}
