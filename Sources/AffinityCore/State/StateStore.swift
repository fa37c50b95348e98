/// The state of one partition, and the **only place that orders append, ack, apply and reply**.
///
/// A command runs on the overlay of those before it (`begin`, the handler, `submit`); its records go to the log at
/// once. When the log has acknowledged them and everything before them, `acknowledge` applies the writes to the
/// memstore in one batch together with the position, drops them from the overlay, announces the changes and releases
/// the answers, in that order and in one turn (PROTOCOL W2, W4).
///
/// This file has that order; beside it are what is on its way (`+Pending`), the open command (`+Transaction`), scans
/// (`+Scan`), the encoded and decoded entries (`+Typed`), reading the log (`+Restore`), claiming it (`+Claim`), what
/// others write to it (`+Gap`), and deadlines and giving up (`+Waiting`).
///
/// Confined to its replica. Called by `PartitionCore` and, through `Transaction` and `View`, by the handlers; calls
/// the memstore and the log.
@usableFromInline final class StateStore {
    /// How a command ended, as far as the log decides it.
    @usableFromInline struct Settlement: Sendable {
        /// How far the partition was applied when the answer was released.
        @usableFromInline var position: Position
        /// The version of the entry that the command wrote last.
        @usableFromInline var version: Version
        /// Whether the command had no records, so that the log has said nothing of it.
        @usableFromInline var isEmpty = false
        /// Whether it may have been told a version that was foretold and turned out to be another one. It wrote nothing:
        /// then it is run again.
        @usableFromInline var isOutdated = false
        /// What went wrong; `nil` for a command that is durable and applied.
        @usableFromInline var failure: AskError?

        @usableFromInline init(position: Position, version: Version = .none, failure: AskError? = nil) {
            self.position = position
            self.version = version
            self.failure = failure
        }
    }

    typealias EffectWork = @Sendable (Effects) async throws -> Void

    let partition: PartitionID
    let stores: [AnyStore]
    let limits: StateLimits
    let clock: any NodeClock
    let route: (_ routingBytes: [UInt8]) -> Int
    private let deliver: ([any Event], [EffectWork]) -> Void
    let memstore: any MemStore
    let log: any PartitionLog
    /// Gets what is applied, for those who watch. It goes on where this state's position is.
    let feed: ChangeFeed
    /// Whether others may write to the log too: then its rules for gaps, claims and unsettled keys are needed.
    let isShared: Bool
    let node: NodeID
    /// What is counted on the way.
    let meter: ReplicaMeter
    /// Whether the memstore held something when it was opened.
    let wasResumed: Bool
    /// Whether it has been at the end of its log.
    var wasLevel = false
    /// When it was written down last that it is level.
    private(set) var kept: Timestamp
    /// What was found damaged in the memstore; it must not be gone on with.
    var damage: String?
    /// Why nothing more is applied: the memstore has missed a batch.
    private(set) var broken: StepDown?
    /// Whether a reader has decided what did not come into the memstore: then nobody goes on from here.
    var isTorn: Bool { position != applied.position }

    // Exclusive access is not checked at run time for what follows: it took an eighth of a command. The store belongs
    // to one replica, and no code of a user's runs while one of these is being changed.

    /// How far the memstore is, and the last record applied in each changelog.
    @exclusivity(unchecked) var applied: Checkpoint
    /// The offsets of `applied`, made once a batch because every answer carries them.
    @exclusivity(unchecked) @usableFromInline var position: Position
    @exclusivity(unchecked) var epoch = Epoch.none
    /// The keys that the next master rewrites (R3). Empty on a log that is not shared.
    @exclusivity(unchecked) var unsettled: UnsettledKeys
    /// What was read and is not decided (R1, R2).
    var fold: LogFold
    @exclusivity(unchecked) var overlays: [Overlay]
    @exclusivity(unchecked) var pending = Queue<Pending>()
    /// For each changelog, the writes whose acks are still to come: the command's arrival and the place in it.
    @exclusivity(unchecked) var awaited: [Queue<(command: UInt64, write: Int)>]
    /// The offset that the next record handed over must get, and the one that the next ack must name.
    @exclusivity(unchecked) var nextOffsets: [Offset]
    @exclusivity(unchecked) var ackOffsets: [Offset]
    /// `n` of the last command, and `a`: that of the last acknowledged one.
    @exclusivity(unchecked) var number: UInt64 = 0
    @exclusivity(unchecked) var acknowledged: UInt64 = 0
    /// What others wrote between own records, and the claims that are on their way.
    @exclusivity(unchecked) var gaps: Gaps
    @exclusivity(unchecked) var claims: Claims?
    /// Where the claims of the epoch stand.
    var claimed: [Offset] = []
    /// The number that a log gets which has none.
    var newLog: UInt64 = 0
    @exclusivity(unchecked) @usableFromInline var pendingBytes = 0
    @exclusivity(unchecked) var positionWaiters: [(position: Position, deadline: MonotonicTime, waiter: Waiter)] = []
    @exclusivity(unchecked) @usableFromInline var answered: AnsweredRequests
    /// The command that runs.
    @exclusivity(unchecked) var open: OpenCommand
    @usableFromInline let random: RandomSource

