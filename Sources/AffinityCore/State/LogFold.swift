/// How the records of a partition's changelogs become its state: the rules R1 to R4 of PROTOCOL §3, as a value.
///
/// One reader serves bootstrap, catch-up of a claimant and standby. Pages of the changelogs go in, in any turn; what
/// is decided comes out as writes for the memstore, in the order of the log, and moves the checkpoint. What cannot be
/// decided yet waits here: an incomplete command, or everything behind the claim of an epoch that has not settled.
struct LogFold {
    /// What has been read of a changelog and is not decided.
    fileprivate struct Tail {
        var records = Queue<LoggedRecord>()
        /// Behind what was read, holes included.
        var read: Offset
        /// The highest epoch among what was read.
        var epoch: Epoch
        /// Commands of that epoch up to this one have no record in the changelog that was not read: one that was handed
        /// over later was.
        var passed: UInt64 = 0
        /// The first settled of each epoch that was the highest when it was read.
        var settleds: [(epoch: Epoch, place: UInt64, acknowledged: UInt64)] = []
        /// The last record that was decided on since the checkpoint was made.
        var last: LoggedRecord?
    }

    private var tails: [Tail]
    private let controlKeys: [[UInt8]]
    /// The greatest `a` of the current epoch that was read.
    private var covered: UInt64
    /// The ends as they were looked up, and looked up again: what a record before the first ones covers stands before the
    /// second ones.
    private var ends: (first: [Offset], second: [Offset])?
    /// The greatest `a` of the current epoch that was read before the first ends.
    private var coveredBefore: UInt64 = 0

    init(_ checkpoint: Checkpoint, controlKeys: [[UInt8]]) {
        tails = checkpoint.places.map { Tail(read: $0.next, epoch: checkpoint.epoch) }
        self.controlKeys = controlKeys
        covered = checkpoint.acknowledged
    }

    /// Where to read on in a changelog.
    func next(_ changelog: Int) -> Offset { tails[changelog].read }

    /// How many records of a changelog wait for a decision.
    func waiting(_ changelog: Int) -> Int { tails[changelog].records.count }

    /// The highest epoch that was read.
    var highest: Epoch { tails.reduce(.none) { max($0, $1.epoch) } }

    /// Whether a record of that epoch waits at another place than its claims'.
    func holds(_ epoch: Epoch, besides claims: [Offset]) -> Bool {
        for (tail, claim) in zip(tails, claims) {
            for place in 0..<tail.records.count where tail.records[place].offset != claim {
                if tail.records[place].record.headers.stamp?.epoch == epoch { return true }
            }
        }
        return false
    }

    /// The number that the first control record of the first changelog gives the log, if that was read before `claim`.
    ///
    /// Whoever claims a new log goes by it, so that two that claim it at once agree, whichever of them settles.
    func firstNumber(before claim: Offset) -> UInt64? {
        guard let tail = tails.first else { return nil }
        for place in 0..<tail.records.count where tail.records[place].offset < claim {
            let record = tail.records[place].record
            guard record.key == controlKeys[0], record.headers.stamp != nil else { continue }
            if let number = record.value.flatMap(ControlRecord.init(bytes:))?.logNumber { return number }
        }
        return nil
    }

    /// What the rules have decided.
    struct Decisions {
        var writes: [MemStoreWrite] = []
        /// What those who watch are told of each.
        var notes: [ChangeFeed.Note] = []
        /// The epochs that have settled.
        var settled: [Epoch] = []
        /// Control records, for the log's identity.
        var controls: [(changelog: Int, record: LoggedRecord)] = []

        mutating func add(
            _ logged: LoggedRecord, _ changelog: Int, _ standing: ChangeFeed.Note.Standing = .valid
        ) {
            writes.append(logged.write(to: changelog))
            notes.append(
                .init(version: Version(at: logged.offset), tags: logged.record.headers.tags, standing: standing))
        }
    }

