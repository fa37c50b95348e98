public import AffinityCore

/// Opens memstores that live in memory alone: after a restart they are rebuilt from the changelogs.
public struct MemoryMemStoreEngine: MemStoreEngine {
    /// An engine; there is nothing to configure.
    public init() {}

    /// Makes an empty memstore.
    public func open(
        _ partition: PartitionID, stores: [StoreDeclaration]
    ) async throws(MemStoreError) -> sending any MemStore {
        MemoryMemStore(partition, stores: stores)
    }

    /// There is nothing on disk, so nothing is put away.
    public func setAside(_ partition: PartitionID) async throws(MemStoreError) -> String? { nil }
}

/// A memstore in memory: a hash table a store, and the sorted keys beside it where the store is ordered.
///
/// Called by `StateStore` on the replica's executor. `commit` cannot fail half-way because nothing in it can fail.
/// An entry costs what it would in a `Dictionary<[UInt8], [UInt8]>`, and 16 bytes for version and time; an ordered
/// store shares the keys' storage and pays one more reference each.
public final class MemoryMemStore: MemStore {
    private struct Store {
        var entries = HashedEntries()
        var keys: SortedKeys?
    }

    // Exclusive access is not checked at run time: it is confined to its replica, and calls nobody while it changes.

    /// The checkpoint of the last batch.
    @exclusivity(unchecked) public private(set) var checkpoint: [UInt8]?
    @exclusivity(unchecked) private var stores: [Store]
    private let partition: PartitionID

    /// An empty memstore for a replica of `partition`.
    public init(_ partition: PartitionID, stores: [StoreDeclaration]) {
        self.partition = partition
        self.stores = stores.map { Store(keys: $0.isOrdered ? SortedKeys() : nil) }
    }

    /// The entry under `key`, or `nil`.
    public func get(_ store: Int, _ key: [UInt8]) throws(MemStoreError) -> StoredEntry? {
        stores[store].entries[key]
    }

    /// Calls `visit` for the entries of `range` until it returns `false`.
    public func scan(
        _ store: Int, _ range: KeyRange, _ direction: ScanDirection,
        _ visit: (_ key: [UInt8], _ entry: StoredEntry) -> Bool
    ) throws(MemStoreError) {
        guard let keys = stores[store].keys else {
            stores[store].entries.forEach { key, entry in !range.contains(key) || visit(key, entry) }
            return
        }
        let entries = stores[store].entries
        keys.scan(range, direction) { key in
            // Both are changed together in `commit`, so a key of the index always has an entry.
            guard let entry = entries[key] else { preconditionFailure("the sorted keys and the entries differ") }
            return visit(key, entry)
        }
    }

    /// How many entries the store has, without a scan.
    public func count(_ store: Int) throws(MemStoreError) -> Int { stores[store].entries.count }

    /// How many entries there are, and the bytes of their keys and values.
    public var size: MemStoreSize {
        MemStoreSize(
            entries: stores.reduce(0) { $0 + $1.entries.count }, bytes: stores.reduce(0) { $0 + $1.entries.bytes })
    }

    /// Takes the writes and the checkpoint.
    public func commit(_ writes: [MemStoreWrite], checkpoint: [UInt8]) throws(MemStoreError) {
        for write in writes {
            if let entry = write.entry {
                if stores[write.store].entries.set(write.key, entry) { stores[write.store].keys?.insert(write.key) }
            } else if stores[write.store].entries.remove(write.key) {
                stores[write.store].keys?.remove(write.key)
            }
        }
        self.checkpoint = checkpoint
    }

    /// Nothing survives a crash, so there is nothing to do.
    public func flush() async throws(MemStoreError) {}

    /// Always throws `unsupported`.
    public func copy(to path: String) async throws(MemStoreError) {
        throw MemStoreError(.unsupported, "\(partition): a memstore in memory cannot be copied to \(path)")
    }

    /// Frees everything.
    public func close() async {
        stores = []
        checkpoint = nil
    }
}
