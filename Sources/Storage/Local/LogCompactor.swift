internal import AffinityCore
internal import AffinityRocksDB
internal import AffinityThreads
internal import Synchronization

/// Removes the records that a later one of the same key has superseded, and tombstones whose time is over.
///
/// In rounds, as Kafka's cleaner does. A round reads the part that was not compacted yet, as far as the memory for
/// its keys goes, and notes the last offset of each key; then it goes through the log from the beginning to there
/// and deletes, in small batches, what stands before that offset. Keys are kept whole, not as hashes:
/// nobody has to believe that two do not collide. Runs on a thread of its own, or in the pool for a call of
/// `compact`, one at a time.
final class LogCompactor: Sendable {
    private let writer: LogWriter
    private let configuration: LocalLogConfiguration
    private let clock: any NodeClock
    private let report: Reporter
    private let isStopped = Atomic(false)
    private let wakeUp = Semaphore()
    private let running = Mutex(())

    /// How many records are deleted at once: so few that an append never waits for long behind them.
    private static let batchCount = 512
    /// What a key costs in the table beside its bytes.
    private static let keyOverhead = 72

    init(
        _ writer: LogWriter, _ configuration: LocalLogConfiguration, clock: any NodeClock, report: @escaping Reporter
    ) {
        self.writer = writer
        self.configuration = configuration
        self.clock = clock
        self.report = report
    }

    /// Compacts from time to time until `stop` is called. On the thread that belongs to the compactor.
    func run() {
        while !isStopped.load(ordering: .acquiring) {
            if configuration.compactionInterval > .zero {
                wakeUp.wait(atMost: configuration.compactionInterval)
            } else {
                wakeUp.wait()
            }
            if isStopped.load(ordering: .acquiring) { return }
            // A log that cannot be written says so itself.
            if writer.failure != nil { continue }
            do {
                try compact(isForced: false)
            } catch {
                // A log that was closed meanwhile has no use for it.
                if isStopped.load(ordering: .acquiring) { return }
                report(Report(.error, "the log could not be compacted", [("reason", "\(error)")]))
            }
        }
    }

    /// Ends `run`, and a compaction that is under way, soon.
    func stop() {
        isStopped.store(true, ordering: .releasing)
        wakeUp.signal()
    }

    /// Compacts every changelog of which enough is new, or every one. Blocks for long.
    func compact(isForced: Bool) throws {
        try running.withLock { _ in
            guard let database = writer.database else { throw LocalLog.closedError }
            for changelog in try database.changelogs() {
                try Changelog(self, database, changelog.id, LogSchema.describe(changelog.name)).compact(isForced)
            }
        }
    }

    /// One changelog while it is compacted.
    private struct Changelog {
        let owner: LogCompactor
        let database: RocksDB
        let id: UInt32
        let name: String
        let now: Timestamp
        /// Records appended later are too young.
        let youngest: Timestamp
        /// Tombstones appended later stay.
        let oldestTombstone: Timestamp

        init(_ owner: LogCompactor, _ database: RocksDB, _ id: UInt32, _ name: String) {
            self.owner = owner
            self.database = database
            self.id = id
            self.name = name
            now = owner.clock.now
            youngest = now.advanced(by: .zero - owner.configuration.compactionLag)
            oldestTombstone = now.advanced(by: .zero - owner.configuration.deleteRetention)
        }

