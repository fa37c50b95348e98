internal import AffinityCore
internal import AffinityRocksDB

/// How the log lies in its database.
///
/// | key | value |
/// |---|---|
/// | 0, name of a changelog | its id (4) |
/// | 1, id (4), offset (8) | a record, see `RecordCodec` |
/// | 2, id (4) | the offset that the next record gets (8) |
/// | 3, id (4) | up to where compaction has gone (8), how many records it has left there (8) |
/// | 4, id (4) | behind the last removal that compaction has forgotten (8), see `LogPage.forgotten` |
///
/// Numbers are big-endian. The end has a key of its own because compaction may take the last record (a tombstone),
/// and an offset is never given twice.
enum LogSchema {
    static let namePrefix: [UInt8] = [0]
    static let nameEnd: [UInt8] = [1]
    /// Of the keys of one changelog, in each of its areas.
    static let prefixLength = 5

    /// The name of a changelog: lengths stand before the parts, so no two names are alike.
    static func name(_ partition: PartitionID, _ changelog: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(UInt32(partition.keyspace.utf8.count))
        bytes.append(contentsOf: partition.keyspace.utf8)
        bytes.appendBigEndian(UInt32(truncatingIfNeeded: partition.number))
        bytes.append(contentsOf: changelog.utf8)
        return bytes
    }

    /// `keyspace/number changelog`, for messages.
    static func describe(_ name: [UInt8]) -> String {
        guard let (partition, changelog) = parts(ofName: name) else { return "changelog \(name)" }
        return "\(partition) \(changelog)"
    }

    /// The partition and the changelog of a name; `nil` if it is none.
    static func parts(ofName name: [UInt8]) -> (partition: PartitionID, changelog: String)? {
        guard name.count >= 4 else { return nil }
        let length = Int(name.bigEndian(at: 0, as: UInt32.self))
        guard name.count >= 8 + length else { return nil }
        let keyspace = String(decoding: name[4..<4 + length], as: UTF8.self)
        let number = name.bigEndian(at: 4 + length, as: UInt32.self)
        let changelog = String(decoding: name[(8 + length)...], as: UTF8.self)
        return (PartitionID(keyspace: keyspace, number: Int(number)), changelog)
    }

    static func dataPrefix(_ id: UInt32) -> [UInt8] { key(1, id) }
    static func endKey(_ id: UInt32) -> [UInt8] { key(2, id) }
    static func cleanedKey(_ id: UInt32) -> [UInt8] { key(3, id) }
    static func forgottenKey(_ id: UInt32) -> [UInt8] { key(4, id) }

    static func dataKey(_ id: UInt32, _ offset: Offset) -> [UInt8] {
        var bytes = key(1, id)
        bytes.appendBigEndian(offset.rawValue)
        return bytes
    }

    /// The offset of a record's key; `nil` if it is not one.
    static func offset(_ key: UnsafeRawBufferPointer) -> Offset? {
        guard key.count == 13 else { return nil }
        return Offset(Int64(bigEndian: key.loadUnaligned(fromByteOffset: 5, as: Int64.self)))
    }

    static func bytes(_ numbers: Int64...) -> [UInt8] {
        var bytes: [UInt8] = []
        for number in numbers { bytes.appendBigEndian(number) }
        return bytes
    }

    private static func key(_ area: UInt8, _ id: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(13)
        bytes.append(area)
        bytes.appendBigEndian(id)
        return bytes
    }
}

extension RocksDB {
    /// The numbers under a key of the meta areas; `nil` if there is nothing.
    func numbers(_ key: [UInt8], count: Int) throws -> [Int64]? {
        guard let bytes = try get(key) else { return nil }
        guard bytes.count == count * 8 else {
            throw LogError(.corrupt, "\(path): \(bytes.count) bytes under the key \(key)")
        }
        return (0..<count).map { bytes.bigEndian(at: $0 * 8) }
    }

    /// All changelogs of the log: their names and ids.
    func changelogs() throws -> [(name: [UInt8], id: UInt32)] {
        try iterate(from: LogSchema.namePrefix, to: LogSchema.nameEnd) { iterator throws(RocksDBError) in
            var all: [(name: [UInt8], id: UInt32)] = []
            iterator.seekToFirst()
            while let (name, id) = try iterator.withEntry({ ([UInt8]($0.dropFirst()), [UInt8]($1)) }) {
                guard id.count == 4 else {
                    throw RocksDBError(.corrupt, "\(path): the id of \(LogSchema.describe(name)) is damaged")
                }
                all.append((name, id.bigEndian(at: 0)))
                iterator.next()
            }
            return all
        }
    }
}

extension LogError {
    /// The same failure in the words of a log.
    init(_ error: any Error) {
        switch error {
        case let error as LogError: self = error
        case let error as RocksDBError:
            switch error.code {
            case .full: self.init(.full, error.reason)
            case .corrupt: self.init(.corrupt, error.reason)
            case .closed: self.init(.closed, error.reason)
            default: self.init(.io, error.reason)
            }
        default: self.init(.io, "\(error)")
        }
    }
}
