import AffinityTesting
import Testing

@testable import AffinityCore

/// What waits for whoever reads a watch is bounded, whatever it is.
@Suite struct WatchBufferTests {
    private let executor = ManualExecutor(clock: ManualClock())

    private func buffer(_ options: WatchOptions, after: Version? = nil, parts: Int = 1) -> WatchBuffer {
        WatchBuffer(options, after: Array(repeating: after, count: parts), on: executor) {}
    }

    private func change(_ version: UInt64, _ key: String = "a", bytes: Int = 100) -> AffinityCore.Change {
        let entry = StoredEntry(
            value: [UInt8](repeating: 0, count: bytes), version: Version(version), time: Timestamp(milliseconds: 0))
        return Change(
            partition: 0, store: "texts", key: Array(key.utf8), entry: entry, version: Version(version),
            position: Position([Offset(0)]))
    }

    @Test func aPageMayBeLargerThanWhatMayWaitButNotTwo() {
        let buffer = buffer(WatchOptions(events: 4, bytes: 1000), after: Version(1))
        let page = (2...21).map { WatchBuffer.Item.missed(0, change($0)) } + [.page(0, Version(21))]
        _ = buffer.push(page, 0)
        #expect(!buffer.hasEnded && buffer.size > 4000)
        // What comes as it happens has its own bounds.
        _ = buffer.push(change(22), 0)
        #expect(!buffer.hasEnded)
        _ = buffer.push([.missed(0, change(23)), .page(0, Version(23))], 0)
        #expect(buffer.hasEnded && buffer.size == 0 && buffer.count == 0)
        #expect(buffer.take(atMost: .max).end?.code == .tooSlow)
    }

    @Test func pagesThatAreTakenMakeRoom() {
        let buffer = buffer(WatchOptions(events: 4, bytes: 1000), after: Version(1))
        for number in 0..<50 {
            let first = UInt64(2 + number * 10)
            let page = (first..<first + 10).map { WatchBuffer.Item.missed(0, change($0)) }
            _ = buffer.push(page + [.page(0, Version(first + 9))], 0)
            #expect(buffer.take(atMost: .max).items.count == 11)
            #expect(buffer.size == 0 && buffer.taken(0) == Version(first + 9))
        }
        #expect(!buffer.hasEnded)
    }

    @Test func whatStandsThereIsCounted() {
        let buffer = buffer(WatchOptions(bytes: 1000))
        _ = buffer.push((0..<20).map { .current(0, change(1, "k\($0)")) } + [.page(0, .none)], 0)
        #expect(buffer.size > 4000 && !buffer.hasEnded)
        _ = buffer.push([.current(0, change(1, "l"))], 0)
        #expect(buffer.hasEnded)
    }

    @Test func aNewBeginningLetsGoOfWhatWaits() {
        let buffer = buffer(WatchOptions(events: 100, bytes: 10_000), parts: 2)
        for round in 0..<1000 {
            let items = (0..<10).map { WatchBuffer.Item.current(0, change(1, "k\($0)")) }
            _ = buffer.push((round > 0 ? [.startOver(0)] : []) + items + [.page(0, .none)], 0)
            _ = buffer.push(change(UInt64(round + 2)), 0)
            if round == 0 { _ = buffer.push([.current(1, change(1, "other"))], 1) }
        }
        #expect(!buffer.hasEnded && buffer.count == 14 && buffer.size < 10_000)
        let parts = buffer.take(atMost: .max).items.map(\.part)
        #expect(parts.filter { $0 == 1 }.count == 1, "what other partitions said stays")
    }

    @Test func theEndIsSaidToWhoeverDoesNotTake() {
        let calls = Box(0)
        let buffer = WatchBuffer(WatchOptions(events: 2), after: [nil], on: executor) { calls.change { $0 += 1 } }
        for version in 1...3 as ClosedRange<UInt64> {
            if buffer.push(change(version), 0) { buffer.signal() }
            executor.run()
            #expect(buffer.isOver == (version == 3))
        }
        #expect(calls.value == 2, "for the first one, and for the end")
    }

    @Test func aReplicaEndsAWatch() {
        let buffer = buffer(WatchOptions())
        #expect(buffer.push([.end(0, .unordered)], 0))
        #expect(!buffer.hasEnded, "whoever takes it ends the watch")
        #expect(WatchBuffer.End.unordered.error.code == .refused && WatchBuffer.End.tooSlow.error.code == .tooSlow)
    }
}
