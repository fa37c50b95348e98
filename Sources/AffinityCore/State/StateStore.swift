/// The state of one partition, and the **only place that orders append, ack, apply and reply**.
///
/// A command runs on the overlay of those before it (`begin`, the handler, `submit`); its records go to the log at
/// once. When the log has acknowledged them and everything before them, `acknowledge` applies the writes to the
/// memstore in one batch together with the position, drops them from the overlay, announces the changes and releases
/// the answers, in that order and in one turn (PROTOCOL W2, W4).
///
/// This file has that order; beside it are what is on its way (`+Pending`), the open command (`+Transaction`), scans (`+Scan`), the encoded and decoded
/// entries (`+Typed`), restoring (`+Restore`), and deadlines and giving up (`+Waiting`).
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
    private let log: any PartitionLog
    let node: NodeID
    /// Whether the memstore held something when it was opened.
    let wasResumed: Bool
    /// What was found damaged in the memstore; it must not be gone on with.
    var damage: String?

    // Exclusive access is not checked at run time for what follows: it took an eighth of a command. The store belongs
    // to one replica, and no code of a user's runs while one of these is being changed.

    /// How far the memstore is, and the last record applied in each changelog.
    @exclusivity(unchecked) var applied: Checkpoint
    /// The offsets of `applied`, made once a batch because every answer carries them.
    @exclusivity(unchecked) @usableFromInline var position: Position
    private(set) var epoch = Epoch.none
    @exclusivity(unchecked) var overlays: [Overlay]
    @exclusivity(unchecked) var pending = Queue<Pending>()
    /// For each changelog, the commands whose acks are still to come, one entry a record.
    @exclusivity(unchecked) private var awaited: [Queue<UInt64>]
    /// The offset that the next record handed over must get, and the one that the next ack must name.
    @exclusivity(unchecked) var nextOffsets: [Offset]
    @exclusivity(unchecked) var ackOffsets: [Offset]
    /// `n` of the last command, and `a`: that of the last acknowledged one.
    @exclusivity(unchecked) private var number: UInt64 = 0
    @exclusivity(unchecked) private var acknowledged: UInt64 = 0
    @exclusivity(unchecked) @usableFromInline var pendingBytes = 0
    @exclusivity(unchecked) private var observers: [(Change) -> Void] = []
    @exclusivity(unchecked) var positionWaiters: [(position: Position, deadline: MonotonicTime, waiter: Waiter)] = []
    @exclusivity(unchecked) @usableFromInline var answered: AnsweredRequests
    /// The command that runs.
    @exclusivity(unchecked) var open: OpenCommand
    @usableFromInline let random: RandomSource

    init(
        partition: PartitionID, stores: [AnyStore], memstore: any MemStore, log: any PartitionLog,
        checkpoint: Checkpoint, node: NodeID, clock: any NodeClock, random: RandomSource, limits: StateLimits,
        wasResumed: Bool, route: @escaping ([UInt8]) -> Int, deliver: @escaping ([any Event], [EffectWork]) -> Void
    ) {
        self.partition = partition
        self.stores = stores
        self.memstore = memstore
        self.log = log
        self.node = node
        self.clock = clock
        self.random = random
        self.limits = limits
        self.route = route
        self.deliver = deliver
        self.wasResumed = wasResumed
        applied = checkpoint
        overlays = stores.map { Overlay(isOrdered: $0.isOrdered) }
        awaited = stores.map { _ in Queue() }
        nextOffsets = checkpoint.places.map(\.next)
        ackOffsets = nextOffsets
        position = Position(nextOffsets)
        answered = AnsweredRequests(window: limits.idempotency)
        open = OpenCommand()
    }

    /// The end of the log: the offsets that the next records will get.
    var end: Position { Position(ackOffsets) }
    var isIdle: Bool { pending.isEmpty }
    @usableFromInline var pendingCount: Int { pending.count }

    // MARK: - Handing over

    /// Begins an epoch: from now on commands are numbered within it.
    func begin(_ epoch: Epoch, newLog: UInt64) {
        precondition(epoch > applied.epoch, "an epoch is above every epoch that was read")
        self.epoch = epoch
        number = 0
        acknowledged = 0
        if applied.log == 0 { applied.log = newLog }
    }

    /// Appends a claim (C1) or a settled (C4) to every changelog; `body` hears when all are acknowledged, or will
    /// not be.
    func appendControl(_ kind: ControlRecord.Kind, _ body: @escaping (Settlement) -> Void) {
        let value = ControlRecord(kind, log: applied.log, node: node).bytes
        begin()
        for store in stores.indices {
            let write = Write(
                store: store, key: stores[store].controlKey, value: value, time: now, tags: [],
                offset: nextOffsets[store], isControl: true)
            nextOffsets[store] = write.offset.next
            open.writes.append(write)
        }
        hand(number: 0, deadline: .never, traceparent: nil, .call(body), lost: .unknown)
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
        hand(
            number: number, deadline: deadline, traceparent: traceparent,
            continuation.map(Waiter.continuation) ?? .nobody, lost: isEmpty && !isReplay ? .notApplied : .unknown)
    }

    private func hand(
        number: UInt64, deadline: MonotonicTime, traceparent: String?, _ waiter: Waiter, lost: AskError.Outcome
    ) {
        let writes = open.takeWrites()
        let command = Pending(
            writes: writes, unacknowledged: writes.count, number: number, bytes: open.bytes, version: open.version,
            deadline: deadline, waiter: waiter, events: open.takeEvents(), effects: open.takeEffects(), lost: lost)
        let arrival = pending.nextNumber
        pendingBytes += open.bytes
        open.reset()
        pending.append(command)
        if writes.isEmpty {
            settle()
        } else {
            for write in writes { awaited[write.store].append(arrival) }
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
    ///
    /// - Returns: why the replica must step down, if it must.
    func acknowledge(_ acks: [LogAck]) -> StepDown? {
        for ack in acks {
            if let stepDown = take(ack) { return settle() ?? stepDown }
        }
        return settle()
    }

    private func take(_ ack: LogAck) -> StepDown? {
        let offset: Offset
        switch ack.result {
        case .success(let good): offset = good
        case .failure(let error):
            // A record that the log does not take leaves it as it was: the next epoch goes on behind it.
            let isRetriable = error.isRetriable || error.code == .tooLarge
            return StepDown(reason: "the log failed: \(error.reason)", isRetriable: isRetriable)
        }
        let expected = ackOffsets[ack.changelog]
        guard offset == expected, let arrival = awaited[ack.changelog].popFirst() else {
            let name = stores[ack.changelog].name
            return StepDown(
                reason: "\(name): acknowledged at \(offset) instead of \(expected): somebody else wrote",
                isRetriable: true)
        }
        ackOffsets[ack.changelog] = offset.next
        if let place = pending.offset(of: arrival) { pending[place].unacknowledged -= 1 }
        return nil
    }

    /// Applies the commands at the head of the queue whose records are all acknowledged, and answers them in order.
    @discardableResult private func settle() -> StepDown? {
        var count = 0
        while count < pending.count, pending[count].unacknowledged == 0 { count += 1 }
        guard count > 0 else { return nil }
        var changes: [Change] = []
        do throws(MemStoreError) { changes = try apply(count) } catch {
            release(count, failure: "durable, but not applied here: \(error.reason)")
            if error.code == .corrupt { damage = error.reason }
            return StepDown(
                reason: "the memstore failed: \(error.reason)", isRetriable: error.isRetriable || damage != nil)
        }
        for change in changes { for observer in observers { observer(change) } }
        release(count, failure: nil)
        releasePositionWaiters()
        return nil
    }

    /// One batch into the memstore together with the position; then the overlay lets go of it.
    private func apply(_ count: Int) throws(MemStoreError) -> [Change] {
        var batch: [MemStoreWrite] = []
        batch.reserveCapacity(count)
        var next = applied
        var isEmpty = true
        for place in 0..<count {
            acknowledged = max(acknowledged, pending[place].number)
            for write in pending[place].writes {
                isEmpty = false
                next.places[write.store].next = write.offset.next
                guard !write.isControl else { continue }
                let version = Version(at: write.offset)
                batch.append(
                    MemStoreWrite(
                        store: write.store, key: write.key,
                        entry: write.value.map { StoredEntry(value: $0, version: version, time: write.time) }))
            }
        }
        guard !isEmpty else { return [] }
        next.epoch = epoch
        next.level = clock.now
        mark(&next, count)
        let reached = Position(next.places.map(\.next))
        let changes = observers.isEmpty ? [] : try self.changes(count)
        try memstore.commit(batch, checkpoint: next.bytes)
        (applied, position) = (next, reached)
        dropFromOverlay(count)
        return changes
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
                command.waiter.release(failed(.unknown, .failed, failure))
            } else {
                command.waiter.release(Settlement(position: position, version: command.version))
                if !command.events.isEmpty || !command.effects.isEmpty { deliver(command.events, command.effects) }
            }
        }
    }

    // MARK: - Observers

    /// Registers for every change from now on, each once, in the order in which they are applied.
    func observe(_ body: @escaping (Change) -> Void) { observers.append(body) }
}
