/// The changes of one partition, as they are applied here: kept for a while, and told to whoever watches.
///
/// Master and standby have one, because decided records are applied by the same code; it belongs to the replica, and
/// goes on over a change of role as long as what is applied next follows what was applied last, of the same log. Then
/// whoever watched at a former master goes on at the next one from memory.
///
/// Confined to its replica. Called by `StateStore` with what it applies, and by the replica for those who watch; calls
/// `WatchBuffer`.
final class ChangeFeed {
    /// What a change takes out of a batch.
    struct Note {
        /// Whether it is certain that the record counts. One that does not is never told, and one of which nobody can
        /// know any more makes what lies before it incomplete.
        enum Standing { case valid, void, doubtful }

        var version: Version
        var tags: [String]
        var standing = Standing.valid
    }

    private let partition: Int
    private let limits: WatchLimits

    // Exclusive access is not checked at run time, as in `StateStore`: each write passes here, watched or not.

    @exclusivity(unchecked) private var log: UInt64 = 0
    /// How far the changes go that were told.
    @exclusivity(unchecked) private(set) var position = Position([])
    private var names: [String] = []
    @exclusivity(unchecked) private var rings: [ChangeRing] = []
    @exclusivity(unchecked) private var bytes = 0
    @exclusivity(unchecked) private var count = 0
    /// The observers of each store.
    @exclusivity(unchecked) private(set) var indexes: [ObserverIndex] = []
    /// What a claimant has rewritten: it counts when its epoch has settled, and else never (C4).
    private var tentative: [(store: Int, change: Change)] = []
    /// Where a reader of the log can begin, in the order of the log.
    @exclusivity(unchecked) private var checkpoints: [Checkpoint] = []
    /// How many records lie between two of them at least: more, when there were too many.
    private var spacing: Int64
    /// Whom to call when this turn has told everything.
    private var signals: [WatchBuffer] = []
    private var observersOf: [ObjectIdentifier: Observer] = [:]

    init(partition: Int, limits: WatchLimits) {
        self.partition = partition
        self.limits = limits
        spacing = limits.checkpointSpacing
    }

    /// Goes on with a state that was opened at `checkpoint`: with what it has, if that is where it stands itself.
    func attach(_ checkpoint: Checkpoint) {
        let names = checkpoint.places.map(\.changelog)
        if names == self.names, log == checkpoint.log, position == checkpoint.position { return }
        self.names = names
        position = checkpoint.position
        log = checkpoint.log
        indexes = names.map { _ in ObserverIndex() }
        rings = position.offsets.map { ChangeRing(floor: Version(upTo: $0)) }
        (bytes, count, tentative, checkpoints) = (0, 0, [], [])
        spacing = limits.checkpointSpacing
        remember(checkpoint)
    }

    // MARK: - What is applied

    /// Takes in what was applied with a batch, in the order of the log.
    ///
    /// - Parameters:
    ///   - settled: the epochs that have settled with it; what was rewritten under one that is passed over is void.
    ///   - former: the checkpoint before the batch.
    func take(
        _ writes: [MemStoreWrite], _ notes: [Note], settled: [Epoch] = [], former: Checkpoint,
        now checkpoint: Checkpoint,
        _ position: Position
    ) {
        self.position = position
        log = checkpoint.log
        if former.isOpen { endTentative(former.epoch, settled, checkpoint) }
        // The claimant's own rewrites: what it concluded before belongs to the former epochs.
        let isTentative = checkpoint.isOpen && former.isOpen && former.epoch == checkpoint.epoch
        for (write, note) in zip(writes, notes) {
            switch note.standing {
            case .void: continue
            case .doubtful:
                lose(write.store, before: note.version)
                continue
            case .valid: break
            }
            let change = Change(
                partition: partition, store: names[write.store], key: write.key, entry: write.entry,
                version: note.version, position: position, tags: note.tags)
            if isTentative { tentative.append((write.store, change)) } else { tell(change, write.store) }
        }
        remember(checkpoint)
        signal()
    }

