internal import AffinityCore
internal import AffinityRocksDB

/// Which two bytes stand before the keys of which store, kept in the database itself.
///
/// So stores can be added and declared in another order at any time. Store 0 is the meta area: the checkpoint, the
/// partition's name, and the table: `s` + name → id.
struct StoreTable: Sendable {
    /// The prefixes of the stores, in the order in which they are declared.
    var prefixes: [[UInt8]]
    /// The checkpoint that stood in the database.
    var checkpoint: [UInt8]?

    static let checkpointKey: [UInt8] = [0, 0, UInt8(ascii: "c")]
    private static let partitionKey: [UInt8] = [0, 0, UInt8(ascii: "p")]
    private static let storePrefix: [UInt8] = [0, 0, UInt8(ascii: "s")]

    /// Reads the table and gives the stores that are new an id. Blocks.
    static func load(_ database: RocksDB, partition: String, stores: [String]) throws -> StoreTable {
        let name = Array(partition.utf8)
        if let found = try database.get(partitionKey), found != name {
            throw MemStoreError(
                .corrupt, "\(database.path): holds \(String(decoding: found, as: UTF8.self)), not \(partition)")
        }
        var ids: [[UInt8]: UInt16] = [:]
        try database.iterate(from: storePrefix, to: [0, 0, UInt8(ascii: "s") + 1]) { iterator throws(RocksDBError) in
            iterator.seekToFirst()
            while let (name, id) = try iterator.withEntry({ key, value in
                (
                    Array(key.dropFirst(storePrefix.count)),
                    value.count == 2 ? UInt16(value[0]) << 8 | UInt16(value[1]) : 0
                )
            }) {
                guard id != 0 else {
                    throw RocksDBError(.corrupt, "\(database.path): the table of stores is damaged")
                }
                ids[name] = id
                iterator.next()
            }
        }
        var batch = RocksDBBatch()
        batch.put(partitionKey, name)
        var last = ids.values.max() ?? 0
        var prefixes: [[UInt8]] = []
        for store in stores {
            let key = Array(store.utf8)
            if ids[key] == nil {
                guard last < UInt16.max - 1 else {
                    throw MemStoreError(.io, "\(database.path): more than 65534 stores")
                }
                last += 1
                ids[key] = last
                batch.put(storePrefix, key, [UInt8(last >> 8), UInt8(last & 0xFF)])
            }
            let id = ids[key] ?? 0
            prefixes.append([UInt8(id >> 8), UInt8(id & 0xFF)])
        }
        // Without the write-ahead log, as everything here: the table is on disk before any entry that needs it.
        try database.write(batch, wal: false)
        return StoreTable(prefixes: prefixes, checkpoint: try database.get(checkpointKey))
    }
}
