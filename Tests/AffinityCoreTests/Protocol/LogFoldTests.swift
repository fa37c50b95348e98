import Testing

@testable import AffinityCore

/// Reading several changelogs in turn (PROTOCOL R1 to R3).
@Suite struct LogFoldTests {
    private let epoch = Epoch(grant: 1, run: 0)
    private let later = Epoch(grant: 2, run: 0)

    private func page(_ records: [(key: String, stamp: RecordStamp, kind: ControlRecord.Kind?)], at: Int64) -> LogPage {
        let logged = records.enumerated().map { place, record in
            let value = record.kind.map { ControlRecord($0, log: 7, node: NodeID("n")).bytes } ?? [1]
            let key = record.kind == nil ? Array(record.key.utf8) : []
            return LoggedRecord(
                offset: Offset(at + Int64(place)), appended: Timestamp(milliseconds: 0),
                record: Record(key: key, value: value, headers: RecordHeaders(stamp: record.stamp)))
        }
        let next = Offset(at + Int64(records.count))
        return LogPage(records: logged, next: next, end: next)
    }

    private func control(
        _ kind: ControlRecord.Kind, _ epoch: Epoch, covers: UInt64 = 0
    ) -> (key: String, stamp: RecordStamp, kind: ControlRecord.Kind?) {
        ("", RecordStamp(epoch: epoch, number: 0, count: 2, acknowledged: covers), kind)
    }

    @Test func whatItsEpochHasCoveredIsNotInDoubtWhenTheNextOneSettles() {
        let places = ["a", "b"].map { Checkpoint.Place(changelog: $0, next: .zero) }
        var checkpoint = Checkpoint(level: Timestamp(milliseconds: 0), places: places)
        var fold = LogFold(checkpoint, controlKeys: [[], []])
        var unsettled = UnsettledKeys(doubtful: [[:], [:]])
        var writes = 0
        func take(_ page: LogPage, _ changelog: Int) {
            writes += fold.take(page, of: changelog, &checkpoint, &unsettled).writes.count
        }
        let first = RecordStamp(epoch: epoch, number: 1, count: 1, acknowledged: 0)
        take(page([control(.settled, epoch)], at: 0), 1)
        take(page([control(.settled, epoch), ("x", first, nil)], at: 0), 0)
        #expect(writes == 1, "complete, and covered by nothing yet")
        // The next epoch is known before the settled that covers the record is read.
        take(page([control(.claim, later), control(.settled, later)], at: 1), 1)
        take(page([control(.settled, epoch, covers: 1), control(.claim, later), control(.settled, later)], at: 2), 0)
        #expect(checkpoint.epoch == later)
        #expect(unsettled.doubtful(0).isEmpty)
    }

    /// A fold of two changelogs that has read the settleds of `epoch`, and how many records it has applied with each page.
    private struct Reader {
        var checkpoint = Checkpoint(
            level: Timestamp(milliseconds: 0), places: ["a", "b"].map { Checkpoint.Place(changelog: $0, next: .zero) })
        var unsettled = UnsettledKeys(doubtful: [[:], [:]])
        var fold: LogFold

        init() { fold = LogFold(checkpoint, controlKeys: [[], []]) }

        mutating func take(_ page: LogPage, _ changelog: Int) -> Int {
            fold.take(page, of: changelog, &checkpoint, &unsettled).writes.count
        }
    }

    private func stamp(_ number: UInt64, of count: UInt32, covers: UInt64) -> RecordStamp {
        RecordStamp(epoch: epoch, number: number, count: count, acknowledged: covers)
    }

