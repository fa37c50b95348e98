internal import AffinityCore
internal import AffinityNet

/// A WebSocket on which a client is told what it watches. No message is taken from it.
///
/// Confined to the loop of its connection, and unchecked for that reason.
final class WatchSocket: WatchClient, @unchecked Sendable {
    private let socket: WebSocket

    init(_ socket: WebSocket) { self.socket = socket }

    var isOpen: Bool { socket.isOpen }
    var unsent: Int { socket.unsent }

    func tell(_ change: Change, _ texts: WatchTexts) throws { socket.send(try texts.frame(change)) }

    func tell(_ text: [UInt8]) { socket.send(WebSocketFrame(utf8: text)) }

    /// The partitions and versions of the messages say it.
    func mark(_ token: WatchToken) {}

    func whenBelow(_ count: Int, _ body: @escaping @Sendable () -> Void) {
        socket.loop.start { if await self.socket.drained(below: count) { body() } }
    }

    func end(_ code: WebSocketCloseCode, _ reason: String) { socket.close(code, reason) }
}
