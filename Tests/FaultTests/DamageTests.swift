import AffinityTestSupport
import Foundation
import Glibc
import Testing

extension Faults {
    /// Files that are not as they were left.
    @Suite(.serialized) struct DamageTests {
        @Test(arguments: KeyValueNode.MemStore.allCases)
        func aTornLastWriteCostsNothingBeforeIt(_ memstore: KeyValueNode.MemStore) async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let data = folder.path + "/data"
                let versions = try Self.write(data, memstore, 40, end: .kill)
                for bytes in [1, 7, 40] {
                    let copy = "torn-\(bytes)"
                    try folder.copy(data, to: copy)
                    let torn = try Files.newest(in: "\(folder.path)/\(copy)/log/db", suffix: ".log")
                    try Files.truncate(torn, by: try Files.zerosAtEnd(torn) + bytes)
                    let node = try KeyValueNode.serving("\(folder.path)/\(copy)", memstore)
                    let warning = try node.child.line { $0.level == "warning" }
                    #expect(warning.text.contains(".log"), "names the file: \(warning.text)")
                    let connection = try node.connect()
                    for (number, version) in versions.enumerated().dropLast() {
                        let answer = try connection.ask("GET", "/kv/k\(number)")
                        #expect(answer.number == number && answer.version == version, "k\(number): \(answer)")
                    }
                    // The last one is what was torn; whatever became of it, the key goes on.
                    let answer = try connection.ask("PUT", "/kv/k\(versions.count - 1)", json: "\"again\"")
                    #expect(answer.isGood)
                    #expect(try node.stop() == 0)
                    let again = try KeyValueNode.serving("\(folder.path)/\(copy)", memstore)
                    #expect(try again.connect().ask("GET", "/kv/k\(versions.count - 1)").text == "\"again\"")
                }
            }
        }

        /// After a proper end nothing may be missing, so a shorter log is refused and nothing is touched.
        @Test func aLogThatWasCutAfterItsEndIsRefused() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let data = folder.path + "/data"
                _ = try Self.write(data, .rocksdb, 20, end: .stop)
                try folder.copy(data, to: "cut")
                let cut = try Files.newest(in: folder.path + "/cut/log/db", suffix: ".log")
                try Files.truncate(cut, by: 30)
                let size = try Files.size(cut)
                for _ in 0..<2 {
                    let child = try KeyValueNode.start(folder.path + "/cut")
                    #expect(try child.waitForExit() == 1)
                    #expect(child.text.contains(cut), "names the file: \(child.text)")
                    #expect(try Files.size(cut) == size)
                }
            }
        }

        /// The log of an older copy of the data under the memstore of a newer one.
        @Test func aMemStoreAheadOfItsLogIsSetAside() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let data = folder.path + "/data"
                _ = try Self.write(data, .rocksdb, 20, end: .stop)
                try folder.copy(data, to: "older")
                _ = try Self.write(data, .rocksdb, 60, end: .stop)
                let older = folder.path + "/older"
                try FileManager.default.removeItem(atPath: older + "/memstores")
                try FileManager.default.copyItem(atPath: data + "/memstores", toPath: older + "/memstores")
                let node = try KeyValueNode.serving(older)
                let line = try node.child.line { $0.level == "error" }
                #expect(line.message.contains("set aside"), "\(line.text)")
                try Self.expectKept(line, node, 20)
                #expect(try node.connect().ask("GET", "/kv/k59").status == 404)
            }
        }

        enum Damage: String, CaseIterable, Sendable {
            case manifest, current, missingTable, cutTable, flippedHead, flippedMiddle

            func strike(_ memstore: String) throws {
                switch self {
                case .manifest: try Files.flip(try Files.newest(in: memstore, prefix: "MANIFEST"), at: 20)
                case .current: try "rubbish".write(toFile: memstore + "/CURRENT", atomically: false, encoding: .utf8)
                case .missingTable: unlink(try Files.newest(in: memstore, suffix: ".sst"))
                case .cutTable: try Files.truncate(try Files.newest(in: memstore, suffix: ".sst"), by: 100)
                case .flippedHead: try Files.flip(try Files.newest(in: memstore, suffix: ".sst"), at: 200)
                case .flippedMiddle:
                    let table = try Files.newest(in: memstore, suffix: ".sst")
                    try Files.flip(table, at: try Files.size(table) / 2)
                }
            }
        }

        @Test(arguments: Damage.allCases)
        func aDamagedMemStoreIsRebuiltAndKept(_ damage: Damage) async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let data = folder.path + "/data"
                let count = 300
                _ = try Self.write(data, .rocksdb, count, partitions: 1, end: .stop)
                try damage.strike(data + "/memstores/kv-0")
                let node = try KeyValueNode.serving(data, partitions: 1)
                let connection = try node.connect()
                // What is found only when it is read is refused until the memstore is made anew, by itself.
                for number in 0..<count {
                    try node.waitUntil { try connection.ask("GET", "/kv/k\(number)").status == 200 }
                }
                try Self.expectKept(node.child.line { $0.message.contains("set aside") }, node, count)
                #expect(try connection.ask("PUT", "/kv/k0", json: "\"new\"").status == 204)
                #expect(try node.stop() == 0)
                let again = try KeyValueNode.serving(data, partitions: 1)
                #expect(try again.connect().ask("GET", "/kv/k0").text == "\"new\"")
                #expect(try again.stop() == 0)
            }
        }

        /// Without its memstores, or with some that end earlier than they did, a node reads more of its log.
        @Test func aMissingOrOlderMemStoreIsMadeFromTheLog() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let data = folder.path + "/data"
                _ = try Self.write(data, .rocksdb, 60, partitions: 1, end: .stop)
                for round in 0..<2 {
                    let memstore = data + "/memstores/kv-0"
                    if round == 0 {
                        try FileManager.default.removeItem(atPath: memstore)
                    } else {
                        try Files.truncate(try Files.newest(in: memstore, prefix: "MANIFEST"), by: 40)
                    }
                    let node = try KeyValueNode.serving(data, partitions: 1)
                    let connection = try node.connect()
                    for number in 0..<60 { #expect(try connection.ask("GET", "/kv/k\(number)").number == number) }
                    #expect(try node.stop() == 0)
                    #expect(try Replay(data, partitions: 1).differences == [])
                }
            }
        }

        @Test func withoutTheGrantsFileEpochsStillGrow() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let data = folder.path + "/data"
                let node = try KeyValueNode.serving(data)
                #expect(try node.connect().ask("PUT", "/kv/a", json: "1").status == 201)
                let before = try Self.epochs(node)
                try node.child.killNow()
                unlink(data + "/grants")
                let after = try KeyValueNode.serving(data)
                let epochs = try Self.epochs(after)
                for (old, new) in zip(before, epochs) { #expect(new > old) }
                #expect(try after.connect().ask("GET", "/kv/a").text == "1")
                try after.child.killNow()
                try "affinity-grants 1 5 00000000\n".write(toFile: data + "/grants", atomically: true, encoding: .utf8)
                let damaged = try KeyValueNode.start(data)
                #expect(try damaged.waitForExit() == 1)
                #expect(damaged.text.contains(data + "/grants"), "\(damaged.text)")
            }
        }

        // MARK: -

        private enum End { case kill, stop }

        /// Puts `k0` … to their numbers, unless they are; gives the versions.
        private static func write(
            _ data: String, _ memstore: KeyValueNode.MemStore, _ count: Int, partitions: Int = 3, end: End
        ) throws -> [UInt64] {
            let node = try KeyValueNode.serving(data, memstore, partitions: partitions)
            let connection = try node.connect()
            var versions: [UInt64] = []
            for number in 0..<count {
                let body = "\(number)" + String(repeating: " ", count: 400)
                let answer = try connection.ask("PUT", "/kv/k\(number)", json: body)
                guard answer.isGood, let version = answer.version else { throw Failure("\(answer)") }
                versions.append(version)
            }
            switch end {
            case .kill: try node.child.killNow()
            case .stop:
                guard try node.stop() == 0 else { throw Failure(node.child.text) }
            }
            return versions
        }

        /// The line names the partition and where the memstore is now; the entries are there.
        private static func expectKept(_ line: Child.Line, _ node: ServiceProcess, _ count: Int) throws {
            #expect(line.fields["partition"]?.hasPrefix("kv/") == true, "\(line.text)")
            let kept = line.fields["kept"] ?? ""
            #expect(try !FileManager.default.contentsOfDirectory(atPath: kept).isEmpty, "\(line.text)")
            let connection = try node.connect()
            for number in 0..<count { #expect(try connection.ask("GET", "/kv/k\(number)").number == number) }
        }

        private static func epochs(_ node: ServiceProcess) throws -> [UInt64] {
            struct Status: Decodable {
                struct Keyspace: Decodable { let partitions: [Partition] }
                struct Partition: Decodable { let epoch: UInt64 }
                let keyspaces: [String: Keyspace]
            }
            let body = try node.connect().ask("GET", "/status").text
            let status = try JSONDecoder().decode(Status.self, from: Data(body.utf8))
            return status.keyspaces["kv"]?.partitions.map(\.epoch) ?? []
        }
    }
}

/// What a disk may do to files.
enum Files {
    static func newest(in folder: String, prefix: String = "", suffix: String = "") throws -> String {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
        let found = names.filter { $0.hasPrefix(prefix) && $0.hasSuffix(suffix) }.max()
        guard let found else { throw Failure("no \(prefix)*\(suffix) in \(folder): \(names)") }
        return "\(folder)/\(found)"
    }

    static func size(_ path: String) throws -> Int {
        let facts = try FileManager.default.attributesOfItem(atPath: path)
        return (facts[.size] as? NSNumber)?.intValue ?? 0
    }

    /// How many zeros a write-ahead log has behind its records.
    static func zerosAtEnd(_ path: String) throws -> Int {
        try Data(contentsOf: URL(fileURLWithPath: path)).reversed().prefix { $0 == 0 }.count
    }

    static func truncate(_ path: String, by bytes: Int) throws {
        let size = try size(path)
        guard size > bytes, Glibc.truncate(path, size - bytes) == 0 else { throw Failure("\(path) has \(size) bytes") }
    }

    static func flip(_ path: String, at place: Int) throws {
        var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
        bytes[place] ^= 0xFF
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }
}
