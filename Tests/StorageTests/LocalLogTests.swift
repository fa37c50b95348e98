import AffinityCore
import AffinityLocalLog
import AffinityRocksDB
import AffinityTestSupport
import AffinityTesting
import Foundation
import Glibc
import Testing

/// What is of the embedded log alone: crashes, damage, a full disk.
@Suite struct LocalLogTests {
    let fixture: LogFixture

    init() throws { fixture = try LogFixture(.local) }

    /// The newest write-ahead log of a log's folder that has something in it.
    func newestWAL(_ folder: String) throws -> String {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/db")
        let logs = names.filter { $0.hasSuffix(".log") }.map { "\(folder)/db/\($0)" }.filter { size($0) > 0 }
        return try #require(logs.max())
    }

    /// Where the records of a write-ahead log end; behind them stand zeros until it is closed.
    func end(_ path: String) throws -> Int {
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        return bytes.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
    }

    func size(_ path: String) -> Int {
        ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? NSNumber)?.intValue ?? 0
    }

    func copy(_ folder: String, _ name: String) throws -> String {
        let path = fixture.folder.path + "/" + name
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.copyItem(atPath: folder, toPath: path)
        return path
    }

    func truncate(_ path: String, to size: Int) throws {
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.truncate(atOffset: UInt64(size))
        try file.close()
    }

    func contents(_ folder: String) -> [String: Int] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder + "/db")) ?? []
        return Dictionary(
            uniqueKeysWithValues: names.filter { !$0.hasPrefix("LOG") }.map { ($0, size("\(folder)/db/\($0)")) })
    }

    @Test func aTornWriteIsDroppedAtEveryByte() throws {
        let fixture = fixture
        try fixture.run {
            let log = try await fixture.local()
            let (opened, acks) = try await fixture.open(log)
            for number in 0..<5 {
                opened.append(0, record("k\(number)", "v"))
                await acks.wait(for: number + 1)
            }
            let path = try newestWAL(log.folder)
            let before = try end(path)
            opened.append([
                OutgoingRecord(changelog: 0, record: record("last", "v")),
                OutgoingRecord(changelog: 1, record: record("last", "v")),
            ])
            await acks.wait(for: 7)
            let after = try end(path)
            #expect(after > before)
            // What was not written any more is missing, or the zeros that stood ahead are still there.
            for zeros in [0, 100_000] {
                for length in before...after {
                    let torn = try copy(log.folder, "torn")
                    try truncate(newestWAL(torn), to: length)
                    try truncate(newestWAL(torn), to: length + zeros)
                    let again = try await fixture.local(torn)
                    let (reopened, _) = try await fixture.open(again)
                    let counts = [try await reopened.readAll(0).count, try await reopened.readAll(1).count]
                    let place = "cut at \(length) of \(before)...\(after), with \(zeros) zeros"
                    #expect(counts == (length == after ? [6, 1] : [5, 0]), "\(place)")
                    await again.close()
                }
                if zeros > 0 { continue }
                #expect(fixture.reports.messages.filter { $0.contains("torn off") }.count == after - before - 1)
            }
            await log.close()
        }
    }

    /// The pages of one write come to the disk in any order; those that did not are zeros as before.
    @Test func aWriteThatLacksAnyOfItsPagesIsDropped() throws {
        let fixture = fixture
        try fixture.run {
            let log = try await fixture.local()
            let (opened, acks) = try await fixture.open(log)
            opened.append(0, record("first", "v"))
            await acks.wait(for: 1)
            let path = try newestWAL(log.folder)
            let before = try end(path)
            opened.append(0, record("last", String(repeating: "v", count: 100_000)))
            await acks.wait(for: 2)
            let page = 4096
            for place in stride(from: before / page * page, to: try end(path), by: page) {
                let torn = try copy(log.folder, "torn")
                let file = try FileHandle(forWritingTo: URL(fileURLWithPath: try newestWAL(torn)))
                try file.seek(toOffset: UInt64(max(place, before)))
                try file.write(contentsOf: Data(count: place + page - max(place, before)))
                try file.close()
                let again = try await fixture.local(torn)
                let (reopened, acksAgain) = try await fixture.open(again)
                #expect(try await reopened.readAll(0).count == 1, "without the page at \(place)")
                reopened.append(0, record("next", "v"))
                await acksAgain.wait(for: 1)
                await again.close()
                let third = try await fixture.local(torn)
                #expect(try await fixture.open(third).0.readAll(0).count == 2)
                await third.close()
            }
            await log.close()
        }
    }

    /// Its write-ahead log is as long as its records then, so that what is cut off is missed.
    @Test func aLogThatIsClosedHasNoZerosBehindIt() throws {
        let fixture = fixture
        try fixture.run {
            let log = try await fixture.local()
            let (opened, acks) = try await fixture.open(log)
            opened.append(0, record("k", "v"))
            await acks.wait(for: 1)
            let path = try newestWAL(log.folder)
            #expect(try size(path) > end(path))
            await log.close()
            #expect(try size(path) == end(path))
        }
    }

    /// Every byte of the records in the middle is damaged once: that is an error, and nothing is touched.
    @Test func damageInTheMiddleIsNamed() throws {
        let fixture = fixture
        try fixture.run {
            let log = try await fixture.local()
            let (opened, acks) = try await fixture.open(log)
            var ends: [Int] = []
            for number in 0..<6 {
                opened.append(0, record("k\(number)", "value"))
                await acks.wait(for: number + 1)
                ends.append(try end(newestWAL(log.folder)))
            }
            for place in stride(from: ends[1], to: ends[4], by: 1) {
                let damaged = try copy(log.folder, "damaged")
                let path = try newestWAL(damaged)
                var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
                bytes[place] ^= 0x41
                try bytes.write(to: URL(fileURLWithPath: path))
                let before = contents(damaged)
                let error = await #expect(throws: LogError.self, "byte \(place)") {
                    try await fixture.local(damaged).close()
                }
                #expect(error?.code == .corrupt && error?.reason.contains(path) == true, "\(error?.reason ?? "")")
                #expect(contents(damaged) == before)
            }
            await log.close()
        }
    }

    @Test func aLogThatWasCutAfterItsCloseIsRefused() throws {
        let fixture = fixture
        try fixture.run {
            let log = try await fixture.local()
            let (opened, acks) = try await fixture.open(log)
            var ends: [Int] = []
            for number in 0..<4 {
                opened.append(0, record("k\(number)", "value"))
                await acks.wait(for: number + 1)
                ends.append(try end(newestWAL(log.folder)))
            }
            await log.close()
            for length in [0, ends[1], ends[2], ends[3] - 1] {
                let cut = try copy(log.folder, "cut")
                try truncate(newestWAL(cut), to: length)
                let before = contents(cut)
                let error = await #expect(throws: LogError.self) { try await fixture.local(cut).close() }
                #expect(error?.code == .corrupt && error?.reason.contains("when the log was closed") == true)
                #expect(contents(cut) == before)
            }
            let again = try await fixture.local()
            #expect(try await fixture.open(again).0.readAll(0).count == 4)
            await again.close()
        }
    }

    @Test func aClosedFolderIsFreeWhoeverHasInheritedItsDescriptor() throws {
        let fixture = fixture
        try fixture.run {
            let log = try await fixture.local()
            let inherited = try #require(try duplicateDescriptor(of: "\(log.folder)/in-use"))
            defer { close(inherited) }
            await log.close()
            try await fixture.local().close()
        }
    }

    @Test func foldersThatCannotBeUsed() throws {
        let fixture = fixture
        try fixture.run {
            let log = try await fixture.local()
            let second = await #expect(throws: LogError.self) { _ = try await fixture.local() }
            #expect(second?.code == .io && second?.reason.contains("in use") == true)
            await log.close()
            let file = fixture.folder.path + "/file"
            try Data().write(to: URL(fileURLWithPath: file))
            for path in [file, file + "/below", "/proc/affinity"] {
                let error = await #expect(throws: LogError.self) { _ = try await fixture.local(path) }
                #expect(error?.code == .io && error?.reason.contains(path) == true)
            }
            let closed = await #expect(throws: LogError.self) { _ = try await fixture.open(log) }
            #expect(closed?.code == .closed)
        }
    }

    @Test func tooLargeARecordFailsItsCommandAndAllAfterIt() throws {
        let fixture = fixture
        try fixture.run {
            let log = try await fixture.local()
            let (opened, acks) = try await fixture.open(log)
            opened.append(0, record("a", "1"))
            opened.append(
                0, record("b", "2"), Record(key: [1], value: Array(repeating: 0, count: 2 << 20), headers: .init()))
            opened.append(0, record("c", "3"))
            await acks.wait(for: 4)
            #expect(acks.texts == ["0:0", "0:tooLarge", "0:tooLarge", "0:tooLarge"])
            let (again, more) = try await fixture.open(log)
            again.append(0, record("d", "4"))
            await more.wait(for: 1)
            #expect(more.texts == ["0:1"])
            await log.close()
        }
    }

    @Test func manyRecordsAreCommittedTogether() throws {
        let fixture = fixture
        try fixture.run {
            let log = try await fixture.local()
            var all: [(any PartitionLog, Acks)] = []
            for number in 0..<4 {
                all.append(try await fixture.open(log, PartitionID(keyspace: "k", number: number)))
            }
            for number in 0..<25_000 {
                for (opened, _) in all { opened.append(number & 1, record("k\(number % 5000)", "value \(number)")) }
            }
            for (opened, acks) in all {
                await acks.wait(for: 25_000)
                #expect(acks.texts == (0..<25_000).map { "\($0 & 1):\($0 / 2)" })
                let read = try await opened.readAll(0)
                #expect(read.map(\.offset.rawValue) == Array(0..<12_500))
            }
            await log.close()
            let again = try await fixture.local(compactionMemoryBytes: 1 << 20)
            fixture.clock.advance(by: .seconds(1000))
            try await again.compact()
            for number in 0..<4 {
                let (opened, _) = try await fixture.open(again, PartitionID(keyspace: "k", number: number))
                #expect(try await opened.readAll(0).map(\.offset.rawValue) == Array(10_000..<12_500))
            }
            await again.close()
        }
    }

    /// On a file system of its own, where that can be mounted.
    @Test func aFullDiskFailsUntilTheLogIsOpenedAgain() throws {
        let fixture = fixture
        let mount = fixture.folder.path + "/small"
        try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
        guard Glibc.mount("tmpfs", mount, "tmpfs", 0, "size=24m") == 0 else {
            print("aFullDiskFailsUntilTheLogIsOpenedAgain: skipped, nothing can be mounted here")
            return
        }
        defer { umount2(mount, Int32(MNT_DETACH)) }
        try fixture.run {
            let log = try await fixture.local(mount + "/log")
            let (opened, acks) = try await fixture.open(log)
            let value = String(repeating: "v", count: 500_000)
            var count = 0
            while count < 100 {
                opened.append(0, record("k\(count)", value))
                count += 1
                await acks.wait(for: count)
                if case .failure = acks.all[count - 1].result { break }
            }
            #expect(acks.texts.last == "0:full")
            opened.append(0, record("after", "x"))
            await acks.wait(for: count + 1)
            #expect(acks.texts.last == "0:full")
            // There is space again.
            #expect(Glibc.mount("tmpfs", mount, "tmpfs", UInt(MS_REMOUNT), "size=200m") == 0)
            try await log.reopen()
            opened.append(0, record("still refused", "x"))
            await acks.wait(for: count + 2)
            #expect(acks.texts.last == "0:full")
            let (again, more) = try await fixture.open(log)
            let end = try await again.bounds(0).upperBound.rawValue
            // The record whose write failed may be there or not; those that were acknowledged are.
            #expect(end == Int64(count - 1) || end == Int64(count))
            #expect(try await again.readAll(0).count == Int(end))
            again.append(0, record("new", "x"))
            await more.wait(for: 1)
            #expect(more.texts == ["0:\(end)"])
            await log.close()
        }
    }
}
