internal import AffinityCore
internal import AffinityMemStores

/// What the memstores of a node leave on its disk: batches, each whole and with its checkpoint, of which a crash may lose
/// the last ones.
final class SimulatedDisk: @unchecked Sendable {
    private struct Batch {
        var writes: [MemStoreWrite]
        var checkpoint: [UInt8]
    }

    private var kept: [PartitionID: [Batch]] = [:]
    /// How many of a partition's batches a crash cannot lose any more.
    private var flushed: [PartitionID: Int] = [:]
    /// Whether everything is lost with the process.
    let isVolatile: Bool
    /// Whether there is no space left.
    var isFull = false
    /// Of how many batches one fails; 0 for none.
    var failureRate = 0
    private let simulation: Simulation

    init(_ simulation: Simulation, isVolatile: Bool) {
        self.simulation = simulation
        self.isVolatile = isVolatile
    }

    /// The process has died: the newest batches may be gone, if that is left to chance.
    func crash() {
        if isVolatile { return wipe() }
        if simulation.latency != nil { return }
        for partition in kept.keys.sorted(by: { $0.number < $1.number }) {
            guard let batches = kept[partition] else { continue }
            let safe = flushed[partition] ?? 0
            // Mostly few of them.
            let count = min(batches.count - safe, simulation.random.pick([0, 0, 1, 2, 5, 50]))
            kept[partition]?.removeLast(count)
        }
    }

    /// Everything is gone.
    func wipe() { (kept, flushed) = ([:], [:]) }

    /// A process that ends in good order leaves nothing behind that could be lost.
    func flushAll() { flushed = kept.mapValues(\.count) }

    fileprivate func commit(
        _ partition: PartitionID, _ writes: [MemStoreWrite], _ checkpoint: [UInt8]
    ) throws(MemStoreError) {
        if isFull { throw MemStoreError(.full, "no space left") }
        if failureRate > 0, simulation.random.once(in: failureRate) { throw MemStoreError(.io, "a write failed") }
        if !isVolatile { kept[partition, default: []].append(Batch(writes: writes, checkpoint: checkpoint)) }
    }

    fileprivate func flush(_ partition: PartitionID) { flushed[partition] = kept[partition]?.count }

    fileprivate func fill(_ memstore: MemoryMemStore, _ partition: PartitionID) throws(MemStoreError) {
        for batch in kept[partition] ?? [] { try memstore.commit(batch.writes, checkpoint: batch.checkpoint) }
    }

    fileprivate func remove(_ partition: PartitionID) -> Bool {
        flushed[partition] = nil
        return kept.removeValue(forKey: partition) != nil
    }
}

/// The memstores of one process.
final class SimulatedMemStores: MemStoreEngine, @unchecked Sendable {
    private let disk: SimulatedDisk
    private let process: SimulatedProcess
    private var opened: [PartitionID: SimulatedMemStore] = [:]

    init(_ disk: SimulatedDisk, _ process: SimulatedProcess) {
        self.disk = disk
        self.process = process
    }

    /// The memstore of a replica, if it is open.
    subscript(partition: PartitionID) -> SimulatedMemStore? {
        opened[partition].flatMap { $0.isClosed ? nil : $0 }
    }

    func open(_ partition: PartitionID, stores: [StoreDeclaration]) async throws(MemStoreError) -> sending any MemStore
    {
        // Ordered, so that a scan has the same order in every process.
        let ordered = stores.map { StoreDeclaration(name: $0.name, isOrdered: true) }
        let base = MemoryMemStore(partition, stores: ordered)
        if !process.isDead { try disk.fill(base, partition) }
        let memstore = SimulatedMemStore(base, partition, stores.count, disk, process)
        opened[partition] = memstore
        return memstore
    }

    func setAside(_ partition: PartitionID) async throws(MemStoreError) -> String? {
        opened[partition] = nil
        return !process.isDead && disk.remove(partition) ? "aside" : nil
    }
}

/// A memstore whose batches go to the disk, as long as its process lives.
final class SimulatedMemStore: MemStore, @unchecked Sendable {
    private let base: MemoryMemStore
    private let partition: PartitionID
    private let stores: Int
    private let disk: SimulatedDisk
    private let process: SimulatedProcess
    private(set) var isClosed = false

    init(
        _ base: MemoryMemStore, _ partition: PartitionID, _ stores: Int, _ disk: SimulatedDisk,
        _ process: SimulatedProcess
    ) {
        self.base = base
        self.partition = partition
        self.stores = stores
        self.disk = disk
        self.process = process
    }

    /// What stands in each store, in the order of the keys.
    var entries: [[(key: [UInt8], entry: StoredEntry)]] {
        (0..<stores).map { store in
            var entries: [(key: [UInt8], entry: StoredEntry)] = []
            // A memstore in memory does not fail.
            try? base.scan(store, .all, .forward) { key, entry in
                entries.append((key, entry))
                return true
            }
            return entries
        }
    }

    var checkpoint: [UInt8]? { base.checkpoint }

    func get(_ store: Int, _ key: [UInt8]) throws(MemStoreError) -> StoredEntry? { try base.get(store, key) }

    func scan(
        _ store: Int, _ range: KeyRange, _ direction: ScanDirection,
        _ visit: (_ key: [UInt8], _ entry: StoredEntry) -> Bool
    ) throws(MemStoreError) { try base.scan(store, range, direction, visit) }

    func count(_ store: Int) throws(MemStoreError) -> Int { try base.count(store) }

    func commit(_ writes: [MemStoreWrite], checkpoint: [UInt8]) throws(MemStoreError) {
        if !process.isDead { try disk.commit(partition, writes, checkpoint) }
        try base.commit(writes, checkpoint: checkpoint)
    }

    nonisolated(nonsending) func flush() async throws(MemStoreError) {
        if !process.isDead { disk.flush(partition) }
    }

    nonisolated(nonsending) func copy(to path: String) async throws(MemStoreError) {
        throw MemStoreError(.unsupported, "there are no folders here: \(path)")
    }

    nonisolated(nonsending) func close() async {
        isClosed = true
        await base.close()
    }
}
