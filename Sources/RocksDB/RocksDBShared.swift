internal import CRocksDB

/// The memory that all databases of a node share: one block cache and one write-buffer manager, both bounded.
///
/// The write buffers are bounded apart from the cache: a burst of writes must not throw out what is read. When they
/// reach their limit, the database that writes next flushes; nobody is stalled. Can be used on any thread.
public final class RocksDBShared: Sendable {
    let handle: Handle
    /// The bound of the block cache, in bytes.
    public let cacheBytes: Int
    /// The bound of all write buffers together, in bytes.
    public let writeBufferBytes: Int

    /// Shared memory with those bounds; it is filled as it is needed.
    public init(cacheBytes: Int = 256 << 20, writeBufferBytes: Int = 128 << 20) {
        precondition(cacheBytes > 0 && writeBufferBytes > 0, "RocksDB takes 0 for no limit")
        self.cacheBytes = cacheBytes
        self.writeBufferBytes = writeBufferBytes
        handle = Handle(cacheBytes: cacheBytes, writeBufferBytes: writeBufferBytes)
    }

    /// The databases that are open.
    let databases = RocksDBDatabases()

    /// What the databases of each group hold and have done, those that were closed included. Blocks for a moment.
    public var figures: [String: RocksDBFigures] { databases.figures }

    /// How much of the block cache is filled, in bytes.
    public var cacheUsage: Int { crocks_shared_cache_usage(handle.pointer) }

    /// How much the write buffers hold, in bytes.
    public var writeBufferUsage: Int { crocks_shared_write_buffer_usage(handle.pointer) }

    /// The C object. Unchecked: RocksDB's `Cache` and `WriteBufferManager` are documented as thread-safe, and the
    /// pointer never changes. A database keeps what it needs of it, so the order of releasing does not matter.
    struct Handle: ~Copyable, @unchecked Sendable {
        let pointer: OpaquePointer

        init(cacheBytes: Int, writeBufferBytes: Int) {
            guard let pointer = crocks_shared_create(cacheBytes, writeBufferBytes) else {
                fatalError("out of memory for the index of a block cache of \(cacheBytes) bytes")
            }
            self.pointer = pointer
        }

        deinit { crocks_shared_destroy(pointer) }
    }
}
