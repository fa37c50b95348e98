internal import AffinityCore
internal import AffinityNet

/// A client that is told what it watches: over a WebSocket, or as an event stream. Used on its connection's loop only.
protocol WatchClient: AnyObject, Sendable {
    var isOpen: Bool { get }
    /// Bytes that it has not taken yet.
    var unsent: Int { get }
    /// Sends a change in the form that all watchers of it share.
    func tell(_ change: Change, _ texts: WatchTexts) throws
    /// Sends a JSON text.
    func tell(_ text: [UInt8])
    /// How far the watch of many keys has come with what was told.
    func mark(_ token: WatchToken)
    /// Calls `body` once it has taken all but `count` bytes; not at all if it goes away.
    func whenBelow(_ count: Int, _ body: @escaping @Sendable () -> Void)
    /// Ends the connection: as a WebSocket is closed, where there is a word for why.
    func end(_ code: WebSocketCloseCode, _ reason: String)
}

/// Tells a client what a watch says, as fast as the client takes it, and no faster: what it does not take stays with the
/// watch, which bounds it.
///
/// Confined to the loop of the client's connection, and unchecked for that reason. It has no task: a watcher who waits
/// costs nothing.
final class WatchTeller: @unchecked Sendable {
    private let client: any WatchClient
    private let texts: WatchTexts
    private let unsentMax: Int
    private let report: Reporter
    private var watch: ByteWatch?
    private var isWaiting = false

    private init(_ client: any WatchClient, _ texts: WatchTexts, unsentMax: Int, report: @escaping Reporter) {
        self.client = client
        self.texts = texts
        self.unsentMax = unsentMax
        self.report = report
    }

    /// `open` makes the watch, with what it is to call when it has something to say.
    private func start(_ open: (_ onReady: @escaping @Sendable () -> Void) throws(WatchError) -> ByteWatch) {
        do throws(WatchError) {
            watch = try open { [weak self] in self?.pump() }
            pump()
        } catch { end(error) }
    }

    /// Begins to tell `client`; gives what ends it.
    static func begin(
        _ client: any WatchClient, _ texts: WatchTexts, _ context: GatewayContext,
        _ open: (_ onReady: @escaping @Sendable () -> Void) throws(WatchError) -> ByteWatch
    ) -> @Sendable () -> Void {
        let teller = WatchTeller(client, texts, unsentMax: context.watching.unsentMax, report: context.report)
        teller.start(open)
        return { teller.stop() }
    }

    /// Ends the watch: the client has gone.
    private func stop() {
        watch?.cancel()
        watch = nil
    }

    private func pump() {
        guard let watch, client.isOpen else { return }
        do {
            while client.isOpen {
                // The end is said at once, behind what is on its way: whoever reads on finds it.
                if client.unsent > unsentMax, !watch.isOver { return waitForRoom() }
                let events = try watch.take(atMost: 64)
                if events.isEmpty { return }
                for event in events { try tell(event, watch) }
                if texts.isOfMany { client.mark(watch.token) }
            }
        } catch let error as WatchError {
            end(error)
        } catch {
            report(Report(.error, "a change cannot be told", [("error", "\(error)")]))
            client.end(.internalError, "an entry cannot be encoded")
            stop()
        }
    }

    /// A client that does not take what it is sent is not sent more.
    private func waitForRoom() {
        if isWaiting { return }
        isWaiting = true
        client.whenBelow(unsentMax / 2) { [weak self] in
            self?.isWaiting = false
            self?.pump()
        }
    }

    private func tell(_ event: ByteWatch.Event, _ watch: ByteWatch) throws {
        switch event {
        case .current(let change), .change(let change): try client.tell(change, texts)
        case .startOver(let partition): client.tell(texts.startOver(partition))
        case .level(let partition): client.tell(texts.level(partition, watch.token[partition] ?? .none))
        }
    }

    private func end(_ error: WatchError) {
        client.end(WebSocketCloseCode(error.code), error.reason)
        stop()
    }
}