        func compact(_ isForced: Bool) throws {
            let end = Offset(try database.numbers(LogSchema.endKey(id), count: 1)?[0] ?? 0)
            let before = try database.numbers(LogSchema.cleanedKey(id), count: 2) ?? [0, 0]
            var cleaned = Offset(before[0])
            let new = Double(end.rawValue - cleaned.rawValue)
            let isDirty = new > 0 && new >= owner.configuration.compactionDirtyRatio * (new + Double(before[1]))
            guard isForced || isDirty else { return }
            var deleted = 0
            var kept = 0
            while true {
                let (last, behind) = try lastOffsets(from: cleaned, to: end)
                let round = try deleteSuperseded(before: behind, last)
                deleted += round.deleted
                kept = round.kept
                var batch = RocksDBBatch()
                batch.put(LogSchema.cleanedKey(id), LogSchema.bytes(behind.rawValue, Int64(kept)))
                try database.write(batch, sync: true)
                if behind == cleaned || behind == end { break }
                cleaned = behind
            }
            guard deleted > 0 else { return }
            if isForced || deleted >= max(1000, kept / 4) {
                try database.compact(from: LogSchema.dataKey(id, .zero), to: LogSchema.dataKey(id, end))
            }
            owner.report(
                Report(
                    .info, "a changelog was compacted",
                    [("changelog", name), ("deleted", "\(deleted)"), ("kept", "\(kept)")]))
        }

        /// The last offset of each key from `start` on, and where the part ends that they were looked for in.
        private func lastOffsets(
            from start: Offset, to end: Offset
        ) throws(RocksDBError) -> (last: [[UInt8]: Offset], behind: Offset) {
            var last: [[UInt8]: Offset] = [:]
            var bytes = 0
            var behind = start
            let isWhole = try forEach(from: start, to: end) { (offset, key, appended, _) throws(RocksDBError) in
                // Time may have gone back since; nothing behind a record that is too young is looked at.
                if appended > youngest || bytes > owner.configuration.compactionMemoryBytes { return false }
                if last.updateValue(offset, forKey: key) == nil { bytes += key.count + LogCompactor.keyOverhead }
                behind = offset.next
                return true
            }
            return (last, isWhole ? end : behind)
        }

        private func deleteSuperseded(
            before end: Offset, _ last: [[UInt8]: Offset]
        ) throws(RocksDBError) -> (deleted: Int, kept: Int) {
            var batch = RocksDBBatch()
            var deleted = 0
            var kept = 0
            _ = try forEach(from: .zero, to: end) { (offset, key, appended, isTombstone) throws(RocksDBError) in
                let isSuperseded = last[key].map { offset < $0 } ?? false
                // Whatever a tombstone hides stands before it and is deleted before it, at the latest in this batch.
                guard isSuperseded || (isTombstone && appended <= oldestTombstone && appended <= youngest) else {
                    kept += 1
                    return true
                }
                batch.delete(LogSchema.dataKey(id, offset))
                // In the batch that takes the tombstone: readers have to know before they can miss it.
                if !isSuperseded { batch.put(LogSchema.forgottenKey(id), LogSchema.bytes(offset.next.rawValue)) }
                deleted += 1
                if batch.count >= LogCompactor.batchCount {
                    // Synced as every write of the log: a crash then tears one at most.
                    try database.write(batch, sync: true)
                    batch.clear()
                }
                return true
            }
            if !batch.isEmpty { try database.write(batch, sync: true) }
            return (deleted, kept)
        }

        /// Calls `body` for each record of the range until it returns `false`; returns whether it never did.
        private func forEach(
            from start: Offset, to end: Offset,
            _ body: (Offset, [UInt8], Timestamp, Bool) throws(RocksDBError) -> Bool
        ) throws(RocksDBError) -> Bool {
            guard start < end else { return true }
            return try database.iterate(
                from: LogSchema.dataKey(id, start), to: LogSchema.dataKey(id, end), fillsCache: false
            ) { iterator throws(RocksDBError) in
                iterator.seekToFirst()
                while true {
                    let found = try iterator.withEntry { key, value in
                        let offset = LogSchema.offset(key)
                        return (offset, offset.flatMap { RecordCodec.outline(value, at: $0) })
                    }
                    guard let (offset, outline) = found else { return true }
                    guard let offset, let outline else {
                        throw RocksDBError(
                            .corrupt,
                            "\(database.path): the record \(offset?.description ?? "?") of \(name) is damaged")
                    }
                    if owner.isStopped.load(ordering: .relaxed) { throw RocksDBError(.closed, "the log was closed") }
                    if try !body(offset, outline.key, outline.appended, outline.isTombstone) { return false }
                    iterator.next()
                }
            }
        }
    }
}
