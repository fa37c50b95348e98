internal import CRocksDB

/// Some writes that a database takes together.
///
/// Unchecked: a batch has one owner, every method that changes it is `mutating`, and RocksDB's `WriteBatch` allows
/// the others on several threads at once (rocksdb/write_batch.h).
public struct RocksDBBatch: ~Copyable, @unchecked Sendable {
    let pointer: OpaquePointer

    /// An empty batch.
    public init() {
        guard let pointer = crocks_batch_create() else { fatalError("out of memory") }
        self.pointer = pointer
    }

    deinit { crocks_batch_destroy(pointer) }

    /// How many bytes the batch takes in the write-ahead log.
    public var size: Int { crocks_batch_size(pointer) }

    /// How many writes it has.
    public var count: Int { Int(crocks_batch_count(pointer)) }

    /// Whether there is nothing in it.
    public var isEmpty: Bool { count == 0 }

    /// Puts `value` under `key`.
    public mutating func put(_ key: [UInt8], _ value: [UInt8]) { put([], key, header: [], value) }

    /// Puts `header` + `value` under the key `prefix` + `key`; the parts are joined in C.
    public mutating func put(_ prefix: [UInt8], _ key: [UInt8], header: [UInt8] = [], _ value: [UInt8]) {
        withCBytes(prefix) { prefix in
            withCBytes(key) { key in
                withCBytes(header) { header in
                    withCBytes(value) { value in crocks_batch_put(pointer, prefix, key, header, value) }
                }
            }
        }
    }

    /// Removes what stands under `key`.
    public mutating func delete(_ key: [UInt8]) { delete([], key) }

    /// Removes what stands under the key `prefix` + `key`.
    public mutating func delete(_ prefix: [UInt8], _ key: [UInt8]) {
        withCBytes(prefix) { prefix in
            withCBytes(key) { key in crocks_batch_delete(pointer, prefix, key) }
        }
    }

    /// Removes the keys from `lower` up to, and without, `upper`.
    public mutating func deleteRange(from lower: [UInt8], to upper: [UInt8]) {
        withCBytes(lower) { lower in
            withCBytes(upper) { upper in crocks_batch_delete_range(pointer, lower, upper) }
        }
    }

    /// Takes everything out again.
    public mutating func clear() { crocks_batch_clear(pointer) }
}
