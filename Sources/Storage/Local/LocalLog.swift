public import AffinityCore
public import AffinityRocksDB
internal import AffinityThreads
internal import Synchronization

/// The embedded durable log: the changelogs of all partitions of a process that is alone, in one RocksDB database.
///
/// Records of all partitions are written together, with one sync for whatever has gathered while the one before was
/// under way; a thread of the log does that, and another one compacts. Whatever stands in the log was handed over by
/// this process, and a command's records stand in it together or not at all, so `isExclusive` is true.
///
/// After a write that failed (the disk is full, or gone) everything later fails until the log is opened again, by
/// `reopen` or by opening any partition. A log has to be closed; a process that ends without closing it has crashed,
/// which loses nothing that was acknowledged.
///
/// Called by the replicas through `LocalPartitionLog`. Calls `RocksDB`, in the blocking pool or on its own threads.
public final class LocalLog: ChangeLog {
    /// True: the folder is locked, and a command's records are one batch.
    public var isExclusive: Bool { true }
    /// The folder of the log.
    public let folder: String
    let writer: LogWriter
    let pool: BlockingPool

    private let configuration: LocalLogConfiguration
    private let shared: RocksDBShared
    private let report: Reporter
    private let compactor: LogCompactor
    private let threads: [ServiceThread]
    private let uses = Mutex<[PartitionID: LocalPartitionLog]>([:])
    /// The lock on the folder; `nil` once the log is closed. Whoever holds it opens or closes the database: in the
    /// blocking pool only.
    private let lock: Mutex<Folder?>

    static var closedError: LogError { LogError(.closed, "the log was closed") }

    // MARK: - Opening and closing

    /// Opens the log in a folder, makes it where there is none.
    ///
    /// A write that a crash tore off at the end is dropped and reported; it was never acknowledged.
    ///
    /// - Parameters:
    ///   - folder: belongs to the log alone.
    ///   - shared: the caches of the node.
    ///   - clock: gives the append times.
    ///   - pool: where reading, opening and closing run.
    ///   - report: called on any thread.
    /// - Throws: `corrupt` if the log is damaged or shorter than it was when it was closed; the reason names the file,
    ///   and nothing was changed. `io` if the folder cannot be used or is in use; `full`.
    public static func open(
        folder: String, configuration: LocalLogConfiguration = .init(), shared: RocksDBShared, clock: any NodeClock,
        pool: BlockingPool, report: @escaping Reporter
    ) async throws(LogError) -> LocalLog {
        do {
            return try await pool.run {
                let locked = try Folder(folder)
                let database = try open(locked, configuration, shared, report)
                return LocalLog(locked, database, configuration, shared, clock, pool, report)
            }
        } catch {
            throw LogError(error)
        }
    }

    private init(
        _ folder: consuming Folder, _ database: RocksDB, _ configuration: LocalLogConfiguration,
        _ shared: RocksDBShared, _ clock: any NodeClock, _ pool: BlockingPool, _ report: @escaping Reporter
    ) {
        self.folder = folder.path
        self.configuration = configuration
        self.shared = shared
        self.pool = pool
        self.report = report
        lock = Mutex(folder)
        let writer = LogWriter(database, maxRecordBytes: configuration.maxRecordBytes, clock: clock, report: report)
        let compactor = LogCompactor(writer, configuration, clock: clock, report: report)
        self.writer = writer
        self.compactor = compactor
        threads = [ServiceThread { writer.run() }, ServiceThread { compactor.run() }]
    }

    /// Writes what was handed over, closes the log and notes where it ended.
    ///
    /// Uses of it end: their later appends, reads and waits fail with `closed`.
    public func close() async {
        // First, so that it does not take the end of the writer for a failure.
        compactor.stop()
        // Those appends that came before have their word when this returns.
        writer.stop()
        _ = try? await pool.run { [self] in
            for thread in threads { thread.join() }
            // Taken out of the table too: each of them holds the log.
            let ended = uses.withLock { uses in
                defer { uses = [:] }
                return Array(uses.values)
            }
            for use in ended { use.end(Self.closedError) }
            lock.withLock { folder in
                guard let locked = folder.take() else { return }
                shut(locked)
            }
        }
    }

    private func shut(_ folder: borrowing Folder) {
        let failure = writer.failure
        guard let database = writer.takeDatabase(Self.closedError) else { return }
        do {
            let ends = try database.changelogs().map { changelog in
                (changelog.id, Offset(try database.numbers(LogSchema.endKey(changelog.id), count: 1)?[0] ?? 0))
            }
            try database.syncWAL()
            try database.close()
            if failure != nil { return }
            try folder.write(
                ShutdownNote.fileName, ShutdownNote(files: folder.sizes(Self.databaseName), ends: ends).bytes)
        } catch {
            try? database.close()
            report(Report(.error, "the log was not closed properly", [("reason", "\(error)")]))
        }
    }

    /// Opens the database again after a write failed; does nothing if none did. Opening a partition does it too.
    ///
    /// What failed may or may not be in the log then. Partitions whose records failed have to be opened anew.
    ///
    /// - Throws: why it still fails: `full`, `io`, `corrupt`; or `closed`.
    public func reopen() async throws(LogError) {
        if writer.failure == nil { return }
        do {
            try await pool.run { [self] in
                try lock.withLock { folder in try recover(&folder) }
            }
        } catch {
            throw LogError(error)
        }
    }

