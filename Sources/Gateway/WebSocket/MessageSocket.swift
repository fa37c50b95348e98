internal import AffinityNet
internal import FoundationEssentials

/// A WebSocket on which both sides send JSON texts of a type each.
///
///     routes.webSocket("/rooms/:room", receiving: Said.self, sending: Heard.self) { request, socket in
///         while let said = try await socket.next() {
///             try await socket.send(Heard(try await rooms.ask(Say(room: request.parameter("room"), text: said.text))))
///         }
///     }
///
/// Bounded both ways: while the handler asks for nothing, a few messages are read ahead and then the client comes to a
/// stop; `send` waits for a client that does not keep up, which is cut off if it takes nothing for a while.
///
/// One call of `next` at a time. All are cheapest on the loop where the handler is called, and find back
/// to it from anywhere else. Unchecked, because what it holds is only touched there.
public final class MessageSocket<Received: Decodable & SendableMetatype, Sent: Encodable & SendableMetatype>:
    @unchecked Sendable
{
    private let socket: WebSocket
    private let unsentMax: Int
    private var isWaiting = false
    private var waiting: [UnsafeContinuation<Bool, Never>] = []

    init(_ socket: WebSocket, unsentMax: Int) {
        self.socket = socket
        self.unsentMax = unsentMax
    }

    /// The next message of the client; `nil` once there is none any more.
    ///
    /// - Throws: `HTTPError` with 400 for a message that is no text of a `Received`, or no text at all. The socket stays
    ///   open: whoever wants to answers it with `send(problem:)`; if it is thrown out of the handler, it closes the socket.
    public nonisolated(nonsending) func next() async throws(HTTPError) -> Received? {
        switch await onLoop({ await self.socket.next() }) {
        case nil: return nil
        case .binary: throw HTTPError(400, "a message must be a text")
        case .text(let text):
            do { return try JSONDecoder().decode(Received.self, from: Data(text.utf8)) } catch {
                throw HTTPError(400, "the message does not fit: \(Request.describe(error))")
            }
        }
    }

    /// Sends a message; returns once the client has room for more.
    ///
    /// - Returns: false if it cannot get it any more.
    /// - Throws: what the message's own encoding throws.
    @discardableResult
    public nonisolated(nonsending) func send(_ message: Sent) async throws -> Bool {
        await send(text: try Response.jsonText(of: message))
    }

    /// Sends an error as a message: its problem document (RFC 9457), which has `type`, `title`, `status` and `detail`.
    ///
    /// - Returns: false if the client cannot get it any more.
    @discardableResult
    public nonisolated(nonsending) func send(problem: HTTPError) async -> Bool {
        await send(text: Response.problem(problem).body)
    }

    private nonisolated(nonsending) func send(text: [UInt8]) async -> Bool {
        await onLoop {
            guard self.socket.send(WebSocketFrame(utf8: text)) else { return false }
            return await self.room()
        }
    }

    /// Waits until the client has room for more: one of those who send waits for all of them.
    private nonisolated(nonsending) func room() async -> Bool {
        guard socket.unsent > unsentMax else { return socket.isOpen }
        if isWaiting { return await withUnsafeContinuation { waiting.append($0) } }
        isWaiting = true
        let isOpen = await socket.drained(below: unsentMax)
        isWaiting = false
        for other in waiting { other.resume(returning: isOpen) }
        waiting = []
        return isOpen
    }

    /// Closes the socket, behind what was sent. The handler's return does it too, with 1000.
    ///
    /// - Parameters:
    ///   - code: 1000…4999 as RFC 6455 has it; those of applications are 4000…4999. Another is sent as 1011.
    ///   - reason: for people; its first 123 bytes are sent.
    public func close(_ code: Int = 1000, _ reason: String = "") { close(WebSocketCloseCode(code), reason) }

    func close(_ code: WebSocketCloseCode, _ reason: String) {
        if socket.loop.isCurrent { return socket.close(code, reason) }
        socket.loop.post { [socket] in socket.close(code, reason) }
    }

    /// A handler of another isolation, a main actor's for one, is called on the loop but goes on elsewhere.
    private nonisolated(nonsending) func onLoop<Result: Sendable>(
        _ body: nonisolated(nonsending) @escaping @Sendable () async -> Result
    ) async -> Result {
        if socket.loop.isCurrent { return await body() }
        return await withUnsafeContinuation { continuation in
            socket.loop.start { continuation.resume(returning: await body()) }
        }
    }
}
