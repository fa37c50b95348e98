public import AffinityCore
internal import CBeast

/// What answers a request.
///
/// It is called on the event loop of the request's connection and isolated to it: see ``EventLoop/start(_:)`` for what
/// that makes cheap. A handler that does not suspend answers within the turn that read the request. Requests of one
/// connection come one after the other, those of different connections interleave where a handler suspends. A connection
/// that ends does not cancel its handler; the answer is then dropped. An answer that goes on after its head
/// (``HTTPResponse/stream(status:headers:_:)``, ``HTTPResponse/webSocket(_:subprotocol:headers:_:)``) does so in the
/// handler's task, and that is cancelled when it should come to its end.
public typealias HTTPHandler = nonisolated(nonsending) @Sendable (HTTPRequest) async -> HTTPResponse

/// An HTTP/1.1 server over the event loops of a group.
///
/// Called by the gateway. Calls the handler, and the C side of this module for everything on the wire.
///
/// Connections are spread over the loops in turn. Requests are read strictly: what two implementations could take in two
/// ways is refused and the connection closed. The server's own refusals (400, 408, 413, 414, 417, 431, 500, 501, 503,
/// 505) are `application/problem+json`.
public final class HTTPServer: Sendable {
    private let handle: ServerHandle
    private let loops: [EventLoop]
    private let resolver = ThreadPool(threads: 1, name: "bind")

    /// A server that listens nowhere yet.
    ///
    /// - Parameters:
    ///   - group: the loops that serve its connections; shut it down after the server has been drained.
    ///   - configuration: the limits.
    ///   - report: called on any thread.
    ///   - handler: answers the requests.
    /// - Throws: ``NetError`` with ``NetError/Code/badConfiguration`` if a limit cannot be used.
    public convenience init(
        group: EventLoopGroup, configuration: HTTPServerConfiguration = HTTPServerConfiguration(),
        report: @escaping Reporter = { _ in }, handler: @escaping HTTPHandler
    ) throws(NetError) {
        try self.init(group: group, configuration: configuration, constant: false, report: report, handler: handler)
    }

    /// A server that answers every request with the same 200, and sends what comes over any WebSocket to all of them,
    /// without entering Swift: what the handlers' cost is measured against.
    package static func constant(
        group: EventLoopGroup, configuration: HTTPServerConfiguration = HTTPServerConfiguration()
    ) throws(NetError) -> HTTPServer {
        try HTTPServer(group: group, configuration: configuration, constant: true, report: { _ in }) { _ in
            HTTPResponse(status: 500)
        }
    }

    private init(
        group: EventLoopGroup, configuration: HTTPServerConfiguration, constant: Bool, report: @escaping Reporter,
        handler: @escaping HTTPHandler
    ) throws(NetError) {
        try configuration.validate()
        loops = group.loops
        handle = ServerHandle(
            loops: group.loops, options: cb_server_options(configuration, constant: constant),
            handler: HandlerBox(handler, report))
    }

    /// Listens at `host` (an address or a name of this machine) and `port`; can be called for several.
    ///
    /// - Returns: the port, which the system chose if `port` is 0.
    /// - Throws: ``NetError``: the address is in use, no address of this machine, not permitted, or the server is closed.
    public nonisolated(nonsending) func bind(host: String, port: Int) async throws -> Int {
        guard let number = UInt16(exactly: port) else {
            throw NetError(.badConfiguration, "\(port) is no port")
        }
        // A name is resolved, which blocks.
        return try await resolver.blocking.run { [self] in
            var actual: UInt16 = 0
            var isResolver = false
            let code = cb_server_bind(handle.pointer, host, number, &actual, &isResolver)
            if code != 0 { throw NetError(binding: "\(host):\(port)", code: code, isResolver: isResolver) }
            return Int(actual)
        }
    }