    /// Compacts every changelog now, whatever part of it is new. May take long; appends go on meanwhile.
    ///
    /// - Throws: why it could not: `corrupt` names the damaged record, which stays where it is.
    public func compact() async throws(LogError) {
        do {
            try await pool.run { [compactor] in try compactor.compact(isForced: true) }
        } catch {
            throw LogError(error)
        }
    }

    /// How long the syncs took so far.
    package var syncs: DurationCounts { writer.syncs }

    // MARK: - ChangeLog

    /// Opens the changelogs of a partition, makes those that are missing; a former use of them ends.
    public func open(
        _ partition: PartitionID, changelogs: [ChangeLogDeclaration], executor: any EventExecutor,
        acknowledge: @escaping @Sendable ([LogAck]) -> Void
    ) async throws(LogError) -> any PartitionLog {
        guard Set(changelogs.map(\.name)).count == changelogs.count else {
            throw LogError(.shape, "\(partition): two changelogs of one name among \(changelogs.map(\.name))")
        }
        try await reopen()
        if let former = uses.withLock({ $0[partition] }) {
            await former.close()
            // What it has handed over gets its offsets before the ends are looked up.
            await writer.drain()
        }
        let streams: [LogStream]
        do {
            streams = try await pool.run { [self] in
                try lock.withLock { folder in
                    guard folder != nil, let database = writer.database else { throw Self.closedError }
                    // What failed meanwhile may come back when the log is opened again: its end is not known now.
                    if let failure = writer.failure { throw failure }
                    return try Self.streams(database, partition, changelogs.map(\.name))
                }
            }
        } catch {
            throw LogError(error)
        }
        let gate = AckGate(executor: executor, acknowledge: acknowledge)
        let use = LocalPartitionLog(self, partition, streams, gate)
        let isFirst = uses.withLock { uses in
            if uses[partition] != nil { return false }
            uses[partition] = use
            return true
        }
        // Two uses would give out the same offsets.
        guard isFirst else { throw LogError(.io, "\(partition): opened twice at the same time") }
        return use
    }

    /// Forgets a use that was closed.
    func remove(_ use: LocalPartitionLog) {
        uses.withLock { uses in
            if uses[use.partition] === use { uses[use.partition] = nil }
        }
    }

    // MARK: - In the blocking pool

    static let databaseName = "db"

    private static func open(
        _ folder: borrowing Folder, _ configuration: LocalLogConfiguration, _ shared: RocksDBShared,
        _ report: Reporter
    ) throws -> RocksDB {
        let path = "\(folder.path)/\(databaseName)"
        var note: ShutdownNote?
        if let bytes = try folder.read(ShutdownNote.fileName) {
            note = ShutdownNote(bytes)
            guard note != nil else {
                throw LogError(
                    .corrupt, "\(folder.path)/\(ShutdownNote.fileName): not what was written when the log was closed")
            }
        }
        try note?.check(folder.sizes(databaseName), in: path)
        var options = RocksDBOptions()
        options.group = "log"
        options.bloomBits = 0
        options.writeBufferBytes = configuration.writeBufferBytes
        options.fileBytes = 64 << 20
        options.maxWALBytes = configuration.maxWALBytes
        options.compactsDeletions = true
        options.ascendingPrefixBytes = LogSchema.prefixLength
        options.walRecovery = note == nil ? .dropTornTail : .absolute
        let database = try RocksDB(path: path, options: options, shared: shared)
        do {
            try note?.check(database)
            if let tail = database.tornTail {
                report(
                    Report(
                        .warning, "a write that was torn off by a crash was dropped from the log",
                        [("file", tail.file), ("bytes", "\(tail.bytes)")]))
            }
            try folder.remove(ShutdownNote.fileName)
            return database
        } catch {
            try? database.close()
            throw error
        }
    }

    private func recover(_ folder: inout Folder?) throws {
        guard let locked = folder.take() else { throw Self.closedError }
        let failure = openAgain(locked)
        folder = consume locked
        if let failure { throw failure }
    }

    private func openAgain(_ folder: borrowing Folder) -> (any Error)? {
        // Somebody else may have been quicker.
        guard writer.failure != nil else { return nil }
        // Its own last words do not matter: it has failed, and what it holds is read from its files.
        if let failed = writer.takeDatabase(LogError(.io, "the log is being opened again")) { try? failed.close() }
        do {
            writer.setDatabase(try Self.open(folder, configuration, shared, report))
        } catch {
            _ = writer.takeDatabase(LogError(error))
            return error
        }
        report(Report(.info, "the log was opened again after a failure", [("folder", folder.path)]))
        return nil
    }

    private static func streams(
        _ database: RocksDB, _ partition: PartitionID, _ changelogs: [String]
    ) throws -> [LogStream] {
        var last: UInt32?
        return try changelogs.map { changelog in
            let name = LogSchema.name(partition, changelog)
            let key = LogSchema.namePrefix + name
            let id: UInt32
            if let found = try database.get(key) {
                guard found.count == 4 else {
                    throw LogError(.corrupt, "\(database.path): the id of \(LogSchema.describe(name)) is damaged")
                }
                id = found.bigEndian(at: 0)
            } else {
                id = try (last ?? database.changelogs().map(\.id).max() ?? 0) + 1
                last = id
                var batch = RocksDBBatch()
                var bytes: [UInt8] = []
                bytes.appendBigEndian(id)
                batch.put(key, bytes)
                try database.write(batch, sync: true)
            }
            let end = try database.numbers(LogSchema.endKey(id), count: 1)?[0] ?? 0
            return LogStream(id: id, name: LogSchema.describe(name), end: Offset(end))
        }
    }
}