    /// On a log that only one process writes to, everything that stands there is as good as acknowledged.
    static func everything(
        in page: LogPage, of changelog: Int, _ controlKey: [UInt8], _ checkpoint: inout Checkpoint
    ) -> Decisions {
        var decisions = Decisions()
        decisions.writes.reserveCapacity(page.records.count)
        decisions.notes.reserveCapacity(page.records.count)
        for logged in page.records {
            if let stamp = logged.record.headers.stamp { checkpoint.epoch = max(checkpoint.epoch, stamp.epoch) }
            if logged.record.key == controlKey {
                decisions.controls.append((changelog, logged))
            } else {
                decisions.add(logged, changelog)
            }
        }
        checkpoint.places[changelog].next = page.next
        checkpoint.places[changelog].covered = page.next
        if let last = page.records.last {
            checkpoint.places[changelog].last = last.offset
            checkpoint.places[changelog].fingerprint = last.fingerprint
        }
        return decisions
    }

    // MARK: - Reading

    /// Takes a page in, and decides what can be decided.
    mutating func take(
        _ page: LogPage, of changelog: Int, _ checkpoint: inout Checkpoint, _ unsettled: inout UnsettledKeys
    ) -> Decisions {
        for record in page.records where record.offset >= tails[changelog].read { take(record, changelog, checkpoint) }
        tails[changelog].read = max(tails[changelog].read, page.next)
        return decide(&checkpoint, &unsettled)
    }

    /// The changelogs end there: `second` was looked up after `first` was known. What is decided after this goes by it.
    mutating func note(ends first: [Offset], _ second: [Offset]) {
        ends = (first, second)
        // What was read before these ends were looked up stands before them.
        if zip(tails, first).allSatisfy({ $0.read <= $1 }) { coveredBefore = covered }
    }

    private mutating func take(_ record: LoggedRecord, _ changelog: Int, _ checkpoint: Checkpoint) {
        if let stamp = record.record.headers.stamp {
            if stamp.epoch > tails[changelog].epoch {
                (tails[changelog].epoch, tails[changelog].passed) = (stamp.epoch, 0)
            }
            if stamp.epoch == tails[changelog].epoch {
                let before = stamp.number > 0 ? stamp.number - 1 : 0
                tails[changelog].passed = max(tails[changelog].passed, before, stamp.acknowledged)
                if stamp.epoch == checkpoint.epoch { cover(upTo: stamp, record.offset, changelog) }
                if stamp.number == 0 { takeControl(record, stamp, changelog) }
            }
        }
        tails[changelog].records.append(record)
    }

    /// What a record of the current epoch says is acknowledged.
    private mutating func cover(upTo stamp: RecordStamp, _ offset: Offset, _ changelog: Int) {
        covered = max(covered, stamp.acknowledged)
        if let ends, offset < ends.first[changelog] { coveredBefore = max(coveredBefore, stamp.acknowledged) }
    }

    private mutating func takeControl(_ record: LoggedRecord, _ stamp: RecordStamp, _ changelog: Int) {
        guard record.record.key == controlKeys[changelog],
            record.record.value.flatMap(ControlRecord.init(bytes:))?.kind == .settled,
            tails[changelog].settleds.last?.epoch != stamp.epoch
        else { return }
        tails[changelog].settleds.append(
            (stamp.epoch, tails[changelog].records.nextNumber, stamp.acknowledged))
    }

    /// Decides what can be decided of what was read.
    mutating func decide(_ checkpoint: inout Checkpoint, _ unsettled: inout UnsettledKeys) -> Decisions {
        var decisions = Decisions()
        while let epoch = settledEverywhere(checkpoint) { settle(epoch, &checkpoint, &unsettled, &decisions) }
        // Until a higher epoch has settled, nothing further is applied (R2).
        let isWaiting = checkpoint.isOpen || tails.contains { $0.epoch > checkpoint.epoch }
        if !isWaiting { applyCommands(&checkpoint, &unsettled, &decisions) }
        mark(&checkpoint, unsettled)
        return decisions
    }

    // MARK: - R1, R3, R4

    /// Applies command by command, as long as each is complete or covered. Stops before a record of a higher epoch.
    private mutating func applyCommands(
        _ checkpoint: inout Checkpoint, _ unsettled: inout UnsettledKeys, _ decisions: inout Decisions
    ) {
        cover(covered, &checkpoint, &unsettled)
        let passed = passed(checkpoint)
        var last = max(checkpoint.number, passed)
        while true {
            for changelog in tails.indices { pass(changelog, last, &checkpoint, &unsettled, &decisions) }
            last = max(checkpoint.number, passed) &+ 1
            guard isComplete(last, checkpoint.epoch) else { return }
        }
    }

