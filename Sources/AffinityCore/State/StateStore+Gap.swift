/// What others write to the changelogs while this master serves (PROTOCOL W3, W6, S1, §10).
extension StateStore {
    /// Offsets that went to somebody else: from what was expected up to what was acknowledged, or to the end.
    struct Gap: Equatable, Sendable {
        var changelog: Int
        var range: Range<Offset>

        var end: Offset { range.upperBound }
    }

    /// What was found in gaps, and what waits for one to be read.
    struct Gaps {
        /// The one that is being read, when its end was the log's, and the acks that came meanwhile.
        var reading: Gap?
        var asOf = MonotonicTime.never
        var waiting: [LogAck] = []
        /// The keys of the stale records in it: they are overwritten once all of it is read.
        var stale: [[UInt8]] = []
        /// Where the next look at idle changelogs begins, so that a busy one does not hide the others.
        var nextLook = 0
        /// What is to be applied between own records, for each changelog in the order of the log.
        var folded: [Queue<LoggedRecord>]
        /// Behind the last gap of each changelog.
        var ends: [Offset]
        /// When each changelog was last known to have nothing behind what was expected.
        var contiguous: [MonotonicTime]
        /// The arrival of the first command that cannot have seen a version which turned out to be another one.
        var outdated: UInt64 = 0
        /// Whether a gap was folded since the last batch.
        var hasFolded = false
        /// Whether a stale control record is to be answered once the own epoch has settled.
        var owesSettled = false

        init(changelogs: Int) {
            folded = (0..<changelogs).map { _ in Queue() }
            ends = (0..<changelogs).map { _ in .zero }
            contiguous = (0..<changelogs).map { _ in .never }
        }
    }

    // MARK: - Finding

    /// W6: what others have written to a changelog that nothing of our own is on its way to.
    func idleGap() -> Gap? {
        guard isShared, claims == nil, gaps.reading == nil else { return nil }
        for step in stores.indices {
            let changelog = (gaps.nextLook + step) % stores.count
            // What was found before comes first: it waits for a command of another changelog.
            guard awaited[changelog].isEmpty, gaps.folded[changelog].isEmpty else { continue }
            // In this order: an end that is heard of in between is only further.
            let seen = min(clock.monotonic, log.endSeen(changelog))
            let end = log.end(changelog)
            if end > ackOffsets[changelog] {
                gaps.nextLook = (changelog + 1) % stores.count
                return startReading(Gap(changelog: changelog, range: ackOffsets[changelog]..<end), asOf: seen)
            }
            gaps.contiguous[changelog] = max(gaps.contiguous[changelog], seen)
        }
        return nil
    }

    /// Makes acks wait until the gap is read, at whose end the log ended at `moment`.
    @discardableResult func startReading(_ gap: Gap, asOf moment: MonotonicTime) -> Gap {
        gaps.reading = gap
        gaps.asOf = moment
        return gap
    }

    /// W6: whether the last record lacks the current `a`, so that a settled is worth its place.
    var owesCover: Bool { isShared && pending.isEmpty && applied.acknowledged < acknowledged }

    // MARK: - Folding

    /// Takes in a page of a gap, in the order of the log; behind the last one, goes on with the acks that waited (W3).
    ///
    /// - Parameter lag: the log's compaction lag: it may have taken a claim from a hole that is older than that.
    func fold(_ page: LogPage, of gap: Gap, lag: Duration) -> Verdict {
        guard gaps.reading == gap else { return .good }
        let part = Gap(
            changelog: gap.changelog, range: gap.range.lowerBound..<min(max(page.next, gap.range.lowerBound), gap.end))
        let records = page.records.filter { part.range.contains($0.offset) }
        if let stepDown = fence(records, of: part, lag) { return .stepDown(stepDown) }
        keep(records, of: part)
        let rest = Gap(changelog: gap.changelog, range: part.end..<gap.end)
        gaps.reading = rest.range.isEmpty ? nil : rest
        guard rest.range.isEmpty else { return settle().or(.read(rest)) }
        gaps.contiguous[gap.changelog] = max(gaps.contiguous[gap.changelog], gaps.asOf)
        let (stale, waiting) = (gaps.stale, gaps.waiting)
        (gaps.stale, gaps.waiting) = ([], [])
        return settle().or(repair(gap.changelog, stale)).or(acknowledge(waiting))
    }

