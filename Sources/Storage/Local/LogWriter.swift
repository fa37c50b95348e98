internal import AffinityCore
internal import AffinityRocksDB
internal import AffinityThreads
internal import Glibc
internal import Synchronization

/// Gathers the records of all partitions and writes what has gathered with one sync: group commit.
///
/// `append` puts records into a batch that all partitions share, under a lock, on their executors. One thread takes
/// the batch whenever it has finished the one before, writes it, and posts the acknowledgements, once an executor.
/// The records of one command are in one batch, so a crash leaves all of them or none. What may gather is bounded by
/// the partitions: each bounds its bytes in flight.
final class LogWriter: Sendable {
    /// A record on which the word is out.
    private struct Entry {
        var use: LocalPartitionLog
        var changelog: Int
        var offset: Offset
        var error: LogError?
    }

    private struct State: ~Copyable {
        var batch = RocksDBBatch()
        var entries: [Entry] = []
        /// Those who wait until everything before them was written.
        var drains: [CheckedContinuation<Void, Never>] = []
        var database: RocksDB?
        var failure: LogError?
        var isSleeping = false
        var isStopping = false
        /// The thread has ended.
        var isDone = false

        /// Whether the thread sleeps and the caller has to wake it.
        mutating func wake() -> Bool {
            defer { isSleeping = false }
            return isSleeping
        }
    }

    private enum Work {
        case sleep, stop
        case write(drains: [CheckedContinuation<Void, Never>], RocksDB?)
    }

    private let state: Mutex<State>
    private let synced = Mutex(DurationCounts())
    private let wakeUp = Semaphore()
    private let maxRecordBytes: Int
    private let clock: any NodeClock
    private let report: Reporter

    /// A batch that grew beyond this gives its memory back.
    private static let keptBatchBytes = 4 << 20
    private static let keptEntries = 16_384

    init(_ database: RocksDB, maxRecordBytes: Int, clock: any NodeClock, report: @escaping Reporter) {
        var state = State()
        state.database = database
        self.state = Mutex(state)
        self.maxRecordBytes = maxRecordBytes
        self.clock = clock
        self.report = report
    }

    // MARK: - Appending

    /// Takes the records of one command. On the executor of `use`; blocks only while another partition appends.
    func append(_ records: [OutgoingRecord], of use: LocalPartitionLog) {
        if records.isEmpty { return }
        let now = clock.now
        let isAsleep = state.withLock { state -> Bool in
            let refusal = use.refusal ?? state.failure ?? (state.isStopping ? LocalLog.closedError : nil)
            if let error = refusal ?? tooLarge(records) {
                use.fail(error)
                for record in records {
                    state.entries.append(Entry(use: use, changelog: record.changelog, offset: .zero, error: error))
                }
            } else {
                for record in records {
                    let stream = use.streams[record.changelog]
                    let offset = stream.take()
                    state.batch.put(
                        stream.prefix, LogSchema.bytes(offset.rawValue),
                        RecordCodec.encode(record.record, at: offset, appended: now))
                    state.entries.append(Entry(use: use, changelog: record.changelog, offset: offset, error: nil))
                }
            }
            return state.isSleeping
        }
        // The thread is woken when the executor has come to the end of what it has to do now, so that one sync serves
        // all commands of a turn. Each executor sees to that itself: none waits for the turn of another.
        guard isAsleep && use.beginWaking() else { return }
        use.gate.executor.post { [self] in
            use.endWaking()
            if state.withLock({ $0.wake() }) { wakeUp.signal() }
        }
    }

    /// Returns when everything that was appended before has its word.
    func drain() async {
        await withCheckedContinuation { continuation in
            let (isDone, isAsleep) = state.withLock { state in
                if !state.isDone { state.drains.append(continuation) }
                return (state.isDone, state.wake())
            }
            if isAsleep { wakeUp.signal() }
            if isDone { continuation.resume() }
        }
    }

    // MARK: - The database

    /// The database; `nil` while there is none.
    var database: RocksDB? { state.withLock { $0.database } }

    /// Why nothing can be written; `nil` if it can.
    var failure: LogError? { state.withLock { $0.failure } }

    /// How long writing and syncing a batch took so far.
    var syncs: DurationCounts { synced.withLock { $0 } }

    /// Takes the database away before it is closed: appends fail with `error` until there is another.
    func takeDatabase(_ error: LogError) -> RocksDB? {
        state.withLock { state in
            Self.fail(&state, error)
            defer { state.database = nil }
            return state.database
        }
    }