    /// Stops accepting, lets every connection have one more answer (with `Connection: close`), and returns when none is
    /// open. Idle connections have a moment for a request that was sent before the client could know, and are closed
    /// then. What is open after `limit` is closed as it stands.
    ///
    /// The server cannot listen again. Must not be awaited by a task that the drained answers wait for.
    public nonisolated(nonsending) func drain(within limit: Duration) async {
        let deadline = SystemClock().monotonic.advanced(by: limit)
        // Weakly: the timer must not keep a server that ended long before it.
        loops[0].schedule(at: deadline) { [weak self] in self?.abort() }
        await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
            let box = Unmanaged.passRetained(DrainBox(continuation))
            cb_server_drain(handle.pointer, box.toOpaque(), resumeDrain)
        }
    }

    /// Connections that are open now.
    public var openConnections: Int { cb_server_open(handle.pointer) }
    /// Connections that have been accepted since the server was made, with those refused.
    public var acceptedConnections: Int { Int(clamping: cb_server_accepted(handle.pointer)) }
    /// How often the server has answered by itself, by status: requests that it refused before the handler could see them,
    /// and connections that were too many.
    package var refusals: [Int: Int] {
        var counts: [Int: Int] = [:]
        for status in 400..<600 {
            let count = Int(clamping: cb_server_refusals(handle.pointer, Int32(status)))
            if count > 0 { counts[status] = count }
        }
        return counts
    }
    /// Connections that were refused because there were too many.
    public var refusedConnections: Int { Int(clamping: cb_server_refused(handle.pointer)) }

    private func abort() { cb_server_abort(handle.pointer) }
}

/// Owns a server of the C side; freeing it closes what is open.
private struct ServerHandle: ~Copyable, @unchecked Sendable {
    // cbeast.h: "unless said otherwise a function can be called on any thread".
    let pointer: OpaquePointer

    init(loops: [EventLoop], options: cb_server_options, handler: HandlerBox) {
        var options = options
        let pointers: [OpaquePointer?] = loops.map(\.pointer)
        // Given back by `releaseHandler`, when the last connection that could call the handler is gone.
        let context = Unmanaged.passRetained(handler).toOpaque()
        pointer = cb_server_new(
            pointers, pointers.count, &options, context, takeRequest, endConnection, reportStarving, releaseHandler)
    }

    deinit { cb_server_release(pointer) }
}

private final class HandlerBox: Sendable {
    let handler: HTTPHandler
    let report: Reporter

    init(_ handler: @escaping HTTPHandler, _ report: @escaping Reporter) {
        self.handler = handler
        self.report = report
    }
}

private final class DrainBox: Sendable {
    let continuation: UnsafeContinuation<Void, Never>
    init(_ continuation: UnsafeContinuation<Void, Never>) { self.continuation = continuation }
}

// Top-level, so that they carry no isolation: C calls them on the loops' threads.
private nonisolated func takeRequest(
    _ context: UnsafeMutableRawPointer?, _ loop: UnsafeMutableRawPointer?,
    _ connection: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ exchange: OpaquePointer?
) {
    guard let context, let loop, let connection, let exchange else { return }
    let request = HTTPRequest(adopting: exchange)
    if let served = connection.pointee {
        Unmanaged<ServedConnection>.fromOpaque(served)._withUnsafeGuaranteedRef { $0.take(request) }
        return
    }
    let served = ServedConnection(
        on: Unmanaged<EventLoop>.fromOpaque(loop).takeUnretainedValue(),
        Unmanaged<HandlerBox>.fromOpaque(context).takeUnretainedValue().handler)
    // Given back by `endConnection`.
    connection.pointee = Unmanaged.passRetained(served).toOpaque()
    served.take(request)
}

private nonisolated func endConnection(_ connection: UnsafeMutableRawPointer?) {
    guard let connection else { return }
    Unmanaged<ServedConnection>.fromOpaque(connection).takeRetainedValue().end()
}

private nonisolated func reportStarving(_ context: UnsafeMutableRawPointer?, _ error: Int32) {
    guard let context else { return }
    Unmanaged<HandlerBox>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.report(.starving("clients", error)) }
}

private nonisolated func releaseHandler(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<HandlerBox>.fromOpaque(context).release()
}

private nonisolated func resumeDrain(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<DrainBox>.fromOpaque(context).takeRetainedValue().continuation.resume()
}
