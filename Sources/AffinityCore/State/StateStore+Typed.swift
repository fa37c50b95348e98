/// Entries as the handlers' types: encodes and decodes, and spoils the transaction where that fails.
///
/// Inlinable, so that the serdes' calls are specialised in the module that knows the types.
extension StateStore {
    @inlinable func value<Key, Value>(_ store: Store<Key, Value>, _ key: Key, committed: Bool) -> Value? {
        do throws(SerdeError) {
            guard let entry = read(try index(of: store), try store.encodeKey(key), committed: committed) else {
                return nil
            }
            return try store.decodeValue(entry.value)
        } catch {
            refuse("\(store.name): \(error.description)")
            return nil
        }
    }

    @inlinable func entry<Key, Value>(_ store: Store<Key, Value>, _ key: Key, committed: Bool) -> Entry<Value>? {
        do throws(SerdeError) {
            guard let entry = read(try index(of: store), try store.encodeKey(key), committed: committed) else {
                return nil
            }
            return Entry(value: try store.decodeValue(entry.value), version: entry.version, time: entry.time)
        } catch {
            refuse("\(store.name): \(error.description)")
            return nil
        }
    }

    @inlinable func contains<Key, Value>(_ store: Store<Key, Value>, _ key: Key, committed: Bool) -> Bool {
        do throws(SerdeError) {
            return read(try index(of: store), try store.encodeKey(key), committed: committed) != nil
        } catch {
            refuse("\(store.name): \(error.description)")
            return false
        }
    }

    @inlinable func put<Key, Value>(
        _ store: Store<Key, Value>, _ key: Key, _ value: Value?, time: Timestamp? = nil, tags: [String] = []
    ) {
        do throws(SerdeError) {
            var bytes: [UInt8]?
            if let value { bytes = try store.encodeValue(value) }
            write(
                try index(of: store), try store.encodeKey(key), bytes, routing: key.route.routingBytes, time: time,
                tags: tags)
        } catch {
            refuse("\(store.name): \(error.description)")
        }
    }

    @inlinable func scan<Key, Value>(
        _ store: Store<Key, Value>, _ range: StoreRange<Key>, _ direction: ScanDirection, limit: Int, committed: Bool,
        _ visit: (_ key: Key, _ entry: Entry<Value>) -> Bool
    ) {
        guard limit > 0 else { return }
        var left = limit
        do throws(SerdeError) {
            let range = try range.encoded(store.encodeKey)
            scan(try index(of: store), range, direction, committed: committed) { key, entry in
                do throws(SerdeError) {
                    left -= 1
                    let typed = Entry(
                        value: try store.decodeValue(entry.value), version: entry.version, time: entry.time)
                    return visit(try store.decodeKey(key), typed) && left > 0
                } catch {
                    refuse("\(store.name): \(error.description)")
                    return false
                }
            }
        } catch {
            refuse("\(store.name): \(error.description)")
        }
    }

    @inlinable func count<Key, Value>(_ store: Store<Key, Value>, committed: Bool) -> Int {
        do throws(SerdeError) {
            return count(try index(of: store), committed: committed)
        } catch {
            refuse("\(store.name): \(error.description)")
            return 0
        }
    }

    /// The store's place, if it is one of this partition's.
    @inlinable func index(of store: AnyStore) throws(SerdeError) -> Int {
        guard isWired(store) else { throw SerdeError("the store is not a stored property of the partition") }
        return store.index
    }

    @usableFromInline func isWired(_ store: AnyStore) -> Bool {
        store.index >= 0 && store.index < stores.count && stores[store.index] === store
    }
}
