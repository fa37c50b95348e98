/// Watching what stands in the stores of a keyspace.
extension Service {
    /// A store, for any number of watches.
    ///
    /// Makes an instance of the `Partition` subclass to look at.
    public func watched<Key, Value>(_ store: KeyPath<P, Store<Key, Value>>) -> WatchedStore<Key, Value> {
        let store = P()[keyPath: store]
        guard let index = storeIndexes[store.name] else {
            preconditionFailure("\(store.name) is no stored property of \(P.self)")
        }
        return WatchedStore(store, index: index)
    }

    /// Watches one entry: what stands there now, then every change, wherever its master is and will be.
    ///
    /// - Parameter version: says only what came after it, of this store and partition; of an event of a former watch of
    ///   the same key, on any node.
    /// - Throws: `WatchError.refused` for a key that has no bytes.
    public func watch<Key, Value>(
        _ store: KeyPath<P, Store<Key, Value>>, key: Key, after version: Version? = nil,
        _ options: WatchOptions = WatchOptions()
    ) throws(WatchError) -> Watch<Key, Value> {
        let store = watched(store)
        let scope = try store.scope(of: key)
        let partition = partition(of: key.route).number
        return try typed(store, scope, [partition], WatchToken(version.map { [partition: $0] } ?? [:]), options)
    }

    /// Watches the entries whose keys begin with these bytes, in all partitions. The store must be declared ordered.
    ///
    /// - Parameter token: of a former watch of the same, on any node.
    /// - Throws: `WatchError.refused` for a store without order.
    public func watch<Key, Value>(
        _ store: KeyPath<P, Store<Key, Value>>, prefix: [UInt8], after token: WatchToken = WatchToken(),
        _ options: WatchOptions = WatchOptions()
    ) throws(WatchError) -> Watch<Key, Value> {
        try typed(watched(store), .prefix(prefix), Array(0..<partitions), token, options)
    }

    /// Watches a whole store, in all partitions. It must be declared ordered.
    ///
    /// - Parameter token: of a former watch of the same, on any node.
    /// - Throws: `WatchError.refused` for a store without order.
    public func watch<Key, Value>(
        _ store: KeyPath<P, Store<Key, Value>>, after token: WatchToken = WatchToken(),
        _ options: WatchOptions = WatchOptions()
    ) throws(WatchError) -> Watch<Key, Value> {
        try typed(watched(store), .all, Array(0..<partitions), token, options)
    }

    private func typed<Key, Value>(
        _ store: WatchedStore<Key, Value>, _ scope: WatchScope, _ partitions: [Int], _ token: WatchToken,
        _ options: WatchOptions
    ) throws(WatchError) -> Watch<Key, Value> {
        let bell = Doorbell()
        let watch = try open(store, scope, partitions, token, options, watches.executor) { bell.ring() }
        return Watch(watch, store, bell)
    }

    // MARK: - In bytes

    /// Watches one entry, in bytes: see `ByteWatch`.
    ///
    /// - Parameters:
    ///   - version: says only what came after it.
    ///   - executor: where `onReady` is called.
    /// - Throws: `WatchError.refused` for a key that has no bytes.
    public func watch<Key, Value>(
        _ store: WatchedStore<Key, Value>, key: Key, after version: Version? = nil,
        _ options: WatchOptions = WatchOptions(), on executor: any EventExecutor,
        onReady: @escaping @Sendable () -> Void
    ) throws(WatchError) -> ByteWatch {
        let partition = partition(of: key.route).number
        let token = WatchToken(version.map { [partition: $0] } ?? [:])
        return try open(store, try store.scope(of: key), [partition], token, options, executor, onReady)
    }

    /// Watches the entries whose keys begin with these bytes, or (with none) a whole store, in bytes: see `ByteWatch`.
    ///
    /// - Parameters:
    ///   - token: of a former watch of the same.
    ///   - executor: where `onReady` is called.
    /// - Throws: `WatchError.refused` for a store without order.
    public func watch<Key, Value>(
        _ store: WatchedStore<Key, Value>, prefix: [UInt8], after token: WatchToken = WatchToken(),
        _ options: WatchOptions = WatchOptions(), on executor: any EventExecutor,
        onReady: @escaping @Sendable () -> Void
    ) throws(WatchError) -> ByteWatch {
        try open(
            store, prefix.isEmpty ? .all : .prefix(prefix), Array(0..<partitions), token, options, executor, onReady)
    }

    private func open<Key, Value>(
        _ store: WatchedStore<Key, Value>, _ scope: WatchScope, _ partitions: [Int], _ token: WatchToken,
        _ options: WatchOptions, _ executor: any EventExecutor, _ onReady: @escaping @Sendable () -> Void
    ) throws(WatchError) -> ByteWatch {
        guard scope.isKey || store.isOrdered else {
            throw WatchError(.refused, "\(store.name): only single entries are watched of a store without order")
        }
        let buffer = WatchBuffer(options, after: partitions.map { token[$0] }, on: executor, onReady: onReady)
        return watches.open(buffer, store.index, store.name, scope, partitions)
    }

    /// Ends all watches with `.draining`, so that connections can be closed in good order before the node stops. Those
    /// that are opened later end at once.
    public func endWatches() { watches.drain() }
}
