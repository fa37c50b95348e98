internal import AffinityCore
internal import AffinityRocksDB
internal import Synchronization

/// One changelog of one use of a partition.
final class LogStream: Sendable {
    private struct Places {
        /// What the next record gets.
        var next: Offset
        /// Behind the last record that is durable.
        var end: Offset
    }

    let id: UInt32
    /// `keyspace/number changelog`, for messages.
    let name: String
    /// What stands before the offset in a record's key.
    let prefix: [UInt8]
    let waiters: RecordWaiters
    private let places: Mutex<Places>

    init(id: UInt32, name: String, end: Offset) {
        self.id = id
        self.name = name
        prefix = LogSchema.dataPrefix(id)
        waiters = RecordWaiters(end: end)
        places = Mutex(Places(next: end, end: end))
    }

    /// The end for readers.
    var end: Offset { places.withLock { $0.end } }

    /// Gives out the next offset.
    func take() -> Offset {
        places.withLock { places in
            defer { places.next = places.next.next }
            return places.next
        }
    }

    /// What stands before `end` is durable now.
    func advance(to end: Offset) {
        places.withLock { $0.end = end }
        waiters.advance(to: end)
    }
}

/// One use of a partition's changelogs: from its opening to its closing, or to the next opening.
final class LocalPartitionLog: PartitionLog {
    let gate: AckGate
    let streams: [LogStream]
    let partition: PartitionID
    private let log: LocalLog
    private let failure = Mutex<LogError?>(nil)

    init(_ log: LocalLog, _ partition: PartitionID, _ streams: [LogStream], _ gate: AckGate) {
        self.log = log
        self.partition = partition
        self.streams = streams
        self.gate = gate
    }

    /// Why no record of this use is taken any more; `nil` if they are.
    var refusal: LogError? { failure.withLock { $0 } }

    /// Takes no more records; the first reason stays.
    func fail(_ error: LogError) {
        failure.withLock { if $0 == nil { $0 = error } }
    }

    /// Whether the caller has to post that the writer be woken: it is not posted yet.
    func beginWaking() -> Bool { !isWaking.exchange(true, ordering: .acquiringAndReleasing) }

    /// The writer is woken now.
    func endWaking() { isWaking.store(false, ordering: .releasing) }

    // MARK: - PartitionLog

    func append(_ records: [OutgoingRecord]) { log.writer.append(records, of: self) }

    /// Compaction leaves the beginning where it is; the end is that of the durable records.
    func bounds(_ changelog: Int) async throws(LogError) -> Range<Offset> {
        try checkOpen()
        return .zero..<streams[changelog].end
    }

    func end(_ changelog: Int) -> Offset { streams[changelog].end }

    func read(_ changelog: Int, from offset: Offset, maxBytes: Int) async throws(LogError) -> LogPage {
        try checkOpen()
        let stream = streams[changelog]
        let end = stream.end
        guard offset >= .zero && offset <= end else {
            throw LogError(.outOfRange, "\(stream.name): offset \(offset) is not in 0...\(end)")
        }
        if offset == end { return LogPage(records: [], next: end, end: end) }
        guard let database = log.writer.database else { throw LogError(.io, "the log is being opened again") }
        do {
            return try await log.pool.run {
                var page = try database.records(of: stream.id, stream.name, in: offset..<end, maxBytes: maxBytes)
                // After the records: what compaction forgets between the two counts as forgotten.
                let forgotten = try database.numbers(LogSchema.forgottenKey(stream.id), count: 1)?[0]
                page.forgotten = Offset(forgotten ?? 0)
                return page
            }
        } catch {
            throw LogError(error)
        }
    }

    func waitForRecords(_ changelog: Int, beyond offset: Offset) async throws(LogError) {
        try await streams[changelog].waiters.wait(beyond: offset)
    }

    func close() async {
        end(LogError(.closed, "the log of \(partition) was closed"))
        log.remove(self)
    }

    /// Ends the use: no acknowledgement comes after this has returned.
    func end(_ error: LogError) {
        fail(error)
        isEnded.store(true, ordering: .releasing)
        gate.end()
        for stream in streams { stream.waiters.close(error) }
    }

    // MARK: - Private

    private let isEnded = Atomic(false)
    private let isWaking = Atomic(false)

    private func checkOpen() throws(LogError) {
        if isEnded.load(ordering: .acquiring) { throw LogError(.closed, "the log of \(partition) was closed") }
    }
}

extension RocksDB {
    /// Records of a changelog, at least one if there is one, about `maxBytes` of them. Blocks.
    func records(
        of id: UInt32, _ name: String, in range: Range<Offset>, maxBytes: Int
    ) throws(RocksDBError) -> LogPage {
        try iterate(
            from: LogSchema.dataKey(id, range.lowerBound), to: LogSchema.dataKey(id, range.upperBound),
            fillsCache: false
        ) { iterator throws(RocksDBError) in
            var page = LogPage(records: [], next: range.upperBound, end: range.upperBound)
            var bytes = 0
            iterator.seekToFirst()
            while true {
                let found: (offset: Offset?, record: LoggedRecord?)? = try iterator.withEntry { key, value in
                    bytes += value.count
                    guard let offset = LogSchema.offset(key) else { return (nil, nil) }
                    return (offset, RecordCodec.decode(value, at: offset))
                }
                guard let found else { return page }
                guard let record = found.record else {
                    let place = found.offset.map(\.description) ?? "?"
                    throw RocksDBError(.corrupt, "\(path): the record \(place) of \(name) is damaged")
                }
                page.records.append(record)
                if bytes >= maxBytes {
                    page.next = record.offset.next
                    return page
                }
                iterator.next()
            }
        }
    }
}