    init(
        partition: PartitionID, stores: [AnyStore], memstore: any MemStore, log: any PartitionLog,
        feed: ChangeFeed, isShared: Bool = false, checkpoint: Checkpoint, node: NodeID, clock: any NodeClock,
        random: RandomSource, limits: StateLimits, wasResumed: Bool, meter: ReplicaMeter = ReplicaMeter(),
        route: @escaping ([UInt8]) -> Int,
        deliver: @escaping ([any Event], [EffectWork]) -> Void
    ) {
        self.partition = partition
        self.stores = stores
        self.memstore = memstore
        self.log = log
        self.feed = feed
        self.isShared = isShared
        self.node = node
        self.clock = clock
        self.random = random
        self.limits = limits
        self.meter = meter
        self.route = route
        self.deliver = deliver
        self.wasResumed = wasResumed
        applied = checkpoint
        kept = checkpoint.level
        overlays = stores.map { Overlay(isOrdered: $0.isOrdered) }
        awaited = stores.map { _ in Queue() }
        nextOffsets = checkpoint.places.map(\.next)
        ackOffsets = nextOffsets
        position = Position(nextOffsets)
        unsettled = UnsettledKeys(doubtful: checkpoint.places.map(\.doubtful))
        fold = LogFold(checkpoint, controlKeys: stores.map(\.controlKey))
        gaps = Gaps(changelogs: stores.count)
        answered = AnsweredRequests(window: limits.idempotency)
        open = OpenCommand()
        feed.attach(checkpoint)
    }

    /// The end of the log: the offsets that the next records will get.
    var end: Position { Position(ackOffsets) }
    var isIdle: Bool { pending.isEmpty }
    @usableFromInline var pendingCount: Int { pending.count }

    // MARK: - Handing over

    /// Appends a settled to every changelog (C4, S1, W6, Q3); `body` hears when all are acknowledged, or will not be.
    func appendSettled(_ body: @escaping (Settlement) -> Void) {
        // It will stand behind every stale control record that was found so far.
        gaps.owesSettled = false
        let value = ControlRecord(.settled, log: logNumber, node: node).bytes
        begin()
        for store in stores.indices {
            add(Write(store: store, key: stores[store].controlKey, value: value, time: now, tags: [], isControl: true))
        }
        hand(number: 0, deadline: .never, traceparent: nil, .call(body), lost: .unknown)
    }

    /// Hands over one record that no handler wrote, as a command of its own (C3, S1, §9). Those that follow see it: the
    /// entry gets another version by it, if nothing else.
    func append(_ write: Write) {
        begin()
        add(write)
        number += 1
        let write = open.writes[0]
        _ = overlays[write.store].set(
            write.key,
            Overlay.Entry(
                value: write.value, version: Version(at: write.offset), time: write.time, command: pending.nextNumber,
                write: 0))
        hand(number: number, deadline: .never, traceparent: nil, .nobody, lost: .unknown)
    }

    /// `body` hears when everything that was handed over before is settled, or will not be.
    func afterPending(_ body: @escaping (Settlement) -> Void) {
        begin()
        hand(number: 0, deadline: .never, traceparent: nil, .call(body), lost: .notApplied)
    }

    private func add(_ write: Write) {
        var write = write
        write.offset = nextOffsets[write.store]
        nextOffsets[write.store] = write.offset.next
        open.writes.append(write)
        open.bytes += write.size
    }

    /// Ends the command: hands its records to the log, and queues its answer behind those before it.
    ///
    /// - Parameter isReplay: whether the answer is that of a former request, whose records may still be on their way.
    @usableFromInline func submit(
        deadline: MonotonicTime, traceparent: String?, isReplay: Bool = false,
        _ continuation: UnsafeContinuation<Settlement, Never>?
    ) {
        let isEmpty = open.writes.isEmpty
        if !isEmpty { number += 1 }
        if isReplay { open.sawForetold = false }
        hand(
            number: number, deadline: deadline, traceparent: traceparent,
            continuation.map(Waiter.continuation) ?? .nobody, lost: isEmpty && !isReplay ? .notApplied : .unknown)
    }

