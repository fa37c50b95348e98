/// Reading the log: on a restart, and up to the claims of a new epoch (PROTOCOL §3, §7).
extension StateStore {
    /// Where to read on in a changelog.
    func readNext(_ changelog: Int) -> Offset { isShared ? fold.next(changelog) : applied.places[changelog].next }

    /// The changelog to read next, of those that are before `ends`; `nil` if none is.
    ///
    /// The one with the least that waits: what is decided in one changelog may wait for another one.
    func changelogToRead(_ ends: [Offset]) -> Int? {
        stores.indices.filter { readNext($0) < ends[$0] }.min { fold.waiting($0) < fold.waiting($1) }
    }

    /// Whether something that was read waits for a decision.
    var isWaiting: Bool { isShared && stores.indices.contains { fold.waiting($0) > 0 } }

    /// The position is level with the end that the log had at `moment`.
    ///
    /// Not now: the process may have been paused for days since it asked for that end (§7).
    func isLevel(asOf moment: MonotonicTime) {
        applied.level = timestamp(of: moment)
        wasLevel = true
    }

    /// What the calendar said at a moment that has passed.
    func timestamp(of moment: MonotonicTime) -> Timestamp {
        let now = clock.monotonic
        return moment < now ? clock.now.advanced(by: .zero - now.since(moment)) : clock.now
    }

    /// C2: the epoch of somebody else that is not below the own one, before the claims or behind them: whoever claimed
    /// later serves, or will. One that is equal comes of two coordinators that do not know of each other.
    var otherMaster: Epoch? {
        if applied.epoch >= epoch { return applied.epoch }
        if fold.highest > epoch { return fold.highest }
        return fold.holds(epoch, besides: claimed) ? epoch : nil
    }

    /// Takes in a page of a changelog, and applies what is decided with it.
    ///
    /// - Parameter moment: when the partition, all of its changelogs, was at the end of its log if it is with this page.
    /// - Throws: `MemStoreError` from the memstore, and `LogError.corrupt` for a record of another log.
    func take(_ page: LogPage, of changelog: Int, levelAsOf moment: MonotonicTime?) throws {
        let former = applied
        let hole = page.hole(from: readNext(changelog))
        let isFar = page.end.rawValue &- page.next.rawValue > Int64(limits.watches.changes)
        let decisions =
            isShared
            ? fold.take(page, of: changelog, &applied, &unsettled)
            : LogFold.everything(in: page, of: changelog, stores[changelog].controlKey, &applied)
        // What is read and not decided is read again after a restart: it must not be thought to be known.
        let isLevel = moment != nil && !isWaiting
        if isLevel, let moment { applied.level = timestamp(of: moment) }
        try commit(decisions, after: former, isFar: isFar)
        if let hole { feed.lose(changelog, before: hole) }
        if isLevel { wasLevel = true }
    }

    /// The log ends there: `second` was looked up after `first` was known (R1). Applies what is decided with it: what
    /// was read, and waits, may wait for what compaction has taken.
    ///
    /// - Throws: as `take`.
    func note(ends first: [Offset], _ second: [Offset]) throws {
        guard isShared else { return }
        let former = applied
        fold.note(ends: first, second)
        try commit(fold.decide(&applied, &unsettled), after: former)
    }

    /// Remembers which of the records that were applied already are not covered (R3).
    func takeUncovered(_ page: LogPage, of changelog: Int) {
        for logged in page.records where logged.offset < applied.places[changelog].next {
            guard let stamp = logged.record.headers.stamp, stamp.epoch == applied.epoch,
                stamp.number > applied.acknowledged, logged.record.key != stores[changelog].controlKey
            else { continue }
            unsettled.resume(
                changelog, logged.record.key, number: stamp.number, offset: logged.offset, appended: logged.appended)
        }
    }

    /// Applies what was decided, in one batch with the position.
    ///
    /// - Parameters:
    ///   - former: the checkpoint before them.
    ///   - number: the log's, if no settled says one.
    ///   - isFar: whether so much follows that nobody will go on from here.
    func commit(
        _ decisions: LogFold.Decisions, after former: Checkpoint, number: UInt64 = 0, isFar: Bool = false
    ) throws {
        for control in decisions.controls { try takeControl(control.record, control.changelog) }
        if applied.log == 0 { applied.log = number }
        try memstore.commit(decisions.writes, checkpoint: applied.bytes)
        meter.counts.changes &+= UInt64(decisions.writes.count)
        position = applied.position
        if isFar {
            feed.skip(applied, position)
        } else {
            feed.take(
                decisions.writes, decisions.notes, settled: decisions.settled, former: former, now: applied, position)
        }
        releasePositionWaiters()
        for changelog in stores.indices where claimed.isEmpty {
            nextOffsets[changelog] = readNext(changelog)
            ackOffsets[changelog] = nextOffsets[changelog]
        }
    }

    private func takeControl(_ logged: LoggedRecord, _ changelog: Int) throws(LogError) {
        guard logged.record.headers.stamp != nil, let value = logged.record.value,
            let control = ControlRecord(bytes: value), control.kind == .settled, let log = control.logNumber
        else { return }
        if applied.log != 0, applied.log != log {
            throw LogError(
                .corrupt,
                "\(partition) \(stores[changelog].name): log \(control.log) at offset \(logged.offset), "
                    + "but the memstore was made from log \(String(applied.log, radix: 16))")
        }
        applied.log = log
    }
}

extension LogPage {
    /// What is known whole from when on, as a version, if something is missing in a page that was read from `offset` on;
    /// `nil` if nothing is.
    func hole(from offset: Offset) -> Version? {
        var (expected, hole) = (offset, Version?.none)
        for record in records where record.offset >= offset {
            if record.offset != expected { hole = Version(upTo: record.offset) }
            expected = record.offset.next
        }
        return next > expected ? Version(upTo: next) : hole
    }
}
