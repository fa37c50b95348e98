/// The command that runs: what it has written, published and left to be done.
///
/// There is one a `StateStore`, used again for each command: handlers run one at a time.
struct OpenCommand {
    /// Read from the clock when it is first asked for: most queries never ask.
    var now: Timestamp?
    var writes: [StateStore.Write] = []
    var undo: [(store: Int, key: [UInt8], entry: Overlay.Entry?)] = []
    var events: [any Event] = []
    var effects: [StateStore.EffectWork] = []
    /// The place of what the command wrote last, in a store of the user's.
    var last: Int?
    /// The arrival of the command whose outcome it repeats, if that is still on its way.
    var repeats: UInt64?
    /// Whether it was told of something that is on its way, whose version is foretold.
    var sawForetold = false
    /// What its records carry.
    var bytes = 0
    var refusal: AskError?

    mutating func takeWrites() -> [StateStore.Write] {
        if writes.isEmpty { return [] }
        defer { writes = [] }
        return writes
    }

    mutating func takeEvents() -> [any Event] {
        if events.isEmpty { return [] }
        defer { events = [] }
        return events
    }

    mutating func takeEffects() -> [StateStore.EffectWork] {
        if effects.isEmpty { return [] }
        defer { effects = [] }
        return effects
    }

    /// Makes room for the next command.
    mutating func reset() {
        if !undo.isEmpty { undo.removeAll(keepingCapacity: true) }
        if !writes.isEmpty { writes = [] }
        if !events.isEmpty { events = [] }
        if !effects.isEmpty { effects = [] }
        last = nil
        repeats = nil
        sawForetold = false
        bytes = 0
        refusal = nil
    }
}

extension StateStore {
    /// The moment of the command or query that runs.
    @usableFromInline var now: Timestamp {
        if let now = open.now { return now }
        let now = clock.now
        open.now = now
        return now
    }

    /// The version of what the command, which still runs, wrote last.
    @usableFromInline var currentVersion: Version { open.last.map { Version(at: open.writes[$0].offset) } ?? .none }

    /// The command repeats the outcome under this key of the internal store.
    func noteRepeat(of key: [UInt8]) { open.repeats = overlays[AnsweredRequests.storeIndex][key]?.command }

    /// Opens the transaction of a command, or the view of a query.
    @usableFromInline func begin() {
        open.now = nil
        open.refusal = nil
        open.repeats = nil
        open.sawForetold = false
    }

    /// What spoiled the handler's run, if anything did. Undoes the command then.
    @usableFromInline func takeRefusal() -> AskError? {
        guard let refusal = open.refusal else { return nil }
        cancel()
        return refusal
    }

    /// Undoes what the command did: the handler threw, or must not be believed.
    @usableFromInline func cancel() {
        for (store, key, entry) in open.undo.reversed() { overlays[store].restore(key, entry) }
        for write in open.writes { nextOffsets[write.store] = min(nextOffsets[write.store], write.offset) }
        open.reset()
    }

    /// Spoils the transaction or view that is open; the first reason counts.
    @usableFromInline func refuse(_ reason: String) {
        if open.refusal == nil { open.refusal = AskError(.notApplied, .failed, reason) }
    }

    /// The memstore could not be read. Damage is kept for the replica, which makes the memstore anew (§7).
    func refuse(_ error: MemStoreError, in store: Int) {
        if error.code == .corrupt { damage = error.reason }
        refuse("\(stores[store].name): \(error.reason)")
    }

    @usableFromInline func read(_ store: Int, _ key: [UInt8], committed: Bool) -> StoredEntry? {
        if !committed, !overlays[store].isEmpty, let entry = overlays[store][key] {
            open.sawForetold = true
            return entry.stored
        }
        do { return try memstore.get(store, key) } catch {
            refuse(error, in: store)
            return nil
        }
    }

    @usableFromInline func write(
        _ store: Int, _ key: [UInt8], _ value: [UInt8]?, routing: [UInt8]?, time: Timestamp?, tags: [String]
    ) {
        var write = Write(
            store: store, key: key, value: value, time: time ?? now, tags: tags, offset: nextOffsets[store])
        if let reason = mistake(in: write, routing) { return refuse(reason) }
        if value == nil, read(store, key, committed: false) == nil { return }

        let arrival = pending.nextNumber
        var entry = Overlay.Entry(
            value: value, version: Version(at: write.offset), time: write.time, command: arrival,
            write: open.writes.count)
        let old = overlays[store].set(key, entry)
        if let old, old.command == arrival {
            // The second write of a key by one command takes the place of the first: a command has one record a key.
            write.offset = open.writes[old.write].offset
            open.bytes -= open.writes[old.write].size
            open.writes[old.write] = write
            (entry.write, entry.version) = (old.write, old.version)
            _ = overlays[store].set(key, entry)
        } else {
            open.writes.append(write)
            open.undo.append((store, key, old))
            nextOffsets[store] = write.offset.next
        }
        open.bytes += write.size
        if store != AnsweredRequests.storeIndex { open.last = entry.write }
    }

    /// Why a write must be refused; found out before anything is touched (W2).
    private func mistake(in write: Write, _ routing: [UInt8]?) -> String? {
        let store = stores[write.store]
        if write.key == store.controlKey { return "\(store.name): the key is reserved for control records" }
        if let routing, case let owner = route(routing), owner != partition.number {
            return "\(store.name): the key routes to partition \(owner), this is \(partition.number)"
        }
        if write.size > limits.record {
            return "\(store.name): a record of \(write.size) bytes; at most \(limits.record) are allowed"
        }
        if open.bytes > limits.bytes - write.size {
            return "the command writes more than the \(limits.bytes) bytes that may be on their way to the log"
        }
        return nil
    }

    // MARK: - Effects

    func publish(_ event: any Event) { open.events.append(event) }

    func afterCommit(_ work: @escaping EffectWork) { open.effects.append(work) }
}