    private func endTentative(_ epoch: Epoch, _ settled: [Epoch], _ checkpoint: Checkpoint) {
        let hasSettled = settled.contains(epoch) || (checkpoint.epoch == epoch && !checkpoint.isOpen)
        guard hasSettled || checkpoint.epoch != epoch else { return }
        let rewritten = tentative
        tentative = []
        if hasSettled { for (store, change) in rewritten { tell(change, store) } }
    }

    private func tell(_ change: Change, _ store: Int) {
        rings[store].append(change)
        (count, bytes) = (count + 1, bytes + change.size)
        while count > limits.changes || bytes > limits.bytes { forgetOldest() }
        guard indexes[store].count > 0 else { return }
        indexes[store].forEach(change.key) { observer in
            if observer.take(change) { signals.append(observer.part.buffer) }
        }
    }

    /// The store that has most gives up its oldest one, so that a busy store does not crowd out a quiet one.
    private func forgetOldest() {
        var longest = 0
        for store in rings.indices where rings[store].count > rings[longest].count { longest = store }
        guard let forgotten = rings[longest].forgetFirst() else { return (count, bytes) = (0, 0) }
        (count, bytes) = (count - 1, bytes - forgotten.size)
    }

    /// What was applied on the way here is not kept: there is too much of it.
    func skip(_ checkpoint: Checkpoint, _ position: Position) {
        (self.position, log) = (position, checkpoint.log)
        tentative = []
        for store in rings.indices { lose(store, before: version(store)) }
        remember(checkpoint)
    }

    /// What stood before `version` is not known whole: compaction has taken something of it.
    func lose(_ store: Int, before version: Version) {
        while let first = rings[store].first, first <= version, let forgotten = rings[store].forgetFirst() {
            (count, bytes) = (count - 1, bytes - forgotten.size)
        }
        rings[store].raise(to: version)
    }

    /// Tells everybody at once that there is something: one call an executor, however many watch.
    private func signal() {
        guard !signals.isEmpty else { return }
        let buffers = signals
        signals = []
        WatchBuffer.signal(buffers)
    }

    // MARK: - Those who watch

    /// Registers for what comes from now on; it is held until `Observer.release`.
    func register(_ part: WatchPart) -> Observer {
        if let former = observersOf[ObjectIdentifier(part)] { remove(former) }
        let observer = Observer(part)
        observersOf[ObjectIdentifier(part)] = observer
        indexes[part.store].insert(observer)
        return observer
    }

    func remove(_ observer: Observer) {
        guard observer.isLive else { return }
        observer.isLive = false
        observersOf[ObjectIdentifier(observer.part)] = nil
        indexes[observer.part.store].remove(observer)
    }

    /// Whoever tells `part` what happens here, if somebody does.
    func observer(of part: WatchPart) -> Observer? { observersOf[ObjectIdentifier(part)] }

    /// How many watch.
    var observers: Int { observersOf.count }

    /// How many times a change was looked up or met an observer.
    var work: Int { indexes.reduce(0) { $0 + $1.work } }

    /// The replica does not serve any longer: everybody goes on elsewhere, from where they are.
    func endAll() -> [WatchPart] {
        guard observers > 0 else { return [] }
        observersOf = [:]
        var parts: [WatchPart] = []
        for store in indexes.indices {
            for observer in indexes[store].removeAll() {
                observer.end(at: version(store))
                parts.append(observer.part)
            }
        }
        // In an order that every run has.
        return parts.sorted { $0.number < $1.number }
    }

    /// What is known of a store up to now, as a version.
    func version(_ store: Int) -> Version { Version(upTo: position.offsets[store]) }

    /// What came after `version` and concerns the scope; `nil` if not all of it is known here.
    func changes(_ store: Int, after version: Version, of scope: WatchScope) -> [Change]? {
        rings[store].changes(after: version, of: scope)
    }

    // MARK: - Where to begin to read

    private func remember(_ checkpoint: Checkpoint) {
        // What a claimant has rewritten is not decided: nobody begins there.
        if checkpoint.isOpen { return }
        let reached = checkpoint.places.reduce(Int64(0)) { $0 &+ $1.next.rawValue }
        if let last = checkpoints.last {
            guard reached &- last.places.reduce(Int64(0), { $0 &+ $1.next.rawValue }) >= spacing else { return }
        }
        checkpoints.append(checkpoint)
        guard checkpoints.count > limits.checkpoints else { return }
        // Every second one, so that they still go as far back.
        checkpoints = checkpoints.enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
        spacing = spacing &* 2
    }

