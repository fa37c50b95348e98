internal import AffinityCore
internal import AffinityRocksDB

/// A memstore in one RocksDB database with one column family and no write-ahead log.
///
/// A key is the store's two bytes and the key; a value is version (8), time (8) and the value. Checkpoint and writes
/// are one batch, so what a crash leaves is a prefix of the batches with the checkpoint of the last. Called by
/// `StateStore` on the replica's executor.
final class RocksDBMemStore: MemStore {
    private(set) var checkpoint: [UInt8]?
    private let database: RocksDB
    private let pool: BlockingPool
    private let prefixes: [[UInt8]]
    private var batch = RocksDBBatch()
    // Exclusive access is not checked at run time: only the replica's executor gets here, and nothing calls back.
    @exclusivity(unchecked) private var cache: EntryCache

    private static let headerLength = 16

    init(_ database: RocksDB, _ table: StoreTable, pool: BlockingPool, entryCache: EntryCacheBudget) {
        self.database = database
        self.pool = pool
        prefixes = table.prefixes
        checkpoint = table.checkpoint
        cache = EntryCache(entryCache, stores: table.prefixes.count)
    }

    func get(_ store: Int, _ key: [UInt8]) throws(MemStoreError) -> StoredEntry? {
        if let entry = cache.entry(store, key) { return entry }
        let found: StoredEntry??
        do {
            found = try database.withValue(prefixes[store], key, Self.decode)
        } catch {
            throw MemStoreError(error)
        }
        guard let found else { return nil }
        guard let found else { throw damaged }
        cache.insert(store, key, found)
        return found
    }

    func scan(
        _ store: Int, _ range: KeyRange, _ direction: ScanDirection,
        _ visit: (_ key: [UInt8], _ entry: StoredEntry) -> Bool
    ) throws(MemStoreError) {
        let prefix = prefixes[store]
        // An upper bound at or before the lower one is an empty range, which RocksDB does not take.
        if let upper = range.upper, !range.lower.lexicographicallyPrecedes(upper) { return }
        let isWhole: Bool
        do {
            isWhole = try database.iterate(
                from: prefix + range.lower, to: range.upper.map { prefix + $0 } ?? Self.end(of: prefix)
            ) { iterator throws(RocksDBError) in
                direction == .forward ? iterator.seekToFirst() : iterator.seekToLast()
                while let (key, entry) = try iterator.withEntry({ ([UInt8]($0.dropFirst(2)), Self.decode($1)) }) {
                    guard let entry else { return false }
                    if !visit(key, entry) { break }
                    direction == .forward ? iterator.next() : iterator.previous()
                }
                return true
            }
        } catch {
            throw MemStoreError(error)
        }
        if !isWhole { throw damaged }
    }

    func count(_ store: Int) throws(MemStoreError) -> Int {
        do {
            return try database.iterate(
                from: prefixes[store], to: Self.end(of: prefixes[store]), fillsCache: false
            ) { iterator throws(RocksDBError) in
                var count = 0
                iterator.seekToFirst()
                while try iterator.withEntry({ _, _ in true }) == true {
                    count += 1
                    iterator.next()
                }
                return count
            }
        } catch {
            throw MemStoreError(error)
        }
    }

    /// About how many entries there are, and their bytes in files and memory.
    var size: MemStoreSize {
        let size = database.size
        return MemStoreSize(entries: size.entries, bytes: size.bytes)
    }

    func commit(_ writes: [MemStoreWrite], checkpoint: [UInt8]) throws(MemStoreError) {
        batch.clear()
        var header: [UInt8] = []
        header.reserveCapacity(Self.headerLength)
        for write in writes {
            guard let entry = write.entry else {
                batch.delete(prefixes[write.store], write.key)
                continue
            }
            header.removeAll(keepingCapacity: true)
            header.appendBigEndian(entry.version.rawValue)
            header.appendBigEndian(entry.time.milliseconds)
            batch.put(prefixes[write.store], write.key, header: header, entry.value)
        }
        batch.put(StoreTable.checkpointKey, checkpoint)
        do {
            try database.write(batch, wal: false)
        } catch {
            throw MemStoreError(error)
        }
        self.checkpoint = checkpoint
        for write in writes { cache.update(write.store, write.key, write.entry) }
        cache.shrink()
    }

    nonisolated(nonsending) func flush() async throws(MemStoreError) {
        let database = database
        try await run { try database.flush() }
    }

    nonisolated(nonsending) func copy(to path: String) async throws(MemStoreError) {
        let database = database
        try await run {
            // RocksDB flushes for a copy only what a write-ahead log would bring back, and there is none.
            try database.flush()
            try database.checkpoint(to: path)
        }
    }

    nonisolated(nonsending) func close() async {
        let database = database
        // What cannot be written now is read from the changelog again: the database stays a prefix of the batches.
        try? await run { try database.close() }
    }

    // MARK: - Private

    private var damaged: MemStoreError { MemStoreError(.corrupt, "\(database.path): an entry is damaged") }

    private nonisolated(nonsending) func run(_ body: @escaping @Sendable () throws -> Void) async throws(MemStoreError)
    {
        do {
            try await pool.run(body)
        } catch {
            throw MemStoreError(error)
        }
    }

    /// `nil` if the bytes are not an entry.
    private static func decode(_ bytes: UnsafeRawBufferPointer) -> StoredEntry? {
        guard bytes.count >= headerLength else { return nil }
        return StoredEntry(
            value: [UInt8](UnsafeRawBufferPointer(rebasing: bytes[headerLength...])),
            version: Version(UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))),
            time: Timestamp(
                milliseconds: Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: Int64.self))))
    }

    /// The first key behind those of a store.
    private static func end(of prefix: [UInt8]) -> [UInt8] {
        // No store has the last number, so there is always a next one.
        let next = (UInt16(prefix[0]) << 8 | UInt16(prefix[1])) &+ 1
        return [UInt8(next >> 8), UInt8(next & 0xFF)]
    }
}