    /// Moves the expected offsets behind what others wrote, and keeps what of it is to be applied or overwritten.
    private func keep(_ records: [LoggedRecord], of gap: Gap) {
        for record in records {
            if record.record.key == stores[gap.changelog].controlKey {
                gaps.owesSettled = gaps.owesSettled || !hasSettledOnItsWay(gap.changelog)
            } else if record.record.headers.stamp != nil {
                unsettled.drop(gap.changelog, record.record.key, at: record.offset, appended: record.appended)
                gaps.stale.append(record.record.key)
            } else {
                gaps.folded[gap.changelog].append(record)
            }
        }
        let length = gap.end.rawValue - gap.range.lowerBound.rawValue
        ackOffsets[gap.changelog] = gap.end
        nextOffsets[gap.changelog] = Offset(nextOffsets[gap.changelog].rawValue + length)
        gaps.ends[gap.changelog] = gap.end
        gaps.hasFolded = true
        // What is on its way stands further back than it was foretold. Whoever has run may have seen that; who runs from
        // now on sees what is right.
        if overlays[gap.changelog].move(from: gap.range.lowerBound, by: UInt64(length)) {
            gaps.outdated = pending.nextNumber
        }
    }

    /// Whether an own settled will stand behind the gap: whatever is on its way does.
    private func hasSettledOnItsWay(_ changelog: Int) -> Bool {
        for place in 0..<awaited[changelog].count {
            let written = awaited[changelog][place]
            if let command = pending.offset(of: written.command), pending[command].writes[written.write].isControl {
                return true
            }
        }
        return false
    }

    /// W3: why what stands in a gap ends the mastership, if it does.
    private func fence(_ records: [LoggedRecord], of gap: Gap, _ lag: Duration) -> StepDown? {
        let name = stores[gap.changelog].name
        var expected = gap.range.lowerBound
        var hasHole = false
        for record in records {
            if record.offset != expected { hasHole = true }
            expected = record.offset.next
            guard let stamp = record.record.headers.stamp else { continue }
            if stamp.epoch > epoch {
                loseBehindClaim(gap.changelog)
                return StepDown(
                    reason: "\(name): another master wrote at \(record.offset) under epoch \(stamp.epoch)",
                    isRetriable: true)
            }
            if stamp.epoch == epoch {
                return StepDown(
                    reason: "\(name): an own record stands at \(record.offset), where none was expected",
                    isRetriable: true)
            }
        }
        if expected != gap.range.upperBound { hasHole = true }
        guard hasHole else { return nil }
        let known = gaps.contiguous[gap.changelog].advanced(nanoseconds: lag.wholeNanoseconds / 2)
        if clock.monotonic < known { return nil }
        return StepDown(
            reason: "\(name): records before \(gap.range.upperBound) are gone, and a claim may have been among them",
            isRetriable: true)
    }

    /// W5: a command is certainly void if its next record, or one of a command before it, lies behind the claim that
    /// was found: its own records cannot be complete before the claims.
    ///
    /// A settled behind the claim says nothing of the commands: their order does not go by it.
    private func loseBehindClaim(_ changelog: Int) {
        for place in 0..<awaited[changelog].count {
            guard let first = pending.offset(of: awaited[changelog][place].command) else { continue }
            if pending[first].number == 0 { continue }
            for later in first..<pending.count where !pending[later].writes.isEmpty {
                pending[later].lost = .notApplied
            }
            return
        }
    }

    /// S1: stale records are overwritten by the newest value of their keys, a stale claim or settled by a settled.
    private func repair(_ changelog: Int, _ stale: [[UInt8]]) -> Verdict {
        var done = Set<[UInt8]>()
        for key in stale where done.insert(key).inserted {
            do throws(MemStoreError) {
                let newest = try newest(changelog, key)
                append(
                    Write(
                        store: changelog, key: key, value: newest?.value, time: newest?.time ?? clock.now, tags: []))
            } catch {
                return .stepDown(StepDown(reason: "the memstore failed: \(error.reason)", isRetriable: true))
            }
        }
        answerStaleControl()
        return .good
    }

    /// S1: a stale claim or settled is answered by a settled, or the compacted log would have none of this epoch.
    ///
    /// Not before the own epoch has settled: its settled may still come. If it stands already in the changelog in
    /// question, and only another one's is missing, this is called again once that has come.
    func answerStaleControl() {
        if gaps.owesSettled, !applied.isOpen { appendSettled { _ in } }
    }

