internal import Synchronization

/// A store of a keyspace, as those who watch it name it: `service.watched(\.balances)`.
///
/// Made once, and used for any number of watches, on any thread.
public struct WatchedStore<Key: StoreKey, Value: Sendable>: Sendable {
    /// The store's name.
    public let name: String
    let index: Int
    let isOrdered: Bool
    let encodeKey: @Sendable (Key) throws(SerdeError) -> [UInt8]
    let decodeKey: @Sendable ([UInt8]) throws(SerdeError) -> Key
    let decodeValue: @Sendable ([UInt8]) throws(SerdeError) -> Value

    init(_ store: Store<Key, Value>, index: Int) {
        name = store.name
        self.index = index
        isOrdered = store.isOrdered
        encodeKey = store.encodeKey
        decodeKey = store.decodeKey
        decodeValue = store.decodeValue
    }

    /// The entry under `key`.
    ///
    /// - Throws: `WatchError.refused` for a key that has no bytes.
    public func scope(of key: Key) throws(WatchError) -> WatchScope {
        do throws(SerdeError) { return .key(try encodeKey(key)) } catch {
            throw WatchError(.refused, "\(name): the key has no bytes: \(error)")
        }
    }

    /// What a change says, with its types.
    ///
    /// - Throws: `WatchError.failed` for bytes that are none of the store's.
    public func entry(_ change: Change) throws(WatchError) -> WatchedEntry<Key, Value> {
        do throws(SerdeError) {
            var value: Value?
            if let bytes = change.value { value = try decodeValue(bytes) }
            return WatchedEntry(key: try decodeKey(change.key), value: value, change: change)
        } catch { throw WatchError(.failed, "\(name): an entry cannot be decoded: \(error)") }
    }
}

/// An entry, or that there is none, as a watch says it.
public struct WatchedEntry<Key: Sendable, Value: Sendable>: Sendable {
    /// The key.
    public let key: Key
    /// The value; `nil` after a removal, or where nothing stands.
    public let value: Value?
    /// The same in bytes, with version, time and position.
    public let change: Change
    /// The version of the change: for a removal too. `.none` for an entry that was not there when the watch began.
    public var version: Version { change.version }
}

/// What happens to an entry, to those that begin alike, or to a whole store: what stands there, then every change.
///
///     for try await event in try service.watch(\.balances, key: account) {
///         switch event {
///         case .current(let entry), .change(let entry): show(entry.value, entry.version)
///         case .startOver: clear()
///         case .level: break
///         }
///     }
///
/// It goes on over handovers and failovers. Read by one task; ends when that is cancelled, or when it is let go of.
public struct Watch<Key: StoreKey, Value: Sendable>: AsyncSequence, Sendable {
    /// What it says.
    public typealias Element = WatchEvent<WatchedEntry<Key, Value>>
    /// Why it ends.
    public typealias Failure = WatchError

    private let watch: ByteWatch
    private let store: WatchedStore<Key, Value>
    private let bell: Doorbell

    init(_ watch: ByteWatch, _ store: WatchedStore<Key, Value>, _ bell: Doorbell) {
        self.watch = watch
        self.store = store
        self.bell = bell
    }

    /// How far what was read goes: to go on from there, on any node.
    public var token: WatchToken { watch.token }

    /// Ends it: whoever reads it gets `.cancelled`.
    public func cancel() {
        watch.cancel()
        bell.ring()
    }

    /// The events. To be asked for once.
    public func makeAsyncIterator() -> Iterator { Iterator(watch: watch, store: store, bell: bell) }

    /// Takes the events one by one.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let watch: ByteWatch
        fileprivate let store: WatchedStore<Key, Value>
        fileprivate let bell: Doorbell

        /// The next event. Never `nil`: a watch ends with an error.
        ///
        /// - Throws: `WatchError`; `.cancelled` if the task was cancelled.
        public mutating func next() async throws(WatchError) -> Element? {
            while true {
                // One by one, so that the token says what was read.
                if let event = try watch.take(atMost: 1).first { return try typed(event) }
                let (watch, bell) = (watch, bell)
                await withTaskCancellationHandler {
                    await bell.wait()
                } onCancel: {
                    watch.cancel()
                    bell.ring()
                }
            }
        }

        private func typed(_ event: ByteWatch.Event) throws(WatchError) -> Element {
            switch event {
            case .current(let change): .current(try store.entry(change))
            case .change(let change): .change(try store.entry(change))
            case .level(let partition): .level(partition: partition)
            case .startOver(let partition): .startOver(partition: partition)
            }
        }
    }
}

/// Lets one task wait until something has happened.
final class Doorbell: Sendable {
    private struct State {
        var hasRung = false
        var waiter: UnsafeContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func ring() {
        let waiter = state.withLock { state in
            state.hasRung = state.waiter == nil
            return state.waiter.take()
        }
        waiter?.resume()
    }

    /// Returns when it has rung since it was waited for last.
    func wait() async {
        await withUnsafeContinuation { continuation in
            let isLate = state.withLock { state in
                defer { state.hasRung = false }
                if !state.hasRung { state.waiter = continuation }
                return state.hasRung
            }
            if isLate { continuation.resume() }
        }
    }
}