    /// Goes on with another database, opened anew.
    func setDatabase(_ database: RocksDB) {
        state.withLock { state in
            state.database = database
            state.failure = nil
        }
    }

    // MARK: - The thread

    /// Takes no more records; `run` returns when those that are there have their word.
    func stop() {
        state.withLock { state in
            state.isStopping = true
            state.isSleeping = false
        }
        wakeUp.signal()
    }

    /// Writes until `stop` is called. On the thread that belongs to the writer.
    func run() {
        var batch = RocksDBBatch()
        var entries: [Entry] = []
        while true {
            let work: Work = state.withLock { state in
                if state.entries.isEmpty && state.drains.isEmpty {
                    state.isSleeping = !state.isStopping
                    state.isDone = state.isStopping
                    return state.isStopping ? .stop : .sleep
                }
                swap(&state.batch, &batch)
                swap(&state.entries, &entries)
                defer { state.drains = [] }
                return .write(drains: state.drains, state.database)
            }
            switch work {
            case .sleep: wakeUp.wait()
            case .stop: return
            case .write(let drains, let database):
                let error = write(&batch, entries, database)
                hand(out: entries, error)
                for drain in drains { drain.resume() }
                if batch.size > Self.keptBatchBytes { batch = RocksDBBatch() }
                batch.clear()
                entries.removeAll(keepingCapacity: entries.count <= Self.keptEntries)
                // Where there are fewer cores than work, those who wait for a core first append what they have: one sync
                // for more commands. On an idle machine this returns at once.
                sched_yield()
            }
        }
    }

    private func write(_ batch: inout RocksDBBatch, _ entries: [Entry], _ database: RocksDB?) -> LogError? {
        if batch.isEmpty { return nil }
        let ends = ends(entries)
        for (stream, end) in ends { batch.put(LogSchema.endKey(stream.id), LogSchema.bytes(end.rawValue)) }
        do {
            guard let database else { throw LogError(.io, "the log is being opened again") }
            let begin = clock.monotonic
            try database.write(batch, sync: true)
            let end = clock.monotonic
            synced.withLock { $0.add(nanoseconds: end.nanoseconds &- begin.nanoseconds) }
            for (stream, end) in ends { stream.advance(to: end) }
            return nil
        } catch {
            let error = LogError(error)
            // In one step: were the log opened again in between, a later command could enter it without these.
            state.withLock { state in
                for entry in entries { entry.use.fail(error) }
                Self.fail(&state, error)
            }
            report(Report(.error, "the log cannot be written", [("reason", error.reason)]))
            return error
        }
    }

    /// Where each changelog ends behind the entries.
    private func ends(_ entries: [Entry]) -> [(owner: LogStream, value: Offset)] {
        var ends = ByOwner<LogStream, Offset>()
        for entry in entries where entry.error == nil {
            ends.change(of: entry.use.streams[entry.changelog], default: .zero) { $0 = entry.offset.next }
        }
        return ends.all
    }

    /// Posts the acknowledgements: one closure an executor, one batch a partition.
    private func hand(out entries: [Entry], _ error: LogError?) {
        var batches = ByOwner<AckGate, [LogAck]>()
        for entry in entries {
            let result: Result<Offset, LogError> = (entry.error ?? error).map { .failure($0) } ?? .success(entry.offset)
            batches.change(of: entry.use.gate, default: []) {
                $0.append(LogAck(changelog: entry.changelog, result: result))
            }
        }
        AckGate.post(batches.all, gate: { $0.owner }) { $0.owner.deliver($0.value) }
    }

    // MARK: - Private

    /// Nothing that has gathered is written; whoever wrote it has to open its partition anew.
    ///
    /// The batch goes in the same moment in which the failure begins: were it written after the log has recovered,
    /// there would be a gap before it.
    private static func fail(_ state: inout State, _ error: LogError) {
        state.failure = error
        state.batch.clear()
        for index in state.entries.indices where state.entries[index].error == nil {
            state.entries[index].error = error
            state.entries[index].use.fail(error)
        }
    }

    private func tooLarge(_ records: [OutgoingRecord]) -> LogError? {
        for record in records {
            let size = RecordCodec.size(record.record)
            guard size > maxRecordBytes else { continue }
            return LogError(.tooLarge, "a record of \(size) bytes; the log takes \(maxRecordBytes)")
        }
        return nil
    }
}