    /// A reader that has read the settled of `epoch` in both changelogs.
    private func readerBehindSettleds() -> Reader {
        var reader = Reader()
        for changelog in 0..<2 { #expect(reader.take(page([control(.settled, epoch)], at: 0), changelog) == 0) }
        return reader
    }

    /// Behind the settled: one of the two records of the first command, and the second command, which says that commands
    /// up to `number` are acknowledged.
    private func half(coveredUpTo number: UInt64) -> LogPage {
        page([("x", stamp(1, of: 2, covers: 0), nil), ("y", stamp(2, of: 1, covers: number), nil)], at: 1)
    }

    @Test func aCommandThatIsCoveredIsNotAppliedInParts() {
        var reader = readerBehindSettleds()
        // The other record of the first command has not been read yet.
        #expect(reader.take(half(coveredUpTo: 1), 0) == 0)
        #expect(reader.take(page([("x", stamp(1, of: 2, covers: 0), nil)], at: 1), 1) == 3)
    }

    @Test func whatIsMissingOfACoveredCommandIsGoneOnceALaterRecordIsRead() {
        for later in [
            ("z", stamp(3, of: 1, covers: 0), nil as ControlRecord.Kind?), control(.settled, epoch, covers: 2),
        ] {
            var reader = readerBehindSettleds()
            #expect(reader.take(half(coveredUpTo: 2), 0) == 0)
            // Compaction has taken what stood between.
            #expect(reader.take(page([later], at: 5), 1) == (later.2 == nil ? 3 : 2))
        }
    }

    @Test func whatIsMissingOfACoveredCommandIsGoneOnceEndsAreReachedThatWereLookedUpLater() {
        for isBefore in [true, false] {
            var reader = readerBehindSettleds()
            // The record that covers the command stands before the first ends, or behind them.
            reader.fold.note(ends: [Offset(isBefore ? 3 : 2), Offset(1)], [Offset(3), Offset(2)])
            #expect(reader.take(half(coveredUpTo: 1), 0) == 0, "the other changelog is not read to its end")
            #expect(reader.take(LogPage(records: [], next: Offset(2), end: Offset(2)), 1) == (isBefore ? 2 : 0))
        }
    }

    @Test func whatWaitsForSomethingThatCompactionTookIsDecidedOnceEndsAreKnownThatWereLookedUpLater() {
        for isBefore in [true, false] {
            var reader = readerBehindSettleds()
            #expect(reader.take(half(coveredUpTo: 1), 0) == 0)
            #expect(reader.take(LogPage(records: [], next: Offset(2), end: Offset(2)), 1) == 0, "it may be on its way")
            // Everything was read before the ends were looked up, or some of it perhaps afterwards.
            reader.fold.note(ends: [Offset(isBefore ? 3 : 2), Offset(2)], [Offset(3), Offset(2)])
            let decided = reader.fold.decide(&reader.checkpoint, &reader.unsettled)
            #expect(decided.writes.count == (isBefore ? 2 : 0))
        }
    }

    @Test func aLongLogWithHolesDoesNotWaitForAChangelogThatIsSeldomWritten() {
        var reader = Reader()
        _ = reader.take(page([control(.settled, epoch)], at: 0), 0)
        reader.fold.note(ends: [Offset(2001), Offset(1)], [Offset(2001), Offset(1)])
        _ = reader.take(page([control(.settled, epoch)], at: 0), 1)
        for number in stride(from: UInt64(2), to: 2000, by: 2) {
            let record = ("k\(number)", stamp(number, of: 1, covers: number - 1), nil as ControlRecord.Kind?)
            _ = reader.take(page([record], at: Int64(number)), 0)
            #expect(reader.fold.waiting(0) <= 1)
        }
    }

    @Test func whatIsReadAgainAfterARestartDoesNotClearALaterDoubt() {
        let key = Array("x".utf8)
        let time = Timestamp(milliseconds: 0)
        var unsettled = UnsettledKeys(doubtful: [[:]])
        unsettled.apply(0, key, number: 1, offset: Offset(4), appended: time)
        unsettled.drop(0, key, at: Offset(6), appended: time)
        // A restart: doubtful keys are in the checkpoint, the record that is not covered is read again.
        unsettled = UnsettledKeys(doubtful: [unsettled.doubtful(0)])
        unsettled.resume(0, key, number: 1, offset: Offset(4), appended: time)
        #expect(unsettled.firstUncovered(0) == Offset(4))
        unsettled.cover(upTo: 1)
        #expect(unsettled.doubtful(0).keys.contains(key))
    }

    @Test func aRecordThatStandsBeforeAStaleOneDoesNotSettleItsKey() {
        let key = Array("x".utf8)
        let time = Timestamp(milliseconds: 0)
        for isRewrite in [false, true] {
            var unsettled = UnsettledKeys(doubtful: [[:]])
            // The own record at 4 is acknowledged, but waits for a command before it when the stale one is found.
            unsettled.drop(0, key, at: Offset(6), appended: time)
            unsettled.apply(0, key, number: 1, offset: Offset(4), appended: time, isRewrite: isRewrite)
            unsettled.settle()
            #expect(unsettled.doubtful(0).keys.contains(key))
            unsettled.apply(0, key, number: 2, offset: Offset(8), appended: time, isRewrite: isRewrite)
            unsettled.settle()
            #expect(unsettled.doubtful(0).isEmpty)
        }
    }
}
