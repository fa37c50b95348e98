internal import AffinityCore
internal import AffinityNet

/// Tells a client the reply of a query, and again when it has become another one.
///
/// Confined to the loop of the client's connection, and unchecked for that reason.
final class QueryTeller: @unchecked Sendable {
    typealias Ask = nonisolated(nonsending) @Sendable () async throws -> [UInt8]

    private let client: any WatchClient
    private let loop: EventLoop
    private let context: GatewayContext
    private let ask: Ask
    private var watch: ByteWatch?
    private var told: [UInt8]?
    /// Whether something has changed since the query was run.
    private var isStale = true
    /// Whether it is being run, or its reply is on its way.
    private var isBusy = false

    init(_ client: any WatchClient, on loop: EventLoop, _ context: GatewayContext, _ ask: @escaping Ask) {
        self.client = client
        self.loop = loop
        self.context = context
        self.ask = ask
    }

    /// Begins; `open` makes the watch, with what it is to call when it has something to say.
    func start(_ open: (_ onReady: @escaping @Sendable () -> Void) throws(WatchError) -> ByteWatch) {
        do throws(WatchError) {
            watch = try open { [weak self] in self?.pump() }
            pump()
        } catch { end(error) }
    }

    /// Ends the watch: the client has gone.
    func stop() {
        watch?.cancel()
        watch = nil
    }

    private func pump() {
        guard let watch, client.isOpen else { return }
        do throws(WatchError) {
            while true {
                let events = try watch.take(atMost: 256)
                if events.isEmpty { break }
                for event in events where Self.concerns(event) { isStale = true }
            }
        } catch { return end(error) }
        runIfStale()
    }

    /// What stood there already has been read. Once all of it was said (`level`), changes are heard: one may have come
    /// between.
    private static func concerns(_ event: ByteWatch.Event) -> Bool {
        if case .current = event { false } else { true }
    }

    private func runIfStale() {
        guard isStale, !isBusy, watch != nil, client.isOpen else { return }
        (isStale, isBusy) = (false, true)
        loop.start { await self.run() }
    }

    private nonisolated(nonsending) func run() async {
        do {
            let reply = try await ask()
            if reply != told, client.isOpen {
                told = reply
                client.tell(reply)
            }
            client.whenBelow(context.watching.unsentMax) {
                self.isBusy = false
                self.runIfStale()
            }
        } catch {
            let (code, reason) = WebSocketCloseCode.closing(error, context.report)
            client.end(code, reason)
            stop()
        }
    }

    private func end(_ error: WatchError) {
        client.end(WebSocketCloseCode(error.code), error.reason)
        stop()
    }
}