    /// The last command that is covered, and of which no changelog has a record that was not read: what is missing of it
    /// and of those before was compacted away.
    private func passed(_ checkpoint: Checkpoint) -> UInt64 {
        tails.indices.reduce(covered) { passed, changelog in
            let tail = tails[changelog]
            if tail.epoch > checkpoint.epoch { return passed }
            let isRead = ends.map { tail.read >= $0.second[changelog] } ?? false
            return min(passed, max(tail.epoch == checkpoint.epoch ? tail.passed : 0, isRead ? coveredBefore : 0))
        }
    }

    /// Goes over the records at the head of a changelog up to the first of a command behind `last`.
    private mutating func pass(
        _ changelog: Int, _ last: UInt64, _ checkpoint: inout Checkpoint, _ unsettled: inout UnsettledKeys,
        _ decisions: inout Decisions
    ) {
        while !tails[changelog].records.isEmpty {
            let stamp = tails[changelog].records[0].record.headers.stamp
            if let stamp {
                if stamp.epoch > checkpoint.epoch { return }
                if stamp.epoch == checkpoint.epoch, stamp.number > last { return }
            }
            let record = pop(changelog, &checkpoint)
            if let stamp, stamp.epoch < checkpoint.epoch {
                drop(record, changelog, &unsettled)
            } else {
                put(record, changelog, stamp?.number ?? 0, &checkpoint, &unsettled, &decisions)
            }
        }
    }

    /// Whether all records of command `number` stand at the heads of the changelogs.
    private func isComplete(_ number: UInt64, _ epoch: Epoch) -> Bool {
        var found: UInt32 = 0
        var expected: UInt32?
        for tail in tails {
            var place = 0
            while place < tail.records.count {
                let stamp = tail.records[place].record.headers.stamp
                place += 1
                guard let stamp, stamp.epoch >= epoch else { continue }
                if stamp.epoch > epoch { break }
                if stamp.number == 0 { continue }
                guard stamp.number == number else { break }
                found &+= 1
                expected = stamp.count
            }
        }
        guard let expected else { return false }
        return found >= expected
    }

    // MARK: - R2

    /// The highest epoch whose settled was read in every changelog, if it ends what is applied now.
    private func settledEverywhere(_ checkpoint: Checkpoint) -> Epoch? { settled(checkpoint).max() }

    /// The epochs whose settled was read in every changelog.
    private func settled(_ checkpoint: Checkpoint) -> [Epoch] {
        guard let first = tails.first else { return [] }
        let candidates = first.settleds.map(\.epoch).filter {
            $0 > checkpoint.epoch || (checkpoint.isOpen && $0 == checkpoint.epoch)
        }
        return candidates.filter { epoch in tails.allSatisfy { $0.settleds.contains { $0.epoch == epoch } } }
    }

    /// Applies everything up to the settled of `epoch` that is not stale, and goes on in that epoch.
    private mutating func settle(
        _ epoch: Epoch, _ checkpoint: inout Checkpoint, _ unsettled: inout UnsettledKeys,
        _ decisions: inout Decisions
    ) {
        let former = checkpoint.epoch
        let settled = settled(checkpoint)
        decisions.settled += settled
        let judgement = judge(epoch, settled, checkpoint)
        let ends = tails.map { tail in tail.settleds.first { $0.epoch == epoch } ?? (epoch, 0, 0) }
        // What the former epoch has covered, as far as it was read, is not in doubt (R3).
        if !checkpoint.isOpen { cover(covered, &checkpoint, &unsettled) }
        enter(epoch, isOpen: false, &checkpoint, &unsettled)
        covered = ends.reduce(0) { max($0, $1.acknowledged) }
        cover(covered, &checkpoint, &unsettled)
        // What only some of the settleds cover may have records behind the others.
        let last = ends.reduce(covered) { min($0, $1.acknowledged) }
        for changelog in tails.indices {
            var highest = former
            while tails[changelog].records.firstNumber <= ends[changelog].place, !tails[changelog].records.isEmpty {
                let stamp = tails[changelog].records[0].record.headers.stamp
                // The batch ends before the first record of the new epoch that not all settleds cover; R1 goes on there.
                if let stamp, stamp.epoch == epoch, stamp.number > last { break }
                let record = pop(changelog, &checkpoint)
                if let stamp, stamp.epoch < highest {
                    drop(record, changelog, &unsettled)
                    continue
                }
                highest = max(highest, stamp?.epoch ?? .none)
                // What is of lower epochs counts as covered: C3 has overwritten every doubtful record.
                let number = stamp?.epoch == epoch ? stamp?.number ?? 0 : 0
                put(
                    record, changelog, number, &checkpoint, &unsettled, &decisions,
                    judgement.standing(of: stamp, under: epoch))
            }
            tails[changelog].settleds.removeAll { $0.epoch <= epoch }
        }
        for (changelog, tail) in tails.enumerated() {
            for place in 0..<tail.records.count {
                guard let stamp = tail.records[place].record.headers.stamp else { continue }
                if stamp.epoch > epoch { break }
                if stamp.epoch == epoch { cover(upTo: stamp, tail.records[place].offset, changelog) }
            }
        }
    }

