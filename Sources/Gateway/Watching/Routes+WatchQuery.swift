public import AffinityCore
internal import AffinityNet

extension Routes {
    /// Lets clients watch the reply of a query: as a JSON text at once, and again when it has become another one.
    ///
    /// The query is run again after a change of an entry whose key begins with the bytes that `prefix` gives. What is
    /// promised: the reply that follows from all changes comes in the end. What is not: that every reply on the way comes.
    /// While the query runs, or the client has not taken its last reply, further changes lead to one more run. There is
    /// nothing to resume: a client that comes again gets the reply as it is. A query that fails closes the client's
    /// connection, as the error of a handler does.
    ///
    /// - Parameters:
    ///   - path: the path. A plain `GET` of it can have a route of its own.
    ///   - service: whom the query is for.
    ///   - transports: how it can be watched.
    ///   - store: what the query reads; it must be declared ordered. Its partitions are all watched.
    ///   - prefix: which entries of it the query reads, by the beginning of their keys' bytes.
    ///   - query: finds the query in the request; what it throws is the answer, before anything is opened.
    public func watchQuery<P: Partition, Q: Query, Key: StoreKey, Value: Sendable>(
        _ path: String, _ service: Service<P>, over transports: WatchTransports = .all,
        reading store: KeyPath<P, Store<Key, Value>>, prefix: @escaping @Sendable (Q) -> [UInt8],
        query: @escaping @Sendable (Request) throws -> Q
    ) {
        let watched = service.watched(store)
        declareWatch(path, transports, resumes: false) { request in
            let query = try query(request)
            let context = request.context
            var options = context.watching.options
            options.overflow = .coalesce
            let bytes = prefix(query)
            return { [options] client, loop in
                let teller = QueryTeller(client, on: loop, context) {
                    let deadline = context.clock.monotonic.advanced(by: context.watching.options.patience)
                    return try Response.jsonText(of: try await service.ask(query, Envelope(deadline: deadline)))
                }
                teller.start { onReady throws(WatchError) in
                    try service.watch(watched, prefix: bytes, options, on: loop, onReady: onReady)
                }
                return { teller.stop() }
            }
        }
    }
}
