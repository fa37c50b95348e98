/// The reads of one query, of the committed state.
///
/// The handler borrows it; it cannot be copied, kept or captured, and it has no way to write. A read of bytes that
/// cannot be decoded spoils the query: its caller gets *not applied* with the reason.
public struct View: ~Copyable {
    @usableFromInline let state: StateStore
    @usableFromInline let committed: Bool

    @usableFromInline init(_ state: StateStore, committed: Bool = true) {
        self.state = state
        self.committed = committed
    }

    /// The moment of the query.
    public var now: Timestamp { state.now }

    /// The value under `key`, or `nil`.
    @inlinable public subscript<Key, Value>(store: Store<Key, Value>, key: Key) -> Value? {
        state.value(store, key, committed: committed)
    }

    /// The value under `key`, or `default` where there is none.
    @inlinable
    public subscript<Key, Value>(
        store: Store<Key, Value>, key: Key, default fallback: @autoclosure () -> Value
    ) -> Value {
        state.value(store, key, committed: committed) ?? fallback()
    }

    /// The entry under `key` with its version and time, or `nil`.
    @inlinable public func entry<Key, Value>(_ store: Store<Key, Value>, _ key: Key) -> Entry<Value>? {
        state.entry(store, key, committed: committed)
    }

    /// Whether there is an entry under `key`.
    @inlinable public func contains<Key, Value>(_ store: Store<Key, Value>, _ key: Key) -> Bool {
        state.contains(store, key, committed: committed)
    }

    /// Calls `visit` for the entries of a range, in the order of the keys' bytes, until it returns `false`.
    ///
    /// The store must be ordered, unless the range is all of it; then the order is any.
    @inlinable public func scan<Key, Value>(
        _ store: Store<Key, Value>, _ range: StoreRange<Key> = .all, _ direction: ScanDirection = .forward,
        limit: Int = .max, _ visit: (_ key: Key, _ entry: Entry<Value>) -> Bool
    ) {
        state.scan(store, range, direction, limit: limit, committed: committed, visit)
    }

    /// How many entries the store has. May cost a scan of it.
    @inlinable public func count<Key, Value>(_ store: Store<Key, Value>) -> Int {
        state.count(store, committed: committed)
    }
}