    private func hand(
        number: UInt64, deadline: MonotonicTime, traceparent: String?, _ waiter: Waiter, lost: AskError.Outcome
    ) {
        let writes = open.takeWrites()
        let command = Pending(
            writes: writes, unacknowledged: writes.count, number: number, covers: acknowledged, bytes: open.bytes,
            last: open.last, repeats: open.repeats, sawForetold: open.sawForetold,
            sent: writes.isEmpty ? .never : clock.monotonic, deadline: deadline,
            waiter: waiter, events: open.takeEvents(), effects: open.takeEffects(), lost: lost)
        let arrival = pending.nextNumber
        pendingBytes += open.bytes
        open.reset()
        pending.append(command)
        if writes.isEmpty {
            settle()
        } else {
            meter.counts.records &+= UInt64(writes.count)
            meter.counts.recordBytes &+= UInt64(command.bytes)
            for (place, write) in writes.enumerated() { awaited[write.store].append((arrival, place)) }
            log.append(records(of: writes, number, traceparent))
        }
    }

    private func records(of writes: [Write], _ number: UInt64, _ traceparent: String?) -> [OutgoingRecord] {
        let stamp = RecordStamp(epoch: epoch, number: number, count: UInt32(writes.count), acknowledged: acknowledged)
        return writes.map { write in
            let headers = RecordHeaders(stamp: stamp, time: write.time, tags: write.tags, traceparent: traceparent)
            return OutgoingRecord(
                changelog: write.store, record: Record(key: write.key, value: write.value, headers: headers))
        }
    }

    // MARK: - Acknowledgements

    /// Takes the log's word on records, applies what is settled by it, and releases the answers (W3, W4).
    func acknowledge(_ acks: [LogAck]) -> Verdict {
        if claims != nil { return takeClaims(acks) }
        // What stands in a gap comes first.
        guard gaps.reading == nil else {
            gaps.waiting += acks
            return .good
        }
        for index in acks.indices {
            switch take(acks[index]) {
            case .good: break
            case .read(let gap):
                // Others may have written more since this record was handed over.
                startReading(gap, asOf: sent(ack: acks[index]))
                gaps.waiting = Array(acks[index...])
                return settle().or(.read(gap))
            case .stepDown(let stepDown): return settle().or(.stepDown(stepDown))
            }
        }
        return settle()
    }

    /// An ack at the expected offset is good; what lies before one beyond it is somebody else's, and read first (W3).
    private func take(_ ack: LogAck) -> Verdict {
        let offset: Offset
        switch ack.result {
        case .success(let good): offset = good
        case .failure(let error): return .stepDown(StepDown(error))
        }
        let expected = ackOffsets[ack.changelog]
        if isShared, offset > expected { return .read(Gap(changelog: ack.changelog, range: expected..<offset)) }
        guard offset == expected, let written = awaited[ack.changelog].popFirst() else {
            let name = stores[ack.changelog].name
            return .stepDown(
                StepDown(
                    reason: "\(name): acknowledged at \(offset) instead of \(expected): somebody else wrote",
                    isRetriable: true))
        }
        ackOffsets[ack.changelog] = offset.next
        guard let place = pending.offset(of: written.command) else { return .good }
        pending[place].unacknowledged -= 1
        if isShared {
            gaps.contiguous[ack.changelog] = max(gaps.contiguous[ack.changelog], pending[place].sent)
            pending[place].move(written.write, to: offset)
        }
        return .good
    }

    /// When the record was handed over that the ack is for.
    private func sent(ack: LogAck) -> MonotonicTime {
        let command = awaited[ack.changelog].isEmpty ? nil : pending.offset(of: awaited[ack.changelog][0].command)
        return command.map { pending[$0].sent } ?? gaps.contiguous[ack.changelog]
    }

    /// Applies the commands at the head of the queue whose records are all acknowledged, and answers them in order.
    @discardableResult func settle() -> Verdict {
        var count = 0
        while count < pending.count, pending[count].unacknowledged == 0 { count += 1 }
        if let broken { return .stepDown(broken) }
        guard count > 0 || gaps.hasFolded else { return .good }
        do throws(MemStoreError) { try apply(count) } catch {
            release(count, failure: "durable, but not applied here: \(error.reason)")
            if error.code == .corrupt { damage = error.reason }
            let stepDown = StepDown(
                reason: "the memstore failed: \(error.reason)", isRetriable: error.isRetriable || damage != nil)
            broken = stepDown
            return .stepDown(stepDown)
        }
        release(count, failure: nil)
        releasePositionWaiters()
        answerStaleControl()
        return .good
    }

