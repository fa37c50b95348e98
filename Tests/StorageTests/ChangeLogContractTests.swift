import AffinityCore
import AffinityLocalLog
import AffinityTesting
import Foundation
import Testing

/// What every changelog owes its replicas.
@Suite struct ChangeLogContractTests {
    @Test(arguments: LogFixture.Kind.available) func offsetsGrowAndAcksComeInOrder(_ kind: LogFixture.Kind) throws {
        let fixture = try LogFixture(kind)
        try fixture.run {
            let log = try await fixture.start()
            #expect(log.isExclusive == (kind != .kafka))
            let (opened, acks) = try await fixture.open(log)
            #expect(try await opened.bounds(0) == .zero..<(.zero))
            #expect(try await opened.findEnd(0) == .zero)
            for number in 0..<50 {
                opened.append([
                    OutgoingRecord(changelog: 0, record: record("a\(number)", "x")),
                    OutgoingRecord(changelog: 1, record: record("b\(number)", nil)),
                    OutgoingRecord(changelog: 0, record: record("c\(number)", "y")),
                ])
            }
            #expect(acks.all.isEmpty, "an acknowledgement came inside append")
            await acks.wait(for: 150)
            #expect(acks.texts.filter { $0.hasPrefix("0") } == (0..<100).map { "0:\($0)" })
            #expect(acks.texts.filter { $0.hasPrefix("1") } == (0..<50).map { "1:\($0)" })
            #expect(acks.batches.count < 50)
            #expect(try await opened.bounds(0) == .zero..<Offset(100))
            #expect(try await opened.bounds(1) == .zero..<Offset(50))
            #expect(try await opened.findEnd(0) == Offset(100))
            #expect(try await opened.findEnd(1) == Offset(50))
            await opened.close()
            await fixture.stop(log)
        }
    }