    /// The last remembered place that lies before what came after `version`.
    func checkpoint(_ store: Int, before version: Version) -> Checkpoint? {
        checkpoints.last { Version(upTo: $0.places[store].next) <= version }
    }
}

extension Version {
    /// The version of the last record before `end`: of what is known when everything before `end` is.
    init(upTo end: Offset) { self.init(UInt64(bitPattern: end.rawValue)) }
}

/// One that watches a part of a partition, as long as the replica serves. Confined to the replica.
final class Observer {
    let part: WatchPart
    /// The place in its list; below 0 when it has left.
    var place = -1
    /// Whether it is registered.
    var isLive = true
    /// What came while its beginning is not known yet, and its bytes.
    private var held: [Change]? = []
    private var heldBytes = 0
    /// Whether more came than can be held.
    private(set) var isOverfull = false
    /// Behind which key a scan goes on: what lies further is not told, because it will be read.
    var scanned: [UInt8]?
    var isScanning = false
    /// What is still to be read of the changelog before it is told anything else.
    var missed: Missed?
    /// Whether what it is told next is being read.
    var isReading = false

    init(_ part: WatchPart) { self.part = part }

    /// Takes a change in; returns whether whoever watches has to be called.
    func take(_ change: Change) -> Bool {
        if isScanning {
            guard let scanned, !scanned.lexicographicallyPrecedes(change.key) else { return false }
        }
        if held != nil {
            hold(change)
            return false
        }
        // It will be read.
        if missed != nil { return false }
        return part.push(change)
    }

    private func hold(_ change: Change) {
        let options = part.buffer.options
        // Too much while it begins: it begins again.
        if (held?.count ?? 0) >= options.events || heldBytes > options.bytes {
            isOverfull = true
        } else {
            held?.append(change)
            heldBytes += change.size
        }
    }

    /// Holds what comes from now on, and nothing that came before.
    func hold() { (held, heldBytes, isOverfull) = ([], 0, false) }

    /// What comes will be read.
    func letGo() { (held, heldBytes, isOverfull) = (nil, 0, false) }

    /// Says `items`, and then what came meanwhile, if that was held.
    func say(_ items: [WatchBuffer.Item]) {
        var mustSignal = part.buffer.push(items, part.index)
        let changes = held ?? []
        letGo()
        for change in changes { if part.push(change) { mustSignal = true } }
        if mustSignal { part.buffer.signal() }
    }

    /// The replica does not serve any longer. Whoever had begun knows everything up to `version`.
    func end(at version: Version) {
        isLive = false
        if held == nil, !isScanning, missed == nil { part.advance(to: version) }
    }

    /// What it wants of the changelog.
    var resume: LogReplay.Resume {
        LogReplay.Resume(store: part.store, scope: part.scope, after: missed?.after ?? .none)
    }
}

extension Observer {
    /// How far one has come who is told piece by piece what it has missed.
    struct Missed {
        /// Everything up to there was told.
        private(set) var after: Version
        /// Where to read on, if that is known.
        var from: Checkpoint?
        /// Where the end was a while ago, how far away that was, and how often it has come no nearer since.
        private var goal: Version?
        private var distance: UInt64 = 0
        private var failures = 0

        /// How often it may come no nearer: writes come in bursts.
        private static let mostFailures = 4

        init(after: Version) { self.after = after }

        /// Everything up to `reached` is told, of what goes up to `end`. Returns whether it will never come there: whenever
        /// it came to where the end had been, as much has been written meanwhile.
        mutating func come(to reached: Version, of end: Version) -> Bool {
            after = reached
            if let goal, reached < goal { return false }
            let left = end.rawValue &- reached.rawValue
            if goal != nil, left >= distance { failures += 1 }
            (goal, distance) = (end, left)
            return failures > Self.mostFailures
        }
    }
}
