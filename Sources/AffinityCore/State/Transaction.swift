/// The reads and writes of one command.
///
/// The handler gets it `inout`; it cannot be copied, kept or captured. It sees every earlier command of the
/// partition, those still on their way to the log included. What it writes becomes visible to others together, once
/// it is durable, or not at all: if the handler throws, nothing happened.
///
/// A write that must be refused (its key routes to another partition, it is too large, it has no encoding, it has
/// the reserved key of the store), and a read of bytes that cannot be decoded, spoil the transaction: the handler
/// runs on, the command is undone and its caller gets *not applied* with the reason.
public struct Transaction: ~Copyable {
    @usableFromInline let state: StateStore

    @usableFromInline init(_ state: StateStore) { self.state = state }

    /// The moment of the command: the same throughout the handler. Handlers take time from here only.
    public var now: Timestamp { state.now }

    /// Randomness for the handler; handlers take it from here only.
    public var random: RandomSource {
        get { state.random }
        set {}
    }

    /// The value under `key`, or `nil`; assigning `nil` removes the entry.
    @inlinable public subscript<Key, Value>(store: Store<Key, Value>, key: Key) -> Value? {
        get { state.value(store, key, committed: false) }
        set { state.put(store, key, newValue) }
    }

    /// The value under `key`, or `default` where there is none.
    @inlinable
    public subscript<Key, Value>(
        store: Store<Key, Value>, key: Key, default fallback: @autoclosure () -> Value
    ) -> Value {
        get { state.value(store, key, committed: false) ?? fallback() }
        set { state.put(store, key, newValue) }
    }

    /// The entry under `key` with its version and time, or `nil`.
    @inlinable public func entry<Key, Value>(_ store: Store<Key, Value>, _ key: Key) -> Entry<Value>? {
        state.entry(store, key, committed: false)
    }

    /// Whether there is an entry under `key`.
    @inlinable public func contains<Key, Value>(_ store: Store<Key, Value>, _ key: Key) -> Bool {
        state.contains(store, key, committed: false)
    }

    /// Puts `value` under `key`.
    ///
    /// - Parameters:
    ///   - time: the event time of the entry; `now` unless given.
    ///   - tags: go into the record's headers and with the announced change.
    @inlinable public mutating func put<Key, Value>(
        _ store: Store<Key, Value>, _ key: Key, _ value: Value, time: Timestamp? = nil, tags: [String] = []
    ) {
        state.put(store, key, value, time: time, tags: tags)
    }

    /// Puts `value` under `key` if nothing is there.
    ///
    /// - Returns: whether it did.
    @inlinable @discardableResult public mutating func insertIfAbsent<Key, Value>(
        _ store: Store<Key, Value>, _ key: Key, _ value: @autoclosure () -> Value
    ) -> Bool {
        if contains(store, key) { return false }
        state.put(store, key, value())
        return true
    }

    /// Changes the value under `key` in place: `body` gets the value, or `nil`, and leaves what is to stand there.
    @inlinable public mutating func update<Key, Value, Failure: Error>(
        _ store: Store<Key, Value>, _ key: Key, _ body: (inout Value?) throws(Failure) -> Void
    ) throws(Failure) {
        var value = self[store, key]
        try body(&value)
        self[store, key] = value
    }

    /// Removes the entry under `key`.
    ///
    /// - Returns: what was there; `nil` if nothing was, and then nothing is written.
    @inlinable @discardableResult public mutating func remove<Key, Value>(
        _ store: Store<Key, Value>, _ key: Key, tags: [String] = []
    ) -> Value? {
        guard let value = self[store, key] else { return nil }
        state.put(store, key, nil, tags: tags)
        return value
    }

    /// Calls `visit` for the entries of a range, in the order of the keys' bytes, until it returns `false`.
    ///
    /// Sees the writes of this command and of those before it. The store must be ordered, unless the range is all of
    /// it; then the order is any.
    @inlinable public func scan<Key, Value>(
        _ store: Store<Key, Value>, _ range: StoreRange<Key> = .all, _ direction: ScanDirection = .forward,
        limit: Int = .max, _ visit: (_ key: Key, _ entry: Entry<Value>) -> Bool
    ) {
        state.scan(store, range, direction, limit: limit, committed: false, visit)
    }

    /// How many entries the store has. May cost a scan of it.
    @inlinable public func count<Key, Value>(_ store: Store<Key, Value>) -> Int {
        state.count(store, committed: false)
    }

    /// The same reads as a `View`'s, for what commands and queries share; it sees this command's writes.
    @inlinable public borrowing func reading<Result, Failure: Error>(
        _ body: (borrowing View) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let view = View(state, committed: false)
        return try body(view)
    }

    /// Delivers `event` to the service's subscribers once the command is durable: at most once, and not at all if the
    /// command is undone.
    public mutating func publish(_ event: some Event) { state.publish(event) }

    /// Runs `work` on the master once the command is durable: at most once, outside the partition.
    public mutating func afterCommit(_ work: @escaping @Sendable (Effects) async throws -> Void) {
        state.afterCommit(work)
    }
}

/// A part of a store, by its keys.
public struct StoreRange<Key: StoreKey>: Sendable {
    @usableFromInline enum Bounds: Sendable {
        case all
        case keys(from: Key?, to: Key?)
        case prefix([UInt8], after: [UInt8]?)
    }

    @usableFromInline let bounds: Bounds

    @usableFromInline init(_ bounds: Bounds) { self.bounds = bounds }

    /// The whole store.
    @inlinable public static var all: StoreRange { StoreRange(.all) }

    /// The keys from `lower` up to, and without, `upper`, in the order of their bytes.
    @inlinable public static func keys(from lower: Key? = nil, to upper: Key? = nil) -> StoreRange {
        StoreRange(.keys(from: lower, to: upper))
    }

    /// The keys whose bytes begin with `prefix`, and, if it is given, come after `after`.
    @inlinable public static func prefix(_ prefix: [UInt8], after: [UInt8]? = nil) -> StoreRange {
        StoreRange(.prefix(prefix, after: after))
    }

    @usableFromInline func encoded(_ encode: (Key) throws(SerdeError) -> [UInt8]) throws(SerdeError) -> KeyRange {
        switch bounds {
        case .all: return .all
        case .keys(let lower, let upper):
            var range = KeyRange.all
            if let lower { range.lower = try encode(lower) }
            if let upper { range.upper = try encode(upper) }
            return range
        case .prefix(let prefix, let after):
            let range = KeyRange(prefix: prefix)
            return after.map(range.after) ?? range
        }
    }
}

/// The randomness that a handler is given.
public struct RandomSource: RandomNumberGenerator, Sendable {
    private let source: @Sendable () -> UInt64

    /// Randomness from `source`, which can be called on any thread.
    public init(_ source: @escaping @Sendable () -> UInt64) { self.source = source }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 { source() }
}
