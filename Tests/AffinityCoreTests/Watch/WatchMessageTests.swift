import AffinityTesting
import Testing

@testable import AffinityCore

/// What nodes tell each other of watches.
@Suite struct WatchMessageTests {
    private var poll: WatchPoll {
        var poll = WatchPoll(keyspace: "kv", session: .max, number: 3, received: 2)
        for (number, scope) in [WatchScope.key([1, 2]), .prefix([3]), .all].enumerated() {
            poll.additions.append(
                .init(
                    number: UInt64(number), partition: number, store: "texts", scope: scope,
                    after: number == 0 ? nil : Version(7), hasBegun: number == 1,
                    options: WatchOptions(overflow: .coalesce, events: 5, bytes: 6)))
        }
        (poll.removals, poll.pages) = ([4, 5], [6])
        return poll
    }

    private var batch: WatchBatch {
        var batch = WatchBatch(number: 9, poll: 8)
        let position = Position([Offset(3), Offset(4)])
        let entry = StoredEntry(value: [1], version: Version(2), time: Timestamp(milliseconds: 5))
        batch.changes = [
            Change(
                partition: 1, store: "s", key: [1], entry: entry, version: Version(2), position: position, tags: ["t"]),
            Change(partition: 1, store: "s", key: [2], entry: nil, version: Version(3), position: position),
        ]
        batch.items = [
            .init(watch: 1, kind: .current, value: 0), .init(watch: 1, kind: .change, value: 1),
            .init(watch: 2, kind: .level, value: 77), .init(watch: 2, kind: .startOver, value: 0),
        ]
        batch.lost = [5]
        batch.progress = [1: position]
        return batch
    }

    @Test func aPollIsReadAsItWasWritten() throws {
        let read = try WatchPoll(bytes: poll.bytes)
        #expect(read.bytes == poll.bytes)
        #expect(read.additions.map(\.scope) == [.key([1, 2]), .prefix([3]), .all])
        #expect(read.additions.map(\.after) == [nil, Version(7), Version(7)])
        #expect(read.additions.map(\.hasBegun) == [false, true, false])
        #expect(read.additions[0].options.overflow == .coalesce && read.additions[0].options.events == 5)
        #expect(read.removals == [4, 5] && read.pages == [6])
    }

    @Test func aBatchIsReadAsItWasWritten() throws {
        let read = try WatchBatch(bytes: batch.bytes)
        #expect(read.bytes == batch.bytes)
        #expect(read.changes[0].value == [1] && read.changes[0].tags == ["t"] && read.changes[1].value == nil)
        #expect(read.changes[1].position == Position([Offset(3), Offset(4)]))
        #expect(read.progress == batch.progress && read.lost == [5])
    }

    @Test func whatIsDamagedIsRefused() {
        for bytes in [poll.bytes, batch.bytes] {
            for length in 0..<bytes.count {
                let part = Array(bytes[..<length])
                _ = try? WatchPoll(bytes: part)
                _ = try? WatchBatch(bytes: part)
            }
            let random = SeededRandom(11)
            for _ in 0..<2000 {
                var damaged = bytes
                for _ in 0..<3 { damaged[random.below(damaged.count)] = UInt8(truncatingIfNeeded: random.next()) }
                _ = try? WatchPoll(bytes: damaged)
                _ = try? WatchBatch(bytes: damaged)
            }
        }
        var beyond = batch
        beyond.items[0].value = 2
        #expect(throws: CBORError.self) { try WatchBatch(bytes: beyond.bytes) }
    }
}