    /// What claimants have found of the epochs before their own (C2): who watches is told only what counts, and the batch
    /// of a settled has what does not count as well.
    private struct Judgement {
        /// Of each epoch that has served, the command up to which everything is complete.
        var last: [Epoch: UInt64] = [:]
        /// Whether compaction may have taken something that made a command, or a whole epoch, count.
        var hasHoles = false

        func standing(of stamp: RecordStamp?, under epoch: Epoch) -> ChangeFeed.Note.Standing {
            guard let stamp, stamp.epoch < epoch else { return .valid }
            if let last = last[stamp.epoch], stamp.number <= last { return .valid }
            return hasHoles ? .doubtful : .void
        }
    }

    /// - Parameter settled: the epochs that have settled, `epoch` and some before it. One that has not is void.
    private func judge(_ epoch: Epoch, _ settled: [Epoch], _ checkpoint: Checkpoint) -> Judgement {
        struct Command: Hashable { var epoch: Epoch; var number: UInt64 }
        var judgement = Judgement()
        for served in settled where served < epoch { judgement.last[served] = 0 }
        if !checkpoint.isOpen { judgement.last[checkpoint.epoch] = max(checkpoint.number, covered) }
        var commands: [Command: (found: UInt32, expected: UInt32)] = [:]
        for (changelog, tail) in tails.enumerated() {
            var next = checkpoint.places[changelog].next
            var highest = checkpoint.epoch
            for place in 0..<tail.records.count {
                let (offset, stamp) = (tail.records[place].offset, tail.records[place].record.headers.stamp)
                if offset != next { judgement.hasHoles = true }
                next = offset.next
                guard let stamp else { continue }
                if stamp.epoch >= epoch { break }
                // What is stale says nothing.
                guard stamp.epoch >= highest else { continue }
                highest = stamp.epoch
                guard let last = judgement.last[stamp.epoch] else { continue }
                judgement.last[stamp.epoch] = max(last, stamp.acknowledged)
                commands[Command(epoch: stamp.epoch, number: stamp.number), default: (0, stamp.count)].found &+= 1
            }
        }
        for (served, last) in judgement.last {
            var last = last
            while let next = commands[Command(epoch: served, number: last &+ 1)], next.found >= next.expected {
                last &+= 1
            }
            judgement.last[served] = last
        }
        return judgement
    }

    // MARK: - C2

    /// Ends the reading of a claimant whose claims stand at `claims`: what is complete before them is valid, all that
    /// follows is void, and the claimant's epoch begins.
    ///
    /// Everything before the claims has been taken in; what was read behind them is left for later.
    mutating func conclude(
        _ epoch: Epoch, claims: [Offset], _ checkpoint: inout Checkpoint, _ unsettled: inout UnsettledKeys
    ) -> Decisions {
        for (changelog, claim) in claims.enumerated() {
            tails[changelog].cut(at: claim)
            // Whatever the former master has had acknowledged stands before the claims.
            tails[changelog].passed = .max
        }
        var decisions = decide(&checkpoint, &unsettled)
        if !checkpoint.isOpen { applyCommands(&checkpoint, &unsettled, &decisions) }
        for changelog in tails.indices {
            while !tails[changelog].records.isEmpty {
                let record = pop(changelog, &checkpoint)
                if record.record.headers.stamp == nil {
                    put(record, changelog, 0, &checkpoint, &unsettled, &decisions)
                } else {
                    drop(record, changelog, &unsettled)
                }
            }
            checkpoint.places[changelog].next = claims[changelog].next
        }
        enter(epoch, isOpen: true, &checkpoint, &unsettled)
        mark(&checkpoint, unsettled)
        return decisions
    }

