public import AffinityCore
internal import Synchronization

/// Opens memstores of another engine, with faults where a test wants them.
///
/// Counting is over all partitions, in the order of the calls. Every method can be called on any thread.
public final class FaultyMemStoreEngine: MemStoreEngine {
    /// A call of a memstore that can be made to fail.
    public enum Operation: Hashable, Sendable, CaseIterable {
        /// `MemStoreEngine.open`.
        case open
        /// `MemStore.get`.
        case get
        /// `MemStore.scan`, and `count`.
        case scan
        /// `MemStore.commit`; nothing of the batch is applied.
        case commit
        /// `MemStore.flush`.
        case flush
        /// `MemStore.copy`.
        case copy
    }

    private let base: any MemStoreEngine
    private let faults = Mutex<[Operation: (after: Int, error: MemStoreError)]>([:])

    /// An engine that hands everything to `base` until a fault is ordered.
    public init(_ base: any MemStoreEngine) { self.base = base }

    /// Fails one call, after `count` of its kind that succeed.
    public func fail(_ operation: Operation, after count: Int = 0, with error: MemStoreError) {
        faults.withLock { $0[operation] = (count, error) }
    }

    /// Opens the replica's memstore in the engine behind.
    public func open(
        _ partition: PartitionID, stores: [StoreDeclaration]
    ) async throws(MemStoreError) -> sending any MemStore {
        try check(.open)
        return FaultyMemStore(try await base.open(partition, stores: stores), self)
    }

    /// Puts the replica's memstore away in the engine behind.
    public func setAside(_ partition: PartitionID) async throws(MemStoreError) -> String? {
        try await base.setAside(partition)
    }

    func check(_ operation: Operation) throws(MemStoreError) {
        let error: MemStoreError? = faults.withLock { faults in
            guard let fault = faults[operation] else { return nil }
            faults[operation] = fault.after == 0 ? nil : (fault.after - 1, fault.error)
            return fault.after == 0 ? fault.error : nil
        }
        if let error { throw error }
    }
}

/// A memstore of a `FaultyMemStoreEngine`.
final class FaultyMemStore: MemStore {
    private let base: any MemStore
    private let engine: FaultyMemStoreEngine

    init(_ base: sending any MemStore, _ engine: FaultyMemStoreEngine) {
        self.base = base
        self.engine = engine
    }

    var checkpoint: [UInt8]? { base.checkpoint }

    func get(_ store: Int, _ key: [UInt8]) throws(MemStoreError) -> StoredEntry? {
        try engine.check(.get)
        return try base.get(store, key)
    }

    func scan(
        _ store: Int, _ range: KeyRange, _ direction: ScanDirection,
        _ visit: (_ key: [UInt8], _ entry: StoredEntry) -> Bool
    ) throws(MemStoreError) {
        try engine.check(.scan)
        try base.scan(store, range, direction, visit)
    }

    func count(_ store: Int) throws(MemStoreError) -> Int {
        try engine.check(.scan)
        return try base.count(store)
    }

    var size: MemStoreSize { base.size }

    func commit(_ writes: [MemStoreWrite], checkpoint: [UInt8]) throws(MemStoreError) {
        try engine.check(.commit)
        try base.commit(writes, checkpoint: checkpoint)
    }

    nonisolated(nonsending) func flush() async throws(MemStoreError) {
        try engine.check(.flush)
        try await base.flush()
    }

    nonisolated(nonsending) func copy(to path: String) async throws(MemStoreError) {
        try engine.check(.copy)
        try await base.copy(to: path)
    }

    nonisolated(nonsending) func close() async { await base.close() }
}
