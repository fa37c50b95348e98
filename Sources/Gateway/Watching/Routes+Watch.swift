public import AffinityCore
internal import AffinityNet

/// The ways in which a client can watch.
public struct WatchTransports: OptionSet, Sendable {
    /// Which of them.
    public let rawValue: Int

    /// Some of them.
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Over a WebSocket.
    public static let webSocket = WatchTransports(rawValue: 1)
    /// As Server-Sent Events, for a `GET` with `Accept: text/event-stream`.
    public static let events = WatchTransports(rawValue: 2)
    /// Either, as the client asks.
    public static let all: WatchTransports = [.webSocket, .events]
}

/// Watching: clients are told what stands in a store, and then every change of it, as JSON texts.
///
/// A WebSocket gets each text as a message, an event stream as the data of an event. A client that comes again resumes
/// with `?after=` (an event stream with `Last-Event-ID` too, which browsers do by themselves), on any node. It is told
/// every change behind that once, in order; where the log has them no longer, `{"reset":true}`, and then what stands there.
/// One that reads too slowly is closed with 1013, one of a node that drains with 1001; event streams just end. Pages of
/// other origins may open WebSockets if ``CORS`` allows them.
extension Routes {
    /// Lets clients watch the entry that the path's one parameter names: first as it is (`{"version":17,"value":…}`, or
    /// `{"version":0,"deleted":true}` if there is none), then every change (`{"version":25,"deleted":true}` is a removal).
    ///
    ///     routes.watch("/accounts/:account", accounts, \.balances)
    ///
    /// - Parameters:
    ///   - path: with one parameter: the text of a key; 404 for what is none.
    ///   - service: whose entries.
    ///   - store: which of them.
    ///   - transports: how it can be watched. A plain `GET` of the path can have a route of its own.
    ///   - values: how values stand in the messages.
    public func watch<
        P: Partition, Key: StoreKey & LosslessStringConvertible & SendableMetatype,
        Value: Encodable & Sendable & SendableMetatype
    >(
        _ path: String, _ service: Service<P>, _ store: KeyPath<P, Store<Key, Value>>,
        over transports: WatchTransports = .all, values: WatchedValues<Key, Value> = .json
    ) {
        let names = names(path, count: 1)
        watch(path, service, store, over: transports, values: values) { request in
            try request.parameter(names[0], as: Key.self)
        }
    }

    /// Lets clients watch an entry, as above, whose key `key` finds in the request.
    ///
    /// - Parameter key: what it throws is the answer, before anything is opened.
    public func watch<P: Partition, Key: StoreKey, Value: Sendable>(
        _ path: String, _ service: Service<P>, _ store: KeyPath<P, Store<Key, Value>>,
        over transports: WatchTransports = .all, values: WatchedValues<Key, Value>,
        key: @escaping @Sendable (Request) throws -> Key
    ) {
        let watched = service.watched(store)
        let texts = WatchTexts { try values.text(watched, $0) }
        declareWatch(path, transports) { request in
            let (key, version) = (try key(request), try request.version())
            let context = request.context
            return { client, loop in
                WatchTeller.begin(client, texts, context) { onReady throws(WatchError) in
                    try service.watch(
                        watched, key: key, after: version, context.watching.options, on: loop, onReady: onReady)
                }
            }
        }
    }

    /// Lets clients watch the entries whose keys begin with the bytes that `prefix` finds in the request; none for all of
    /// the store, which must be declared ordered.
    ///
    /// What stands there comes first, then every change. Each text says its partition, because order and resumption are
    /// a partition's: `{"partition":3,"key":"north:7","version":17,"value":…}`, and `{"partition":3,"version":17,"level":true}`
    /// once all that stood in the partition has been told. `after` is a list of partitions, each with the last version
    /// that was seen of it from `level` on (`3:17,5:22`); those that are missing begin anew. An event stream has that as
    /// its events' id. `{"partition":3,"reset":true}` takes back what was told of the partition.
    ///
    /// - Parameter prefix: what it throws is the answer, before anything is opened.
    public func watchPrefix<P: Partition, Key: StoreKey & LosslessStringConvertible, Value: Sendable>(
        _ path: String, _ service: Service<P>, _ store: KeyPath<P, Store<Key, Value>>,
        over transports: WatchTransports = .all, values: WatchedValues<Key, Value>,
        prefix: @escaping @Sendable (Request) throws -> [UInt8]
    ) {
        let watched = service.watched(store)
        let texts = WatchTexts(value: { try values.text(watched, $0) }, key: { try watched.entry($0).key.description })
        declareWatch(path, transports) { request in
            let (prefix, token) = (try prefix(request), try request.token())
            let context = request.context
            return { client, loop in
                WatchTeller.begin(client, texts, context) { onReady throws(WatchError) in
                    try service.watch(
                        watched, prefix: prefix, after: token, context.watching.options, on: loop, onReady: onReady)
                }
            }
        }
    }