    // MARK: - What is done with a record

    private mutating func pop(_ changelog: Int, _ checkpoint: inout Checkpoint) -> LoggedRecord {
        guard let record = tails[changelog].records.popFirst() else { preconditionFailure("looked at before") }
        checkpoint.places[changelog].next = record.offset.next
        tails[changelog].last = record
        return record
    }

    private func put(
        _ logged: LoggedRecord, _ changelog: Int, _ number: UInt64, _ checkpoint: inout Checkpoint,
        _ unsettled: inout UnsettledKeys, _ decisions: inout Decisions,
        _ standing: ChangeFeed.Note.Standing = .valid
    ) {
        if logged.record.key == controlKeys[changelog] {
            // The settled of an epoch that never settled everywhere does not name the log: whoever claimed after it
            // did not go by it either.
            if logged.record.headers.stamp?.epoch == checkpoint.epoch { decisions.controls.append((changelog, logged)) }
            return
        }
        decisions.add(logged, changelog, standing)
        // A foreign record settles nothing: an unsettled key stays one.
        guard logged.record.headers.stamp != nil else { return }
        if number <= checkpoint.acknowledged {
            unsettled.applyCovered(changelog, logged.record.key)
        } else {
            unsettled.apply(
                changelog, logged.record.key, number: number, offset: logged.offset, appended: logged.appended)
        }
        checkpoint.number = max(checkpoint.number, number)
    }

    private func drop(_ logged: LoggedRecord, _ changelog: Int, _ unsettled: inout UnsettledKeys) {
        if logged.record.key == controlKeys[changelog] { return }
        unsettled.drop(changelog, logged.record.key, at: logged.offset, appended: logged.appended)
    }

    private mutating func enter(
        _ epoch: Epoch, isOpen: Bool, _ checkpoint: inout Checkpoint, _ unsettled: inout UnsettledKeys
    ) {
        unsettled.endEpoch()
        (checkpoint.epoch, checkpoint.isOpen, checkpoint.number, checkpoint.acknowledged) = (epoch, isOpen, 0, 0)
        (covered, coveredBefore) = (0, 0)
    }

    private func cover(_ acknowledged: UInt64, _ checkpoint: inout Checkpoint, _ unsettled: inout UnsettledKeys) {
        guard acknowledged > checkpoint.acknowledged else { return }
        checkpoint.acknowledged = acknowledged
        unsettled.cover(upTo: acknowledged)
    }

    /// Writes into the checkpoint how far each changelog is decided.
    private mutating func mark(_ checkpoint: inout Checkpoint, _ unsettled: UnsettledKeys) {
        for changelog in tails.indices {
            if tails[changelog].records.isEmpty {
                checkpoint.places[changelog].next = max(checkpoint.places[changelog].next, tails[changelog].read)
            }
            if let last = tails[changelog].last.take() {
                checkpoint.places[changelog].last = last.offset
                checkpoint.places[changelog].fingerprint = last.fingerprint
            }
        }
        checkpoint.note(unsettled)
    }
}

extension LogFold.Tail {
    /// Forgets what was read from `offset` on.
    fileprivate mutating func cut(at offset: Offset) {
        while let last = records.last, last.offset >= offset { records.removeLast() }
        settleds.removeAll { $0.place >= records.nextNumber }
        read = min(read, offset)
    }
}

extension LoggedRecord {
    /// What the record does to the memstore; the event time of a foreign one is that of its append (R4).
    func write(to store: Int) -> MemStoreWrite {
        let time = record.headers.time ?? appended
        let version = Version(at: offset)
        return MemStoreWrite(
            store: store, key: record.key,
            entry: record.value.map { StoredEntry(value: $0, version: version, time: time) })
    }
}
