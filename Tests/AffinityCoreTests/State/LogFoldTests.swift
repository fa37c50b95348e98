import Testing

@testable import AffinityCore

/// The rules of reading (PROTOCOL §3), with pages as a log may give them.
struct LogFoldTests {
    /// The changelogs are read one after the other: one may be read beyond the next claim before the other is.
    @Test func whatWasCoveredBeforeTheNextClaimIsNotInDoubt() {
        let (first, second) = (Epoch(grant: 1, run: 0), Epoch(grant: 2, run: 0))
        var checkpoint = Checkpoint(
            level: Timestamp(milliseconds: 0),
            places: ["a", "b"].map { Checkpoint.Place(changelog: $0, next: .zero) })
        var unsettled = UnsettledKeys(doubtful: [[:], [:]])
        var fold = LogFold(checkpoint, controlKeys: [[], []])
        let begin = [control(.settled, first, 0, at: 0), command(first, 1, at: 1)]
        let rest = [
            control(.settled, first, 1, at: 2), control(.claim, second, 0, at: 3), control(.settled, second, 0, at: 4),
        ]
        var writes = 0
        for page in [begin, rest] {
            for changelog in 0..<2 {
                let end = page[page.count - 1].offset.next
                let decisions = fold.take(
                    LogPage(records: page, next: end, end: end), of: changelog, &checkpoint, &unsettled)
                writes += decisions.writes.count
            }
        }
        #expect(writes == 2)
        #expect(checkpoint.epoch == second)
        for changelog in 0..<2 {
            #expect(unsettled.doubtful(changelog).isEmpty)
            #expect(unsettled.firstUncovered(changelog) == nil)
        }
    }

    private func control(
        _ kind: ControlRecord.Kind, _ epoch: Epoch, _ acknowledged: UInt64, at offset: Int64
    ) -> LoggedRecord {
        let value = ControlRecord(kind, log: 7, node: NodeID("n1")).bytes
        return logged(value, [], RecordStamp(epoch: epoch, number: 0, count: 2, acknowledged: acknowledged), offset)
    }

    private func command(_ epoch: Epoch, _ number: UInt64, at offset: Int64) -> LoggedRecord {
        logged([1], [1], RecordStamp(epoch: epoch, number: number, count: 2, acknowledged: number - 1), offset)
    }

    private func logged(
        _ value: [UInt8], _ key: [UInt8], _ stamp: RecordStamp, _ offset: Int64
    ) -> LoggedRecord {
        LoggedRecord(
            offset: Offset(offset), appended: Timestamp(milliseconds: offset),
            record: Record(key: key, value: value, headers: RecordHeaders(stamp: stamp)))
    }
}
