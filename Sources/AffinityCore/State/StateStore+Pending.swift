/// What is on its way to the log, and what it will change.
extension StateStore {
    /// Who waits for a command. Told exactly once: when the command is settled, expires or is abandoned.
    enum Waiter {
        case nobody
        case continuation(UnsafeContinuation<Settlement, Never>)
        /// Called in the turn that settles the command; must not run another one in it.
        case call((Settlement) -> Void)

        func release(_ settlement: Settlement) {
            switch self {
            case .nobody: break
            case .continuation(let continuation): continuation.resume(returning: settlement)
            case .call(let body): body(settlement)
            }
        }
    }

    /// One record of a command that is on its way.
    struct Write {
        var store: Int
        var key: [UInt8]
        var value: [UInt8]?
        var time: Timestamp
        var tags: [String]
        /// Where the record must come to stand (W3).
        var offset: Offset
        var isControl = false

        /// What counts against the limits: key, value, and what the handler says of the change.
        var size: Int {
            var size = key.count + (value?.count ?? 0)
            for tag in tags { size += tag.utf8.count + 8 }
            return size
        }
    }

    /// A command whose answer is not released yet.
    struct Pending {
        var writes: [Write]
        var unacknowledged: Int
        var number: UInt64
        var bytes: Int
        var version: Version
        var deadline: MonotonicTime
        var waiter: Waiter
        var events: [any Event]
        var effects: [EffectWork]
        /// What its caller is told if its end is not waited for (W5).
        var lost: AskError.Outcome
    }

    /// Why a master must stop being one.
    struct StepDown {
        var reason: String
        var isRetriable: Bool
    }

    /// What the first `count` commands change, in the order of the log, before it is applied.
    func changes(_ count: Int) throws(MemStoreError) -> [Change] {
        struct Place: Hashable { var store: Int; var key: [UInt8] }
        var newest: [Place: StoredEntry?] = [:]
        var changes: [Change] = []
        var position = position
        for command in 0..<count {
            // Each command's own: whoever goes on from the position of a change must not miss the next one.
            for write in pending[command].writes { position.offsets[write.store] = write.offset.next }
            for write in pending[command].writes where !write.isControl {
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
        }
        return changes
    }
}