    @Test(arguments: LogFixture.Kind.available) func recordsComeBackByteForByte(_ kind: LogFixture.Kind) throws {
        let fixture = try LogFixture(kind)
        try fixture.run {
            let all = [
                Record(key: [], value: [], headers: RecordHeaders()),
                Record(key: [0, 255, 0], value: nil, headers: RecordHeaders(tags: ["", "ä", "b"])),
                Record(
                    key: Array(repeating: 9, count: 3000), value: Array((0..<70_000).map { UInt8($0 & 0xFF) }),
                    headers: RecordHeaders(
                        stamp: RecordStamp(
                            epoch: Epoch(rawValue: .max), number: .max, count: .max, acknowledged: .max - 1),
                        time: Timestamp(milliseconds: .min), tags: [String(repeating: "t", count: 300)],
                        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
            ]
            for round in 0..<2 {
                let log = try await fixture.start()
                let (opened, acks) = try await fixture.open(log)
                if round == 0 {
                    opened.append(all.map { OutgoingRecord(changelog: 0, record: $0) })
                    await acks.wait(for: 3)
                }
                let read = try await opened.readAll(0, maxBytes: 1)
                #expect(read.map(\.record) == all)
                // A broker goes by its own clock.
                #expect(read.allSatisfy { kind == .kafka || $0.appended == fixture.clock.now })
                await opened.close()
                await fixture.stop(log)
            }
        }
    }

    @Test(arguments: LogFixture.Kind.available) func pagesAndRanges(_ kind: LogFixture.Kind) throws {
        let fixture = try LogFixture(kind)
        try fixture.run {
            let log = try await fixture.start()
            let (opened, acks) = try await fixture.open(log)
            for number in 0..<20 { opened.append(0, record("k\(number)", String(repeating: "v", count: 100))) }
            await acks.wait(for: 20)
            let first = try await opened.read(0, from: Offset(3), maxBytes: 350)
            #expect(first.records.first?.offset == Offset(3))
            #expect((2...5).contains(first.records.count) && first.end == Offset(20))
            #expect(first.next == first.records.last?.offset.next)
            let one = try await opened.read(0, from: Offset(19), maxBytes: 0)
            #expect(one.records.count == 1 && one.next == Offset(20))
            let none = try await opened.read(0, from: Offset(20), maxBytes: 1000)
            #expect(none.records.isEmpty && none.next == Offset(20) && none.end == Offset(20))
            for offset in [Offset(21), Offset(-1)] {
                let error = await #expect(throws: LogError.self) {
                    _ = try await opened.read(0, from: offset, maxBytes: 10)
                }
                #expect(error?.code == .outOfRange)
            }
            await opened.close()
            await fixture.stop(log)
        }
    }

    @Test(arguments: LogFixture.Kind.available) func aTailIsWokenCancelledAndClosed(_ kind: LogFixture.Kind) throws {
        let fixture = try LogFixture(kind)
        try fixture.run {
            let log = try await fixture.start()
            let (opened, _) = try await fixture.open(log)
            let tail = Task(executorPreference: fixture.executor) {
                var seen: [LoggedRecord] = []
                var next = Offset.zero
                while seen.count < 30 {
                    try await opened.waitForRecords(0, beyond: next)
                    let page = try await opened.read(0, from: next, maxBytes: 100)
                    seen += page.records
                    next = page.next
                }
                return seen.map(\.offset.rawValue)
            }
            for number in 0..<30 { opened.append(0, record("k\(number)", "v")) }
            #expect(try await tail.value == Array(0..<30))
            let cancelled = Task(executorPreference: fixture.executor) {
                try await opened.waitForRecords(0, beyond: Offset(30))
            }
            cancelled.cancel()
            await #expect(throws: LogError.self) { try await cancelled.value }
            let waiting = Task(executorPreference: fixture.executor) {
                try await opened.waitForRecords(1, beyond: .zero)
            }
            await opened.close()
            let error = await #expect(throws: LogError.self) { try await waiting.value }
            #expect(error?.code == .closed)
            await fixture.stop(log)
        }
    }

    @Test(arguments: LogFixture.Kind.compactable) func compactionKeepsTheLastOfAKey(_ kind: LogFixture.Kind) throws {
        let fixture = try LogFixture(kind)
        try fixture.run {
            var log = try await fixture.start()
            var (opened, acks) = try await fixture.open(log)
            for round in 0..<40 {
                for key in ["control", "a", "b\(round)"] { opened.append(0, record(key, "\(round)")) }
            }
            opened.append(1, record("gone", "x"))
            opened.append(1, record("gone", nil))
            await acks.wait(for: 122)
            try await fixture.compact(log)
            #expect(try await opened.readAll(0).count == 120, "records younger than the lag were taken")
            fixture.clock.advance(by: .seconds(150))
            opened.append(0, record("a", "young"))
            await acks.wait(for: 123)
            try await fixture.compact(log)
            let expected = (0..<39).map { "b\($0)@\(3 * $0 + 2)" } + ["control@117", "a@118", "b39@119", "a@120"]
            #expect(try await opened.keys(0) == expected)
            #expect(try await opened.keys(1) == ["gone@1-"], "the tombstone goes with its retention")
            #expect(try await opened.read(1, from: .zero, maxBytes: 10).forgotten == .zero)
            #expect(try await opened.read(0, from: .zero, maxBytes: 10).forgotten == .zero)
            // A page that begins in a hole reads on behind it.
            #expect(try await opened.read(0, from: Offset(3), maxBytes: 1).records.first?.offset == Offset(5))
            fixture.clock.advance(by: .seconds(200))
            try await fixture.compact(log)
            #expect(try await opened.keys(0).suffix(2) == ["b39@119", "a@120"])
            #expect(try await opened.keys(1) == [])
            let page = try await opened.read(1, from: .zero, maxBytes: 10)
            #expect(page.records.isEmpty && page.next == Offset(2) && page.end == Offset(2))
            #expect(page.forgotten == Offset(2), "nobody is told that a removal is gone")
            await opened.close()
            await fixture.stop(log)
            log = try await fixture.start()
            (opened, acks) = try await fixture.open(log)
            opened.append(1, record("new", "x"))
            await acks.wait(for: 1)
            #expect(acks.texts == ["1:2"], "an offset was given twice")
            await opened.close()
            await fixture.stop(log)
        }
    }

    @Test(arguments: LogFixture.Kind.available) func nothingComesAfterClose(_ kind: LogFixture.Kind) throws {
        let fixture = try LogFixture(kind)
        try fixture.run {
            let log = try await fixture.start()
            let (first, former) = try await fixture.open(log)
            first.append(0, record("a", "1"))
            // What a use of a shared log has on its way when it ends may come late: the next epoch overwrites it.
            if kind == .kafka { await former.wait(for: 1) }
            let (second, acks) = try await fixture.open(log)
            #expect(try await second.keys(0) == ["a@0"], "opening again ends the former use behind what it wrote")
            first.append(0, record("b", "2"))
            let count = former.all.count
            second.append(0, record("c", "3"))
            await acks.wait(for: 1)
            #expect(acks.texts == ["0:1"])
            #expect(former.all.count == count)
            let error = await #expect(throws: LogError.self) { _ = try await first.bounds(0) }
            #expect(error?.code == .closed)
            let other = await #expect(throws: LogError.self) { _ = try await first.findEnd(0) }
            #expect(other?.code == .closed)
            await second.close()
            await fixture.stop(log)
        }
    }

    @Test(arguments: LogFixture.Kind.available) func partitionsAreApart(_ kind: LogFixture.Kind) throws {
        let fixture = try LogFixture(kind)
        try fixture.run {
            let log = try await fixture.start()
            let names =
                kind == .kafka
                ? [("a", 1), ("a", 11), ("a-1", 1), ("b", 0)]
                : [("a", 1), ("a", 11), ("a/1", 1), ("", 0), ("ä", 1)]
            for (index, name) in names.enumerated() {
                let (opened, acks) = try await fixture.open(log, PartitionID(keyspace: name.0, number: name.1))
                opened.append(0, record("\(index)", "x"))
                await acks.wait(for: 1)
                #expect(acks.texts == ["0:0"])
                #expect(try await opened.keys(0) == ["\(index)@0"])
                #expect(try await opened.keys(1) == [])
                await opened.close()
            }
            let twice = [changelogs[0], changelogs[0]]
            let error = await #expect(throws: LogError.self) {
                _ = try await log.open(partition, changelogs: twice, executor: fixture.executor) { _ in }
            }
            #expect(error?.code == .shape)
            await fixture.stop(log)
        }
    }
}
