public import AffinityCore
public import AffinityRocksDB

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Opens memstores on disk: one RocksDB database a partition replica, in a folder of its own.
///
/// Opening, flushing, copying and closing run in the blocking pool. Reads and commits run where they are called: they
/// touch the disk only for what is not in memory.
public struct RocksDBMemStoreEngine: MemStoreEngine {
    /// The folder that holds one folder a replica.
    public let folder: String
    private let shared: RocksDBShared
    private let pool: BlockingPool
    private let options: RocksDBOptions
    private let entryCache: EntryCacheBudget

    /// An engine for the replicas of one node.
    ///
    /// - Parameters:
    ///   - folder: made when the first memstore is opened.
    ///   - shared: the caches of the node.
    ///   - pool: where the calls that block run.
    ///   - options: how the databases are opened.
    ///   - entryCache: the memory of the node for entries that were read lately; by default there is none.
    public init(
        folder: String, shared: RocksDBShared, pool: BlockingPool, options: RocksDBOptions = .init(),
        entryCache: EntryCacheBudget = EntryCacheBudget(bytes: 0)
    ) {
        self.folder = folder
        self.shared = shared
        self.pool = pool
        self.options = options
        self.entryCache = entryCache
    }

    /// The folder of a replica.
    public func path(of partition: PartitionID) -> String { "\(folder)/\(FolderName.encode(partition))" }

    /// Opens the database of a replica, makes it where there is none.
    ///
    /// - Throws: `io`, `full` or `corrupt`; the reason names the folder.
    public func open(
        _ partition: PartitionID, stores: [StoreDeclaration]
    ) async throws(MemStoreError) -> sending any MemStore {
        let path = path(of: partition)
        let (folder, shared, options, name) = (folder, shared, options, partition.description)
        let (database, layout) = try await run {
            if mkdir(folder, 0o755) != 0 && errno != EEXIST {
                throw MemStoreError(.io, "\(folder): \(String(cString: strerror(errno)))")
            }
            let database = try RocksDB(path: path, options: options, shared: shared)
            do {
                return (database, try StoreTable.load(database, partition: name, stores: stores.map(\.name)))
            } catch {
                try? database.close()
                throw error
            }
        }
        return RocksDBMemStore(database, layout, pool: pool, entryCache: entryCache)
    }

    /// Renames the folder of a replica to `….aside-1`, or the next free number. The memstore must be closed.
    public func setAside(_ partition: PartitionID) async throws(MemStoreError) -> String? {
        let path = path(of: partition)
        let folder = folder
        return try await run {
            guard access(path, F_OK) == 0 else { return nil }
            var number = 1
            while access("\(path).aside-\(number)", F_OK) == 0 { number += 1 }
            let aside = "\(path).aside-\(number)"
            guard rename(path, aside) == 0 else {
                throw MemStoreError(.io, "\(path) to \(aside): \(String(cString: strerror(errno)))")
            }
            // So that a crash does not bring it back under the old name.
            if let handle = opendir(folder) {
                fsync(dirfd(handle))
                closedir(handle)
            }
            return aside
        }
    }

    private func run<Result: Sendable>(
        _ body: @escaping @Sendable () throws -> Result
    ) async throws(MemStoreError) -> Result {
        do {
            return try await pool.run(body)
        } catch {
            throw MemStoreError(error)
        }
    }
}

extension MemStoreError {
    /// The same failure in the words of a memstore.
    init(_ error: any Error) {
        switch error {
        case let error as MemStoreError: self = error
        case let error as RocksDBError:
            switch error.code {
            case .full: self.init(.full, error.reason)
            case .corrupt: self.init(.corrupt, error.reason)
            default: self.init(.io, error.reason)
            }
        default: self.init(.io, "\(error)")
        }
    }
}