    /// The value of a key behind everything that is on its way or folded, in the order of the log.
    private func newest(_ store: Int, _ key: [UInt8]) throws(MemStoreError) -> StoredEntry? {
        var newest = try memstore.get(store, key)
        var foreign: LoggedRecord?
        for place in 0..<gaps.folded[store].count where gaps.folded[store][place].record.key == key {
            foreign = gaps.folded[store][place]
        }
        if let foreign { newest = foreign.write(to: store).entry }
        guard let entry = overlays[store][key], let place = pending.offset(of: entry.command) else { return newest }
        // An own record that is acknowledged stands where it says; one that is not comes behind all that was read.
        let offset = pending[place].writes[entry.write].offset
        if let foreign, offset < foreign.offset, isAcknowledged(entry.command, entry.write, store) { return newest }
        return entry.stored
    }

    /// Whether the log's word on a write that is on its way has come: acks come in the order of the records.
    private func isAcknowledged(_ command: UInt64, _ write: Int, _ changelog: Int) -> Bool {
        guard let next = awaited[changelog].first else { return true }
        return (command, write) < (next.command, next.write)
    }

    // MARK: - Applying

    /// Puts a command into the batch, and what others wrote before and between its records, in the order of the log.
    func interleave(_ command: Pending, _ batch: inout Batch) {
        for write in command.writes {
            fold(before: write.offset, of: write.store, &batch)
            batch.add(write)
        }
    }

    /// Puts into the batch what others wrote to a changelog before `offset`.
    private func fold(before offset: Offset, of changelog: Int, _ batch: inout Batch) {
        while !gaps.folded[changelog].isEmpty, gaps.folded[changelog][0].offset < offset,
            let record = gaps.folded[changelog].popFirst()
        {
            batch.isEmpty = false
            batch.next.places[changelog].next = record.offset.next
            batch.next.places[changelog].last = record.offset
            batch.next.places[changelog].fingerprint = record.fingerprint
            batch.add(record.write(to: changelog), Version(at: record.offset), record.record.headers.tags)
        }
    }

    /// Puts into the batch what others wrote behind the own records in it, up to the next own record that has to wait.
    func foldRest(_ count: Int, _ batch: inout Batch) {
        guard gaps.hasFolded else { return }
        var isDone = true
        for changelog in stores.indices where gaps.ends[changelog] > batch.next.places[changelog].next {
            let waiting = firstAcknowledged(changelog, from: count)
            let end = waiting.map { min($0, gaps.ends[changelog]) } ?? gaps.ends[changelog]
            if end < gaps.ends[changelog] { isDone = false }
            fold(before: end, of: changelog, &batch)
            guard end > batch.next.places[changelog].next else { continue }
            batch.next.places[changelog].next = end
            batch.isEmpty = false
        }
        if isDone { gaps.hasFolded = false }
    }

    /// The first own record of a changelog that is acknowledged and waits for a command before it.
    private func firstAcknowledged(_ changelog: Int, from first: Int) -> Offset? {
        for place in first..<pending.count {
            let command = pending.firstNumber + UInt64(place)
            for (index, write) in pending[place].writes.enumerated() where write.store == changelog {
                return isAcknowledged(command, index, changelog) ? write.offset : nil
            }
        }
        return nil
    }

    /// Keeps what a command of the own epoch leaves unsettled, and what its `a` covers (R3).
    func cover(_ command: Pending, _ next: inout Checkpoint) {
        // A command without records has brought no `a` into the log: what it knew of, no reader knows.
        guard !command.writes.isEmpty else { return }
        next.acknowledged = max(next.acknowledged, command.covers)
        next.number = max(next.number, command.number)
        unsettled.cover(upTo: next.acknowledged)
        for write in command.writes {
            if !write.isControl {
                unsettled.apply(
                    write.store, write.key, number: command.number, offset: write.offset, appended: next.level,
                    isRewrite: next.isOpen)
            } else if next.isOpen {
                // C4: the settled stands in every changelog.
                next.isOpen = false
                unsettled.settle()
            }
        }
    }

    /// The outcome of a request with an idempotency key names the version of what it wrote. If a foreign record has
    /// moved that, the outcome is written again (§9), and repeats that wait are told.
    func correct(_ command: Pending) {
        for place in 0..<pending.count where pending[place].repeats == pending.firstNumber &- 1 {
            pending[place].repeated = command.version
        }
        let index = AnsweredRequests.storeIndex
        // Not if the name was used again, or its outcome removed, since. That it was overwritten with itself is no use.
        guard let write = command.writes.first(where: { $0.store == index && $0.value != nil }),
            let value = write.value,
            let newest = overlays[index][write.key].map(\.value)
                ?? (try? memstore.get(index, write.key))?.value, newest == value,
            var outcome = AnsweredRequests.Outcome(bytes: value)
        else { return }
        outcome.version = command.version
        append(Write(store: index, key: write.key, value: outcome.bytes, time: write.time, tags: []))
    }
}
