package import AffinityCore
internal import AffinityRocksDB

/// Reads the embedded log in a folder, also while a node runs on it, and changes nothing there.
///
/// It sees the log as it was when the reader was made. RocksDB holds every file open that it found then, so what the
/// node deletes later stays readable; only while it opens them one may vanish, and it looks again.
package final class LocalLogReader: ChangelogReader {
    private let database: RocksDB
    private let path: String

    /// How often the files are looked for before the node is too quick.
    private static let tries = 5

    /// Opens the log. Blocks.
    ///
    /// - Parameter folder: that of the log: `log` below the data folder of a node.
    /// - Throws: `io` if there is no log in it, or it cannot be read; `corrupt`.
    package init(folder: String) throws(LogError) {
        path = "\(folder)/\(LocalLog.databaseName)"
        do {
            database = try Self.open(path)
        } catch {
            throw LogError(error)
        }
    }

    private static func open(_ path: String) throws(RocksDBError) -> RocksDB {
        var options = RocksDBOptions()
        options.isReadOnly = true
        let shared = RocksDBShared(cacheBytes: 8 << 20, writeBufferBytes: 64 << 20)
        for _ in 1..<tries {
            do throws(RocksDBError) {
                return try RocksDB(path: path, options: options, shared: shared)
            } catch {
                guard error.code == .io || error.code == .corrupt else { throw error }
            }
        }
        return try RocksDB(path: path, options: options, shared: shared)
    }

    package func changelogs() throws(LogError) -> [ReadableChangelog] {
        do {
            return try database.changelogs().map { name, id in
                guard let (partition, store) = LogSchema.parts(ofName: name) else {
                    throw LogError(.corrupt, "\(path): a changelog has a name that none has")
                }
                let end = try database.numbers(LogSchema.endKey(id), count: 1)?[0] ?? 0
                return ReadableChangelog(partition: partition, store: store, bounds: .zero..<Offset(max(0, end)))
            }.sorted(by: ReadableChangelog.isInOrder)
        } catch {
            throw LogError(error)
        }
    }

    package func read(
        _ changelog: ReadableChangelog, from offset: Offset, maxBytes: Int
    ) throws(LogError) -> LogPage {
        let name = LogSchema.name(changelog.partition, changelog.store)
        let end = changelog.bounds.upperBound
        guard offset < end else { return LogPage(records: [], next: end, end: end) }
        do {
            guard let id = try database.get(LogSchema.namePrefix + name), id.count == 4 else {
                throw LogError(.corrupt, "\(path): there is no \(LogSchema.describe(name)) any more")
            }
            return try database.records(
                of: id.bigEndian(at: 0), LogSchema.describe(name), in: offset..<end, maxBytes: maxBytes)
        } catch {
            throw LogError(error)
        }
    }
}
