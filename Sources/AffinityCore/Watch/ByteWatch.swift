/// A watch in the bytes of the store, taken out in batches: for gateways that serve thousands of connections without a
/// task each.
///
///     let accounts = try service.watched(\.balances)
///     let watch = service.watch(accounts, .key(bytes), on: loop) { [weak connection] in connection?.isReadable() }
///     // On the loop, when it was called and the connection has room:
///     for event in try watch.take(atMost: 64) { … }      // throws WatchError behind the last event
///
/// `onReady` is called on the executor when there is something to take, and not again before `take` has taken all of it;
/// who stops earlier (the socket is full) goes on by itself. It is called once more if too much waits: then the watch
/// `isOver`. Nothing else is called. What is not taken is bounded by the
/// options. It ends with `cancel`, or when it is let go of. Every method can be called on any thread, but only one may
/// take.
public final class ByteWatch: Sendable {
    /// What it says.
    public typealias Event = WatchEvent<Change>

    let buffer: WatchBuffer
    let parts: [WatchPart]
    private let router: WatchRouter

    init(_ buffer: WatchBuffer, _ parts: [WatchPart], _ router: WatchRouter) {
        self.buffer = buffer
        self.parts = parts
        self.router = router
    }

    deinit { end() }

    /// Takes the events that wait, in order, not more than `limit` of them.
    ///
    /// - Returns: none if nothing waits.
    /// - Throws: `WatchError` when the watch has ended and everything before was taken.
    public func take(atMost limit: Int = .max) throws(WatchError) -> [Event] {
        while true {
            let (items, end) = buffer.take(atMost: limit)
            var events: [Event] = []
            events.reserveCapacity(items.count)
            for item in items {
                switch item {
                case .current(_, let change): events.append(.current(change))
                case .change(_, let change), .missed(_, let change): events.append(.change(change))
                case .level(let part, _):
                    if !parts[part].scope.isKey { events.append(.level(partition: parts[part].partition)) }
                case .startOver(let part): events.append(.startOver(partition: parts[part].partition))
                case .page(let part, _): parts[part].wantMore()
                case .progress: break
                case .end(_, let end): _ = buffer.end(end.error)
                }
            }
            if !events.isEmpty { return events }
            if let end {
                self.end()
                throw end
            }
            // What was no event has made room for those behind it.
            if items.isEmpty { return [] }
        }
    }

    /// Whether it has ended, and nothing waits before that: `take` throws.
    public var isOver: Bool { buffer.isOver }

    /// How far what was taken goes: to go on from there, on any node. Partitions whose entries are still being said are
    /// missing.
    public var token: WatchToken {
        var token = WatchToken()
        for (index, part) in parts.enumerated() { token[part.partition] = buffer.taken(index) }
        return token
    }

    /// Ends the watch; `take` throws `.cancelled` from now on.
    public func cancel() { end() }

    private func end() {
        _ = buffer.end(WatchError(.cancelled, "the watch was cancelled"))
        router.remove(parts)
    }
}