    /// One batch into the memstore together with the position; then the overlay lets go of it, and whoever watches is
    /// told.
    private func apply(_ count: Int) throws(MemStoreError) {
        var batch = Batch(next: applied, count: count)
        batch.next.level = levelAsMaster
        for place in 0..<count {
            acknowledged = max(acknowledged, pending[place].number)
            if isShared { interleave(pending[place], &batch) } else { batch.add(pending[place]) }
            // A log that is not shared gets its number with its first settled; a shared one has it from the claims.
            if pending[place].number == 0, !pending[place].writes.isEmpty { batch.next.log = logNumber }
            if isShared { cover(pending[place], &batch.next) }
        }
        if isShared { foldRest(count, &batch) }
        guard !batch.isEmpty else { return }
        batch.next.epoch = epoch
        mark(&batch.next, count)
        if isShared { batch.next.note(unsettled) }
        let begin = clock.monotonic
        try memstore.commit(batch.writes, checkpoint: batch.next.bytes)
        countApplied(count, batch.writes.count, since: begin)
        let former = applied
        (applied, position) = (batch.next, batch.next.position)
        dropFromOverlay(count)
        feed.take(batch.writes, batch.notes, former: former, now: applied, position)
    }

    /// Keeps the fingerprints of the last records: of each changelog's in the batch, and only of that one, because
    /// the hash reads all of it.
    private func mark(_ next: inout Checkpoint, _ count: Int) {
        var left = stores.indices.reduce(0) { $0 + (next.places[$1].next > applied.places[$1].next ? 1 : 0) }
        for place in (0..<count).reversed() where left > 0 {
            for write in pending[place].writes where write.offset.next == next.places[write.store].next {
                left -= 1
                next.places[write.store].last = write.offset
                next.places[write.store].fingerprint = LoggedRecord.fingerprint(
                    key: write.key, value: write.value, at: write.offset, epoch: epoch)
            }
        }
    }

    /// - Parameters:
    ///   - commands: how many at the head of the queue the batch was of.
    ///   - begin: when the log had acknowledged them all.
    private func countApplied(_ commands: Int, _ changes: Int, since begin: MonotonicTime) {
        meter.counts.applied.add(nanoseconds: clock.monotonic.nanoseconds &- begin.nanoseconds)
        meter.counts.changes &+= UInt64(changes)
        for place in 0..<commands where !pending[place].writes.isEmpty {
            meter.counts.acknowledged.add(nanoseconds: begin.nanoseconds &- pending[place].sent.nanoseconds)
        }
    }

    private func dropFromOverlay(_ count: Int) {
        for place in 0..<count {
            let arrival = pending.firstNumber + UInt64(place)
            for write in pending[place].writes where !write.isControl {
                overlays[write.store].drop(write.key, of: arrival)
            }
        }
    }

    /// Answers the first `count` commands; events and effects leave only for those that are applied.
    private func release(_ count: Int, failure: String?) {
        for _ in 0..<count {
            guard let command = pending.popFirst() else { return }
            pendingBytes -= command.bytes
            if let failure {
                fail(command.waiter, .unknown, .failed, failure)
            } else {
                var settlement = Settlement(position: position, version: command.version)
                settlement.isEmpty = command.writes.isEmpty
                settlement.isOutdated =
                    settlement.isEmpty && command.sawForetold && pending.firstNumber <= gaps.outdated
                    && command.waiter.isCaller
                command.waiter.release(settlement)
                if settlement.isOutdated { continue }
                if !command.events.isEmpty || !command.effects.isEmpty { deliver(command.events, command.effects) }
                if command.hasMoved { correct(command) }
            }
        }
    }

    /// When a master was last known to have everything that stood in its log.
    private var levelAsMaster: Timestamp {
        isShared ? timestamp(of: gaps.contiguous.min() ?? .never) : clock.now
    }

    /// Writes down that the memstore is level with its log, or was when it was last known to be.
    ///
    /// - Parameter isMaster: whether it is level because nobody else writes.
    func keepLevel(isMaster: Bool) throws(MemStoreError) {
        if isMaster { applied.level = levelAsMaster }
        try memstore.commit([], checkpoint: applied.bytes)
        kept = clock.now
    }
}
