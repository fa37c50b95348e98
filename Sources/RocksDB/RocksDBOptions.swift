internal import CRocksDB

/// How a database is opened. The defaults suit a memstore: many small databases in one process.
public struct RocksDBOptions: Sendable {
    /// Which ends of a write-ahead log are accepted at opening.
    public enum WALRecovery: Sendable {
        /// A write that a crash tore off is dropped; anything else that is damaged is `corrupt`.
        case dropTornTail
        /// Nothing is dropped: a torn end is `corrupt` too.
        case absolute
    }

    /// Whether a database is made where there is none.
    public var createsMissing = true
    /// Whether the database is only read, which it may be while another process writes to it: it is seen as it was when
    /// it was opened, nothing is locked or changed, and all of its files are kept open.
    public var isReadOnly = false
    /// Whether blocks are compressed (LZ4, if this RocksDB has it).
    public var compresses = true
    /// Bits a key of the bloom filter that answers for absent keys; 0 for none.
    public var bloomBits = 10
    /// How many files RocksDB keeps open.
    public var maxOpenFiles = 256
    /// How much is gathered in memory before it is written to a file, in bytes.
    public var writeBufferBytes = 16 << 20
    /// The size of a file, in bytes.
    public var fileBytes = 32 << 20
    /// How long the write-ahead logs may become together, in bytes; 0 for RocksDB's choice.
    public var maxWALBytes = 0
    /// How many flushes and compactions run at once. Their threads are shared by all databases of the process.
    public var backgroundJobs = 2
    /// Which ends of a write-ahead log are accepted.
    public var walRecovery = WALRecovery.dropTornTail
    /// Whether files in which most entries are deletions are compacted by themselves.
    public var compactsDeletions = false
    /// New keys that begin with the same bytes, this many, mostly come in their order: each is then looked for beside
    /// the one before it. 0 if they come in none.
    public var ascendingPrefixBytes = 0

    /// What its figures are counted under, together with those of other databases of the name.
    public var group = "memstore"

    /// The defaults.
    public init() {}

    var c: crocks_options {
        crocks_options(
            create: createsMissing && !isReadOnly, read_only: isReadOnly, compress: compresses,
            bloom_bits: Int32(bloomBits),
            max_open_files: Int32(maxOpenFiles), write_buffer_bytes: writeBufferBytes, file_bytes: fileBytes,
            max_wal_bytes: maxWALBytes, background_jobs: Int32(backgroundJobs),
            wal_recovery: walRecovery == .absolute ? crocks_wal_absolute : crocks_wal_tail,
            compact_deletions: compactsDeletions,
            ascending_prefix: ascendingPrefixBytes)
    }
}
