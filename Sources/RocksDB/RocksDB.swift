internal import CRocksDB

/// An open RocksDB database.
///
/// Every method can be called on any thread, at the same time as others; the caller decides which. `open`, `close`,
/// `flush`, `checkpoint`, `compact` and a write with `sync` block on the disk for long; `get`, iterators and a write
/// without `sync` do so only for a block that is not in the cache, or when RocksDB stalls writers. Called by the
/// RocksDB memstore and by the local log.
public final class RocksDB: Sendable {
    /// The folder of the database.
    public let path: String
    private let handle: Handle
    private let group: String
    private let shared: RocksDBShared

    /// What was found at the end of a write-ahead log: a write that a crash tore off, and that opening drops.
    public struct TornTail: Sendable, Equatable {
        /// The file.
        public let file: String
        /// How many bytes do not make a whole write.
        public let bytes: Int
    }

    /// What the check of the write-ahead logs found before the database was opened.
    public let tornTail: TornTail?

    /// Opens the database in the folder `path`, which need not exist if the options say so. Blocks.
    ///
    /// The write-ahead logs are checked first, without changing anything: RocksDB itself cannot tell a damaged length
    /// in the last block from the end of the log, and would drop what stands behind it.
    ///
    /// - Throws: `busy` if it is open elsewhere, `corrupt` if it is damaged, `full`, `io`, or `invalid`.
    public init(path: String, options: RocksDBOptions = .init(), shared: RocksDBShared) throws(RocksDBError) {
        // Of a log that is being written, the check would see a part of what RocksDB then reads.
        tornTail = options.isReadOnly ? nil : try Self.checkWAL(path)
        self.path = path
        self.shared = shared
        group = options.group
        handle = try Handle(path: path, options: options, shared: shared)
        shared.databases.add(self, to: options.group)
    }

    /// Looks for damage in the write-ahead logs of a database that is not open. Changes nothing; blocks.
    ///
    /// - Returns: the torn end, if there is one.
    /// - Throws: `corrupt` for damage that no crash explains; the reason names the file.
    public static func checkWAL(_ path: String) throws(RocksDBError) -> TornTail? {
        var bytes: UInt64 = 0
        var file: UnsafeMutablePointer<CChar>?
        let status = crocks_check_wal(path, &bytes, &file)
        let name = file.map { String(cString: $0) }
        crocks_free(file)
        try RocksDBError.check(status, path: path)
        return name.map { TornTail(file: $0, bytes: Int(bytes)) }
    }

    /// Closes the database; what is called later throws `closed`. Waits for calls that are under way. Blocks.
    ///
    /// What was written without the write-ahead log is flushed. The second call does nothing.
    ///
    /// - Throws: `io` or `full` if the last files could not be written; the database is closed all the same.
    public func close() throws(RocksDBError) {
        shared.databases.remove(self, from: group)
        try check(crocks_close(handle.pointer))
    }

    // MARK: - Reading

    /// Calls `body` with the bytes under the key `prefix` + `key`, which are valid in the call only.
    ///
    /// `body` must not look up anything in a database itself. The two parts are joined in C, so that no array is
    /// made for a key with a prefix.
    ///
    /// - Returns: what `body` returns; `nil` if there is nothing under the key.
    public func withValue<Result>(
        _ prefix: [UInt8] = [], _ key: [UInt8], _ body: (_ value: UnsafeRawBufferPointer) -> Result
    ) throws(RocksDBError) -> Result? {
        var value = crocks_bytes()
        var status = crocks_status()
        let isThere = withCBytes(prefix) { prefix in
            withCBytes(key) { key in crocks_get(handle.pointer, prefix, key, &value, &status) }
        }
        try check(status)
        guard isThere else { return nil }
        defer { crocks_get_release(handle.pointer) }
        return body(UnsafeRawBufferPointer(start: value.data, count: value.size))
    }

    /// The bytes under `key`, copied once; `nil` if there is nothing.
    public func get(_ key: [UInt8]) throws(RocksDBError) -> [UInt8]? {
        try withValue([], key) { [UInt8]($0) }
    }

