/// What is on its way to the log, and what it will change.
extension StateStore {
    /// Who waits for a command. Told exactly once: when the command is settled, expires or is abandoned.
    enum Waiter {
        case nobody
        case continuation(UnsafeContinuation<Settlement, Never>)
        /// Called in the turn that settles the command; must not run another one in it.
        case call((Settlement) -> Void)

        /// Whether it is somebody who can run the command again.
        var isCaller: Bool { if case .continuation = self { true } else { false } }

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
        /// Where the record is expected to stand, and, once it is acknowledged, where it does (W3).
        var offset = Offset.zero
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
        /// `n` and `a` of its records.
        var number: UInt64
        var covers: UInt64
        var bytes: Int
        /// The place of the write that its version is of; `nil` if it wrote nothing.
        var last: Int?
        /// The arrival of the command whose outcome it repeats, if that is still on its way.
        var repeats: UInt64?
        /// Whether it was told of something whose version was foretold. What repeats an outcome was not.
        var sawForetold: Bool
        /// When its records were handed over; `never` if it has none.
        var sent: MonotonicTime
        var deadline: MonotonicTime
        var waiter: Waiter
        var events: [any Event]
        var effects: [EffectWork]
        /// What its caller is told if its end is not waited for (W5).
        var lost: AskError.Outcome
        /// Whether its version is another one than the command was told: a foreign record came between.
        var hasMoved = false

        /// The version of the command that it repeats, if that is another one than was foretold.
        var repeated: Version?

        var version: Version { repeated ?? last.map { Version(at: writes[$0].offset) } ?? .none }

        mutating func move(_ write: Int, to offset: Offset) {
            guard writes[write].offset != offset else { return }
            writes[write].offset = offset
            if write == last { hasMoved = true }
        }
    }

    /// What is applied in one turn, in the order of the log.
    struct Batch {
        var writes: [MemStoreWrite] = []
        var next: Checkpoint
        /// What those who watch are told of each write beside it.
        var notes: [ChangeFeed.Note] = []
        var isEmpty = true

        init(next: Checkpoint, count: Int) {
            self.next = next
            writes.reserveCapacity(count)
            notes.reserveCapacity(count)
        }

        mutating func add(_ command: Pending) {
            if command.writes.isEmpty { return }
            isEmpty = false
            for write in command.writes { next.places[write.store].next = write.offset.next }
            for write in command.writes { put(write) }
        }

        /// One record of a command.
        mutating func add(_ write: Write) {
            isEmpty = false
            next.places[write.store].next = write.offset.next
            put(write)
        }

        private mutating func put(_ write: Write) {
            if write.isControl { return }
            let version = Version(at: write.offset)
            add(
                MemStoreWrite(
                    store: write.store, key: write.key,
                    entry: write.value.map { StoredEntry(value: $0, version: version, time: write.time) }),
                version, write.tags)
        }

        mutating func add(_ write: MemStoreWrite, _ version: Version, _ tags: [String]) {
            writes.append(write)
            notes.append(ChangeFeed.Note(version: version, tags: tags))
        }
    }

    /// Why a master must stop being one.
    struct StepDown {
        var reason: String
        var isRetriable: Bool

        init(reason: String, isRetriable: Bool) {
            self.reason = reason
            self.isRetriable = isRetriable
        }

        /// The log did not take a record. One that it never takes leaves it as it was: the next epoch goes on behind.
        init(_ error: LogError) {
            self.init(
                reason: "the log failed: \(error.reason)", isRetriable: error.isRetriable || error.code == .tooLarge)
        }
    }

    /// What the replica has to do after the log's word.
    enum Verdict {
        case good
        /// Read what somebody else wrote, and hand it to `fold`.
        case read(Gap)
        case stepDown(StepDown)

        /// A failure comes before everything else.
        func or(_ other: @autoclosure () -> Verdict) -> Verdict {
            if case .good = self { other() } else { self }
        }
    }
}
