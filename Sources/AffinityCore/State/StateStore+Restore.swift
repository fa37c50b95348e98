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

    /// There is nothing to read: the position is level with the end of the log now.
    func isLevel() {
        applied.level = clock.now
        wasLevel = true
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
    /// - Parameter isLevel: whether the partition, all of its changelogs, is at the end of its log with this page.
    /// - Throws: `MemStoreError` from the memstore, and `LogError.corrupt` for a record of another log.
    func take(_ page: LogPage, of changelog: Int, isLevel: Bool) throws {
        if isLevel { applied.level = clock.now }
        if isShared {
            try commit(fold.take(page, of: changelog, &applied, &unsettled))
        } else {
            try commit(everything(in: page, of: changelog))
        }
        if isLevel { wasLevel = true }
    }

    /// The log ends there: `second` was looked up after `first` was known (R1).
    func note(ends first: [Offset], _ second: [Offset]) { if isShared { fold.note(ends: first, second) } }

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

    /// On a log that only this process writes to, everything that stands there is as good as acknowledged.
    private func everything(in page: LogPage, of changelog: Int) -> LogFold.Decisions {
        var decisions = LogFold.Decisions()
        decisions.writes.reserveCapacity(page.records.count)
        let controlKey = stores[changelog].controlKey
        for logged in page.records {
            if let stamp = logged.record.headers.stamp { applied.epoch = max(applied.epoch, stamp.epoch) }
            if logged.record.key == controlKey {
                decisions.controls.append((changelog, logged))
            } else {
                decisions.writes.append(logged.write(to: changelog))
            }
        }
        applied.places[changelog].next = page.next
        applied.places[changelog].covered = page.next
        if let last = page.records.last {
            applied.places[changelog].last = last.offset
            applied.places[changelog].fingerprint = last.fingerprint
        }
        return decisions
    }

    /// Applies what was decided, in one batch with the position.
    ///
    /// - Parameter number: the log's, if no settled says one.
    func commit(_ decisions: LogFold.Decisions, number: UInt64 = 0) throws {
        for control in decisions.controls { try takeControl(control.record, control.changelog) }
        if applied.log == 0 { applied.log = number }
        try memstore.commit(decisions.writes, checkpoint: applied.bytes)
        meter.counts.changes &+= UInt64(decisions.writes.count)
        position = applied.position
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
