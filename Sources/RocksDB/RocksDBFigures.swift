internal import CRocksDB
internal import Synchronization

/// What some databases hold, and what they have done since they were opened.
public struct RocksDBFigures: Sendable {
    /// About how many entries they have.
    public private(set) var entries = 0.0
    /// About how many bytes of their files are not replaced by others.
    public private(set) var liveBytes = 0.0
    /// The bytes of their files.
    public private(set) var fileBytes = 0.0
    /// The bytes that are in memory only.
    public private(set) var memtableBytes = 0.0
    /// Memtables that wait to be written to files.
    public private(set) var waitingMemtables = 0.0
    /// About how many bytes compaction has to rewrite.
    public private(set) var pendingCompactionBytes = 0.0
    /// Flushes that are under way.
    public private(set) var runningFlushes = 0.0
    /// Compactions that are under way.
    public private(set) var runningCompactions = 0.0
    /// Databases that take no writes for now.
    public private(set) var stopped = 0.0
    /// Flushes and compactions.
    public private(set) var compactions = 0.0
    /// The time that they took, in seconds.
    public private(set) var compactionSeconds = 0.0
    /// The bytes that they read.
    public private(set) var compactionReadBytes = 0.0
    /// The bytes that they wrote.
    public private(set) var compactionWrittenBytes = 0.0
    /// How often writers were slowed down.
    public private(set) var slowdowns = 0.0
    /// How long writers were held up, in seconds.
    public private(set) var stalledSeconds = 0.0
    /// How often writers were stopped.
    public private(set) var stops = 0.0

    init() {}

    init(_ figures: crocks_figures) {
        entries = Double(figures.entries)
        liveBytes = Double(figures.live_bytes)
        fileBytes = Double(figures.file_bytes)
        memtableBytes = Double(figures.memtable_bytes)
        waitingMemtables = Double(figures.waiting_memtables)
        pendingCompactionBytes = Double(figures.pending_compaction_bytes)
        runningFlushes = Double(figures.running_flushes)
        runningCompactions = Double(figures.running_compactions)
        stopped = Double(figures.stopped)
        compactions = Double(figures.compactions)
        compactionSeconds = figures.compaction_seconds
        compactionReadBytes = figures.compaction_read_bytes
        compactionWrittenBytes = figures.compaction_written_bytes
        slowdowns = Double(figures.slowdowns)
        stops = Double(figures.stops)
        stalledSeconds = figures.stalled_seconds
    }

    /// What is left of a database that is closed: what it has done.
    var done: RocksDBFigures {
        var done = RocksDBFigures()
        done.compactions = compactions
        done.compactionSeconds = compactionSeconds
        done.compactionReadBytes = compactionReadBytes
        done.compactionWrittenBytes = compactionWrittenBytes
        done.slowdowns = slowdowns
        done.stops = stops
        done.stalledSeconds = stalledSeconds
        return done
    }

    mutating func add(_ other: RocksDBFigures) {
        entries += other.entries
        liveBytes += other.liveBytes
        fileBytes += other.fileBytes
        memtableBytes += other.memtableBytes
        waitingMemtables += other.waitingMemtables
        pendingCompactionBytes += other.pendingCompactionBytes
        runningFlushes += other.runningFlushes
        runningCompactions += other.runningCompactions
        stopped += other.stopped
        compactions += other.compactions
        compactionSeconds += other.compactionSeconds
        compactionReadBytes += other.compactionReadBytes
        compactionWrittenBytes += other.compactionWrittenBytes
        slowdowns += other.slowdowns
        stops += other.stops
        stalledSeconds += other.stalledSeconds
    }
}

/// The databases that share their memory, by groups. Can be used on any thread.
final class RocksDBDatabases: Sendable {
    private struct Group {
        var open: [ObjectIdentifier: Open] = [:]
        /// What those have done that are closed: a counter must not go back.
        var closed = RocksDBFigures()
    }

    private struct Open {
        weak var database: RocksDB?
    }

    private let groups = Mutex<[String: Group]>([:])

    func add(_ database: RocksDB, to group: String) {
        groups.withLock { $0[group, default: Group()].open[ObjectIdentifier(database)] = Open(database: database) }
    }

    /// To be called before it is closed; a second time does nothing.
    func remove(_ database: RocksDB, from group: String) {
        let done = database.figures.done
        groups.withLock { groups in
            guard groups[group]?.open.removeValue(forKey: ObjectIdentifier(database)) != nil else { return }
            groups[group]?.closed.add(done)
        }
    }

    var figures: [String: RocksDBFigures] {
        // Outside of the lock: RocksDB takes locks of its own, and the last reference may be let go of here.
        let groups = groups.withLock { groups in
            groups.mapValues { (open: $0.open.values.compactMap(\.database), closed: $0.closed) }
        }
        return groups.mapValues { group in
            group.open.reduce(into: group.closed) { $0.add($1.figures) }
        }
    }
}