    /// Begins to tell a client what it watches, on the loop of its connection; gives what ends it.
    typealias Begin = @Sendable (any WatchClient, EventLoop) -> @Sendable () -> Void

    /// - Parameters:
    ///   - resumes: whether a client can say where it goes on.
    ///   - prepare: reads the request; what it throws is the answer.
    func declareWatch(
        _ path: String, _ transports: WatchTransports, resumes: Bool = true,
        _ prepare: @escaping @Sendable (Request) throws -> Begin
    ) {
        let query = resumes ? ["after"] : []
        if transports.contains(.webSocket) {
            declare(.webSocket, path, query) { request in
                try request.checkHandshake()
                let begin = try prepare(request)
                return request.webSocket(takesMessages: false) { socket in
                    let end = begin(WatchSocket(socket), socket.loop)
                    // Nobody is told any more once it closes.
                    await withTaskCancellationHandler {
                        _ = await socket.closed()
                    } onCancel: {
                        socket.loop.post { end() }
                    }
                    end()
                }
            }
        }
        if transports.contains(.events) {
            declare(.eventStream, path, query) { request in
                let begin = try prepare(request)
                return request.eventStream { events, loop in
                    let end = begin(events, loop)
                    await events.ended()
                    end()
                }
            }
        }
    }
}

extension Request {
    /// Where a client resumes: what an event stream has seen last counts more than what its address says.
    fileprivate func after() throws(HTTPError) -> String? {
        if !http.asksForWebSocket, let id = try header("last-event-id"), !id.isEmpty { return id }
        return query("after")
    }

    /// - Throws: 400 for what is no version.
    fileprivate func version() throws(HTTPError) -> Version? {
        guard let text = try after() else { return nil }
        guard let version = UInt64(text), version <= Int64.max, String(version) == text else {
            throw HTTPError(400, "after must be a version")
        }
        return Version(version)
    }

    /// - Throws: 400 for what is no list of partitions and versions.
    fileprivate func token() throws(HTTPError) -> WatchToken {
        guard let text = try after() else { return WatchToken() }
        guard let token = WatchToken(text) else {
            throw HTTPError(400, "after must be a list of partitions and versions, as 3:17,5:22")
        }
        return token
    }

    /// Refuses a handshake that is no good, or of a page that may not open it.
    ///
    /// - Throws: 400, 426, 403.
    func checkHandshake() throws(HTTPError) {
        if let refusal = http.webSocketRefusal() {
            let framed = ["content-type", "content-length"]
            throw HTTPError(
                refusal.status, "the handshake of the WebSocket is not good",
                headers: refusal.headers.filter { !framed.contains($0.name.lowercased()) })
        }
        try checkOrigin()
    }

    /// The answer that opens the WebSocket that was asked for.
    ///
    /// - Parameter takesMessages: otherwise the first bytes of one close it with 1003.
    func webSocket(
        takesMessages: Bool = true, _ run: nonisolated(nonsending) @escaping @Sendable (WebSocket) async -> Void
    ) -> Response {
        var configuration = context.watching.webSocket
        configuration.takesMessages = takesMessages
        var response = Response(status: 101)
        response.sequel = .webSocket(configuration, run)
        return response
    }

    /// The answer that is an event stream.
    func eventStream(
        _ run: nonisolated(nonsending) @escaping @Sendable (EventStream, EventLoop) async -> Void
    ) -> Response {
        var response = Response(headers: EventStream.headers)
        let context = context
        response.sequel = .stream { stream in
            let events = EventStream(stream, clock: context.clock, heartbeat: context.watching.heartbeat)
            await run(events, stream.loop)
        }
        return response
    }
}
