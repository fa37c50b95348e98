/// The state of one partition, and the **only place that orders append, ack, apply and reply**.
///
/// A command runs on the overlay of those before it (`begin`, the handler, `submit`); its records go to the log at
/// once. When the log has acknowledged them and everything before them, `acknowledge` applies the writes to the
/// memstore in one batch together with the position, drops them from the overlay, announces the changes and releases
/// the answers, in that order and in one turn (PROTOCOL W2, W4).
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
    }

    /// Who waits for a command. Resumed exactly once: when the command is settled, expires or is abandoned.
    enum Waiter {
        case nobody
        case continuation(UnsafeContinuation<Settlement, Never>)

        func release(_ settlement: Settlement) {
            if case .continuation(let continuation) = self { continuation.resume(returning: settlement) }
        }
    }

    /// One record of a command that is on its way.
    private struct Write {
        var store: Int
        var key: [UInt8]
        var value: [UInt8]?
        var time: Timestamp
        var tags: [String]
        /// Where the record must come to stand (W3).
        var offset: Offset
        var isControl = false
    }

    private struct Pending {
        var writes: [Write]
        var unacknowledged: Int
        var number: UInt64
        var bytes: Int
        var version: Version
        var deadline: MonotonicTime
        var waiter: Waiter
        var events: [any Event]
        var effects: [EffectWork]
    }

    typealias EffectWork = @Sendable (Effects) async throws -> Void

    let partition: PartitionID
    let stores: [AnyStore]
    let limits: StateLimits
    private let clock: any NodeClock
    private let route: (_ routingBytes: [UInt8]) -> Int
    private let deliver: ([any Event], [EffectWork]) -> Void

    private(set) var memstore: any MemStore
    private let log: any PartitionLog
    private let node: NodeID
    /// Whether the memstore held something when it was opened.
    let wasResumed: Bool

    /// How far the memstore is, and the last record applied in each changelog.
    private(set) var applied: Checkpoint
    private(set) var epoch = Epoch.none
    private var overlays: [Overlay]
    private var pending = Queue<Pending>()
    /// For each changelog, the commands whose acks are still to come, one entry a record.
    private var awaited: [Queue<UInt64>]
    /// The offset that the next record handed over must get, and the one that the next ack must name.
    private var nextOffsets: [Offset]
    private var ackOffsets: [Offset]
    /// `n` of the last command, and `a`: that of the last acknowledged one.
    private var number: UInt64 = 0
    private var acknowledged: UInt64 = 0
    private(set) var pendingBytes = 0
    private var observers: [(Change) -> Void] = []
    private var positionWaiters: [(position: Position, deadline: MonotonicTime, waiter: Waiter)] = []
    var answered: AnsweredRequests

    // The command that runs.
    @usableFromInline private(set) var now = Timestamp(milliseconds: 0)
    @usableFromInline let random: RandomSource
    private var writes: [Write] = []
    private var undo: [(store: Int, key: [UInt8], entry: Overlay.Entry?)] = []
    private var events: [any Event] = []
    private var effects: [EffectWork] = []
    private var version = Version.none
    private var refusal: AskError?

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
        overlays = stores.map { _ in Overlay() }
        awaited = stores.map { _ in Queue() }
        nextOffsets = checkpoint.places.map(\.next)
        ackOffsets = nextOffsets
        answered = AnsweredRequests(window: limits.idempotency)
    }

    var position: Position { Position(applied.places.map(\.next)) }
    /// The end of the log: the offsets that the next records will get.
    var end: Position { Position(ackOffsets) }
    var isIdle: Bool { pending.isEmpty }
    var pendingCount: Int { pending.count }

    // MARK: - Reading the log

    /// Applies a page of a changelog that is being restored: of a log whose records are all as good as acknowledged.
    ///
    /// - Throws: `MemStoreError` from the memstore, and `LogError.corrupt` for a record of another log.
    func restore(_ page: LogPage, changelog: Int, isLevel: Bool) throws {
        var batch: [MemStoreWrite] = []
        batch.reserveCapacity(page.records.count)
        let controlKey = stores[changelog].controlKey
        for logged in page.records {
            if let stamp = logged.record.headers.stamp { applied.epoch = max(applied.epoch, stamp.epoch) }
            if logged.record.key == controlKey {
                try takeControl(logged, changelog)
            } else {
                let entry = logged.record.value.map {
                    StoredEntry(
                        value: $0, version: Version(at: logged.offset),
                        time: logged.record.headers.time ?? logged.appended)
                }
                batch.append(MemStoreWrite(store: changelog, key: logged.record.key, entry: entry))
            }
        }
        applied.places[changelog].next = page.next
        if let last = page.records.last {
            applied.places[changelog].last = last.offset
            applied.places[changelog].fingerprint = last.fingerprint
        }
        if isLevel { applied.level = clock.now }
        try memstore.commit(batch, checkpoint: applied.bytes)
        nextOffsets[changelog] = page.next
        ackOffsets[changelog] = page.next
    }

    private func takeControl(_ logged: LoggedRecord, _ changelog: Int) throws(LogError) {
        guard let value = logged.record.value, let control = ControlRecord(bytes: value), let log = control.logNumber
        else { return }
        if applied.log != 0, applied.log != log {
            throw LogError(
                .corrupt,
                "\(partition) \(stores[changelog].name): log \(control.log) at offset \(logged.offset), "
                    + "but the memstore was made from log \(String(applied.log, radix: 16))")
        }
        applied.log = log
    }

    // MARK: - Becoming master

    /// Begins an epoch: from now on commands are numbered within it.
    func begin(_ epoch: Epoch, newLog: UInt64) {
        precondition(epoch > applied.epoch, "an epoch is above every epoch that was read")
        self.epoch = epoch
        number = 0
        acknowledged = 0
        if applied.log == 0 { applied.log = newLog }
    }

    /// Appends a claim (C1) or a settled (C4) to every changelog; `waiter` hears when all are acknowledged.
    func appendControl(_ kind: ControlRecord.Kind, _ continuation: UnsafeContinuation<Settlement, Never>) {
        let value = ControlRecord(kind, log: applied.log, node: node).bytes
        now = clock.now
        for store in stores.indices {
            writes.append(
                Write(
                    store: store, key: stores[store].controlKey, value: value, time: now, tags: [],
                    offset: nextOffsets[store], isControl: true))
        }
        hand(number: 0, envelope: Envelope(), .continuation(continuation))
    }

    // MARK: - Running a command

    /// Opens the transaction of a command, or the view of a query.
    @usableFromInline func begin() {
        now = clock.now
        refusal = nil
    }

    /// What spoiled the handler's run, if anything did. Undoes the command then.
    @usableFromInline func takeRefusal() -> AskError? {
        guard let refusal else { return nil }
        cancel()
        return refusal
    }

    /// Undoes what the command did: the handler threw, or must not be believed.
    @usableFromInline func cancel() {
        for (store, key, entry) in undo.reversed() { overlays[store][key] = entry }
        for write in writes { nextOffsets[write.store] = min(nextOffsets[write.store], write.offset) }
        undo.removeAll(keepingCapacity: true)
        writes.removeAll(keepingCapacity: true)
        events.removeAll()
        effects.removeAll()
        version = .none
        refusal = nil
    }

    /// Ends the command: hands its records to the log, and queues its answer behind those before it.
    @usableFromInline func submit(_ envelope: Envelope, _ continuation: UnsafeContinuation<Settlement, Never>?) {
        if !writes.isEmpty { number += 1 }
        hand(number: number, envelope: envelope, continuation.map(Waiter.continuation) ?? .nobody)
    }

    /// The version of what the command, which still runs, wrote last.
    @usableFromInline var currentVersion: Version { version }

    private func hand(number: UInt64, envelope: Envelope, _ waiter: Waiter) {
        let stamp = RecordStamp(
            epoch: epoch, number: number, count: UInt32(writes.count), acknowledged: acknowledged)
        let arrival = pending.nextNumber
        var records: [OutgoingRecord] = []
        records.reserveCapacity(writes.count)
        var bytes = 0
        for write in writes {
            bytes += write.key.count + (write.value?.count ?? 0)
            awaited[write.store].append(arrival)
            if write.isControl { nextOffsets[write.store] = write.offset.next }
            records.append(
                OutgoingRecord(
                    changelog: write.store,
                    record: Record(
                        key: write.key, value: write.value,
                        headers: RecordHeaders(
                            stamp: stamp, time: write.time, tags: write.tags, traceparent: envelope.traceparent))))
        }
        let command = Pending(
            writes: writes, unacknowledged: writes.count, number: number, bytes: bytes, version: version,
            deadline: envelope.deadline, waiter: waiter, events: events, effects: effects)
        writes = []
        undo.removeAll(keepingCapacity: true)
        if !events.isEmpty { events = [] }
        if !effects.isEmpty { effects = [] }
        version = .none
        pendingBytes += bytes
        pending.append(command)
        if records.isEmpty { _ = settle() } else { log.append(records) }
    }

    // MARK: - Acknowledgements

    /// Takes the log's word on records, applies what is settled by it, and releases the answers (W3, W4).
    ///
    /// - Returns: why the replica must step down, if it must.
    func acknowledge(_ acks: [LogAck]) -> StepDown? {
        for ack in acks {
            let offset: Offset
            switch ack.result {
            case .success(let good): offset = good
            case .failure(let error):
                return settle() ?? StepDown(reason: "the log failed: \(error.reason)", isRetriable: error.isRetriable)
            }
            guard offset == ackOffsets[ack.changelog], let arrival = awaited[ack.changelog].popFirst() else {
                return settle()
                    ?? StepDown(
                        reason: "\(stores[ack.changelog].name): acknowledged at \(offset) instead of "
                            + "\(ackOffsets[ack.changelog]): somebody else wrote",
                        isRetriable: true)
            }
            ackOffsets[ack.changelog] = offset.next
            pending.update(arrival) { $0.unacknowledged -= 1 }
        }
        return settle()
    }

    /// Applies the commands at the head of the queue whose records are all acknowledged, and answers them in order.
    private func settle() -> StepDown? {
        guard let first = pending.first, first.unacknowledged == 0 else { return nil }
        let firstArrival = pending.firstNumber
        var settled: [Pending] = []
        while let head = pending.first, head.unacknowledged == 0 {
            settled.append(head)
            _ = pending.popFirst()
        }
        var changes: [Change] = []
        do { changes = try apply(settled, from: firstArrival) } catch {
            for command in settled {
                command.waiter.release(failed(.unknown, .failed, "durable, but not applied here: \(error.reason)"))
            }
            return StepDown(reason: "the memstore failed: \(error.reason)", isRetriable: error.isRetriable)
        }
        for change in changes { for observer in observers { observer(change) } }
        let position = position
        for command in settled {
            command.waiter.release(Settlement(position: position, version: command.version, failure: nil))
            if !command.events.isEmpty || !command.effects.isEmpty { deliver(command.events, command.effects) }
        }
        releasePositionWaiters(position)
        return nil
    }

    /// One batch into the memstore together with the position; then the overlay lets go of it.
    private func apply(_ settled: [Pending], from firstArrival: UInt64) throws(MemStoreError) -> [Change] {
        var batch: [MemStoreWrite] = []
        for command in settled {
            pendingBytes -= command.bytes
            if command.number > acknowledged { acknowledged = command.number }
            for write in command.writes {
                applied.places[write.store].next = write.offset.next
                guard !write.isControl else { continue }
                let entry = write.value.map {
                    StoredEntry(value: $0, version: Version(at: write.offset), time: write.time)
                }
                batch.append(MemStoreWrite(store: write.store, key: write.key, entry: entry))
            }
            if let last = command.writes.last { mark(last, of: command) }
        }
        guard settled.contains(where: { !$0.writes.isEmpty }) else { return [] }
        applied.epoch = epoch
        applied.level = clock.now
        let changes = observers.isEmpty ? [] : try announce(batch, settled)
        try memstore.commit(batch, checkpoint: applied.bytes)
        for (index, command) in settled.enumerated() {
            for write in command.writes where !write.isControl {
                overlays[write.store].drop(write.key, of: firstArrival + UInt64(index))
            }
        }
        return changes
    }

    /// Keeps the fingerprints of the last records: of every changelog that the command wrote.
    private func mark(_ last: Write, of command: Pending) {
        for write in command.writes {
            applied.places[write.store].last = write.offset
            applied.places[write.store].fingerprint = LoggedRecord.fingerprint(
                key: write.key, value: write.value, at: write.offset, epoch: epoch)
        }
    }

    private func announce(_ batch: [MemStoreWrite], _ settled: [Pending]) throws(MemStoreError) -> [Change] {
        struct Place: Hashable { var store: Int; var key: [UInt8] }
        var newest: [Place: StoredEntry?] = [:]
        var changes: [Change] = []
        let position = position
        for write in settled.flatMap(\.writes) where !write.isControl {
            let place = Place(store: write.store, key: write.key)
            let version = Version(at: write.offset)
            let old: StoredEntry? =
                if let known = newest[place] { known } else { try memstore.get(write.store, write.key) }
            let new = write.value.map { StoredEntry(value: $0, version: version, time: write.time) }
            newest[place] = .some(new)
            changes.append(
                Change(
                    store: stores[write.store].name, key: write.key, old: old, new: new, version: version,
                    position: position, tags: write.tags))
        }
        return changes
    }

    /// Registers for every change from now on, each once, in the order in which they are applied.
    func observe(_ body: @escaping (Change) -> Void) { observers.append(body) }

    // MARK: - Waiting and giving up

    /// The earliest deadline of what waits here, `never` if nothing does.
    var earliestDeadline: MonotonicTime {
        var earliest = MonotonicTime.never
        pending.updateAll { if case .continuation = $0.waiter { earliest = min(earliest, $0.deadline) } }
        for waiting in positionWaiters { earliest = min(earliest, waiting.deadline) }
        return earliest
    }

    /// Tells those whose deadline has passed that the outcome is unknown; their commands go on (W5).
    func expire(at time: MonotonicTime) {
        let position = position
        pending.updateAll { command in
            guard command.deadline <= time else { return }
            let outcome: AskError.Outcome = command.writes.isEmpty ? .notApplied : .unknown
            let error = AskError(
                outcome, .deadline, "the deadline passed before the log acknowledged",
                reached: .init(partition, position))
            command.waiter.release(Settlement(position: position, version: .none, failure: error))
            command.waiter = .nobody
        }
        let late = positionWaiters.filter { $0.deadline <= time }
        positionWaiters.removeAll { $0.deadline <= time }
        for waiting in late {
            waiting.waiter.release(failed(.notApplied, .deadline, "the replica has not come to the position asked for"))
        }
    }

    /// Ends the mastership: nothing that is on its way is waited for any longer (W5).
    func abandon(_ reason: String) {
        while let command = pending.popFirst() {
            let outcome: AskError.Outcome = command.writes.isEmpty ? .notApplied : .unknown
            command.waiter.release(failed(outcome, .notReady, reason))
        }
        for waiting in positionWaiters { waiting.waiter.release(failed(.notApplied, .notReady, reason)) }
        positionWaiters.removeAll()
        for index in overlays.indices { overlays[index].removeAll() }
        pendingBytes = 0
    }

    /// Answers `continuation` when the partition has been applied up to `position`.
    func wait(
        for position: Position, deadline: MonotonicTime, _ continuation: UnsafeContinuation<Settlement, Never>
    ) {
        positionWaiters.append((position, deadline, .continuation(continuation)))
    }

    private func releasePositionWaiters(_ position: Position) {
        guard !positionWaiters.isEmpty else { return }
        let reached = positionWaiters.filter { position.covers($0.position) }
        positionWaiters.removeAll { position.covers($0.position) }
        for waiting in reached {
            waiting.waiter.release(Settlement(position: position, version: .none, failure: nil))
        }
    }

    private func failed(_ outcome: AskError.Outcome, _ code: AskError.Code, _ reason: String) -> Settlement {
        let error = AskError(outcome, code, reason, reached: .init(partition, position))
        return Settlement(position: position, version: .none, failure: error)
    }

    /// Why a master must stop being one.
    struct StepDown {
        var reason: String
        var isRetriable: Bool
    }

    // MARK: - Entries, as bytes

    /// Spoils the transaction or view that is open; the first reason counts.
    @usableFromInline func refuse(_ reason: String) {
        if refusal == nil { refusal = AskError(.notApplied, .failed, reason) }
    }

    @usableFromInline func read(_ store: Int, _ key: [UInt8], committed: Bool) -> StoredEntry? {
        if !committed, !overlays[store].isEmpty, let entry = overlays[store][key] { return entry.stored }
        do { return try memstore.get(store, key) } catch {
            refuse("\(stores[store].name): \(error.reason)")
            return nil
        }
    }

    @usableFromInline func write(
        _ store: Int, _ key: [UInt8], _ value: [UInt8]?, routing: [UInt8]?, time: Timestamp?, tags: [String]
    ) {
        let name = stores[store].name
        guard key != stores[store].controlKey else {
            return refuse("\(name): the key is reserved for control records")
        }
        if let routing, case let owner = route(routing), owner != partition.number {
            return refuse("\(name): the key routes to partition \(owner), this is \(partition.number)")
        }
        let size = key.count + (value?.count ?? 0)
        guard size <= limits.record else {
            return refuse("\(name): a record of \(size) bytes; at most \(limits.record) are allowed")
        }
        if value == nil, read(store, key, committed: false) == nil { return }

        let arrival = pending.nextNumber
        let old = overlays[store][key]
        var write = Write(
            store: store, key: key, value: value, time: time ?? now, tags: tags, offset: nextOffsets[store])
        let index: Int
        if let old, old.command == arrival {
            // The second write of a key by one command takes the place of the first: a command has one record a key.
            index = old.write
            write.offset = writes[index].offset
            writes[index] = write
        } else {
            index = writes.count
            writes.append(write)
            undo.append((store, key, old))
            nextOffsets[store] = write.offset.next
        }
        overlays[store][key] = Overlay.Entry(
            value: value, version: Version(at: write.offset), time: write.time, command: arrival, write: index)
        if store != AnsweredRequests.storeIndex { version = Version(at: write.offset) }
    }

    /// Scans a store through the overlay, unless only what is committed is asked for.
    @usableFromInline func scan(
        _ store: Int, _ range: KeyRange, _ direction: ScanDirection, committed: Bool,
        _ visit: (_ key: [UInt8], _ entry: StoredEntry) -> Bool
    ) {
        if range != .all, !stores[store].isOrdered {
            return refuse("\(stores[store].name): ranges are scanned only of a store that is declared ordered")
        }
        do throws(MemStoreError) {
            if committed || overlays[store].isEmpty {
                try memstore.scan(store, range, direction, visit)
            } else {
                try scanMerged(store, range, direction, visit)
            }
        } catch { refuse("\(stores[store].name): \(error.reason)") }
    }

    private func scanMerged(
        _ store: Int, _ range: KeyRange, _ direction: ScanDirection,
        _ visit: (_ key: [UInt8], _ entry: StoredEntry) -> Bool
    ) throws(MemStoreError) {
        guard stores[store].isOrdered else { return try scanUnorderedMerged(store, visit) }
        var newer = overlays[store].sorted(in: range, direction)[...]
        var isDone = false
        func isBefore(_ a: [UInt8], _ b: [UInt8]) -> Bool {
            direction == .forward ? a.lexicographicallyPrecedes(b) : b.lexicographicallyPrecedes(a)
        }
        try memstore.scan(store, range, direction) { key, entry in
            while let next = newer.first, isBefore(next.key, key) {
                newer.removeFirst()
                if let entry = next.entry.stored, !visit(next.key, entry) {
                    isDone = true
                    return false
                }
            }
            var entry: StoredEntry? = entry
            if let next = newer.first, next.key == key {
                newer.removeFirst()
                entry = next.entry.stored
            }
            guard let entry else { return true }
            isDone = !visit(key, entry)
            return !isDone
        }
        while !isDone, let next = newer.popFirst() {
            if let entry = next.entry.stored, !visit(next.key, entry) { isDone = true }
        }
    }

    private func scanUnorderedMerged(
        _ store: Int, _ visit: (_ key: [UInt8], _ entry: StoredEntry) -> Bool
    ) throws(MemStoreError) {
        var isDone = false
        try memstore.scan(store, .all, .forward) { key, entry in
            guard overlays[store][key] == nil else { return true }
            isDone = !visit(key, entry)
            return !isDone
        }
        guard !isDone else { return }
        for (key, newer) in overlays[store].sorted(in: .all, .forward) {
            if let entry = newer.stored, !visit(key, entry) { return }
        }
    }

    @usableFromInline func count(_ store: Int, committed: Bool) -> Int {
        do throws(MemStoreError) {
            var count = try memstore.count(store)
            guard !committed else { return count }
            for (key, newer) in overlays[store].sorted(in: .all, .forward) {
                let isStored = try memstore.get(store, key) != nil
                count += (newer.value == nil ? 0 : 1) - (isStored ? 1 : 0)
            }
            return count
        } catch {
            refuse("\(stores[store].name): \(error.reason)")
            return 0
        }
    }

    // MARK: - Effects

    func publish(_ event: any Event) { events.append(event) }

    func afterCommit(_ work: @escaping EffectWork) { effects.append(work) }
}