    /// Calls `body` with an iterator over the keys from `lower` up to, and without, `upper`; it ends with the call.
    ///
    /// - Parameters:
    ///   - lower: the first key; empty for no bound.
    ///   - upper: the first key behind; `nil` for no bound.
    ///   - fillsCache: whether what is read stays in the block cache.
    ///   - body: must not close the database, which waits for it.
    public func iterate<Result>(
        from lower: [UInt8] = [], to upper: [UInt8]? = nil, fillsCache: Bool = true,
        _ body: (borrowing RocksDBIterator) throws(RocksDBError) -> Result
    ) throws(RocksDBError) -> Result {
        var status = crocks_status()
        let made = withCBytes(lower) { lower in
            withCBytes(upper ?? []) { upper in
                crocks_iterator_create(handle.pointer, lower, upper, fillsCache, &status)
            }
        }
        try check(status)
        guard let made else { throw RocksDBError(.other, "\(path): no iterator") }
        let iterator = RocksDBIterator(made, path: path)
        return try body(iterator)
    }

    // MARK: - Writing

    /// Takes a batch: all of it or nothing.
    ///
    /// - Parameters:
    ///   - wal: whether it enters the write-ahead log; without it, it is durable after the next flush.
    ///   - sync: whether the write-ahead log is synced before this returns.
    public func write(
        _ batch: borrowing RocksDBBatch, wal: Bool = true, sync: Bool = false
    ) throws(RocksDBError) {
        try check(crocks_write(handle.pointer, batch.pointer, wal, sync))
    }

    /// Writes everything in memory to files. Blocks.
    public func flush() throws(RocksDBError) { try check(crocks_flush(handle.pointer)) }

    /// Syncs the write-ahead log. Blocks.
    public func syncWAL() throws(RocksDBError) { try check(crocks_sync_wal(handle.pointer)) }

    /// Makes a consistent copy in the new folder `path`; files are linked where that is possible. Blocks.
    public func checkpoint(to path: String) throws(RocksDBError) {
        try check(crocks_checkpoint(handle.pointer, path), path)
    }

    /// Rewrites the files of a range, so that what was deleted in it takes no more space. Blocks for long.
    public func compact(from lower: [UInt8], to upper: [UInt8]) throws(RocksDBError) {
        try check(
            withCBytes(lower) { lower in
                withCBytes(upper) { upper in crocks_compact(handle.pointer, lower, upper) }
            })
    }

    // MARK: - Facts

    /// A property by RocksDB's name, such as `rocksdb.stats`; `nil` if there is none.
    public func property(_ name: String) -> String? {
        guard let text = crocks_property(handle.pointer, name) else { return nil }
        defer { crocks_free(text) }
        return String(cString: text)
    }

    /// About how many entries there are, and the bytes of their keys and values; 0 once it is closed. Cheap.
    public var size: (entries: Int, bytes: Int) {
        var (entries, bytes): (UInt64, UInt64) = (0, 0)
        _ = crocks_get_size(handle.pointer, &entries, &bytes)
        return (Int(clamping: entries), Int(clamping: bytes))
    }

    /// What it holds and has done; nothing once it is closed.
    var figures: RocksDBFigures {
        var figures = crocks_figures()
        _ = crocks_get_figures(handle.pointer, &figures)
        return RocksDBFigures(figures)
    }

    /// The version of the library: `7.8.3`.
    package static var libraryVersion: String {
        guard let text = crocks_version() else { return "unknown" }
        defer { crocks_free(text) }
        return String(cString: text)
    }

    private func check(_ status: crocks_status, _ place: String? = nil) throws(RocksDBError) {
        if status.code == crocks_ok { return }
        try RocksDBError.check(status, path: place ?? path)
    }

    /// The C object. Unchecked: "A DB is safe for concurrent access from multiple threads without any external
    /// synchronization" (rocksdb/db.h), and the shim keeps calls and closing apart.
    private struct Handle: ~Copyable, @unchecked Sendable {
        let pointer: OpaquePointer

        init(path: String, options: RocksDBOptions, shared: RocksDBShared) throws(RocksDBError) {
            var status = crocks_status()
            let opened = crocks_open(path, options.c, shared.handle.pointer, &status)
            try RocksDBError.check(status, path: path)
            guard let opened else { throw RocksDBError(.other, "\(path): not opened") }
            pointer = opened
        }

        deinit { crocks_destroy(pointer) }
    }
}

/// Lends the bytes of an array to C for the length of the call.
func withCBytes<Result>(_ bytes: [UInt8], _ body: (crocks_bytes) -> Result) -> Result {
    bytes.withUnsafeBufferPointer { body(crocks_bytes(data: $0.baseAddress, size: $0.count)) }
}
