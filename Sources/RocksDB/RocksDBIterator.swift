internal import CRocksDB

/// A place in the keys of a database, as they were when the iterator was made. One thread at a time.
///
/// Lent by `RocksDB.iterate`, which closes it.
public struct RocksDBIterator: ~Copyable {
    private let pointer: OpaquePointer
    private let path: String

    init(_ pointer: OpaquePointer, path: String) {
        self.pointer = pointer
        self.path = path
    }

    deinit { crocks_iterator_destroy(pointer) }

    /// Goes to the first key in the bounds.
    public func seekToFirst() { crocks_iterator_first(pointer) }

    /// Goes to the last key in the bounds.
    public func seekToLast() { crocks_iterator_last(pointer) }

    /// Goes to the first key that is not before `key`.
    public func seek(to key: [UInt8]) { withCBytes(key) { crocks_iterator_seek(pointer, $0) } }

    /// Goes to the next key. Only where there is an entry.
    public func next() { crocks_iterator_next(pointer) }

    /// Goes to the key before. Only where there is an entry.
    public func previous() { crocks_iterator_previous(pointer) }

    /// Calls `body` with the entry at which the iterator stands; the bytes are valid in the call only.
    ///
    /// - Returns: what `body` returns; `nil` beyond the bounds.
    /// - Throws: `corrupt` or `io` if the iterator came to what cannot be read.
    public func withEntry<Result>(
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Result
    ) throws(RocksDBError) -> Result? {
        var key = crocks_bytes()
        var value = crocks_bytes()
        var status = crocks_status()
        guard crocks_iterator_entry(pointer, &key, &value, &status) else {
            try RocksDBError.check(status, path: path)
            return nil
        }
        return body(
            UnsafeRawBufferPointer(start: key.data, count: key.size),
            UnsafeRawBufferPointer(start: value.data, count: value.size))
    }
}
