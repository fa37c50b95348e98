internal import CBeast

/// What serves a WebSocket: ``HTTPResponse/webSocket(_:subprotocol:headers:_:)``.
public typealias WebSocketHandler = nonisolated(nonsending) @Sendable (WebSocket) async -> Void

/// A connection that carries messages both ways, as long as both sides want.
///
/// A server's is made by answering a request with ``HTTPResponse/webSocket(_:subprotocol:headers:_:)``. Called by whoever
/// runs it, on the thread of its ``loop`` and nowhere else; calls the C side of this module.
///
/// Pings are answered, and sent to a side that is silent; close frames are answered; what breaks the protocol closes the
/// connection. What is sent in one turn of the loop leaves with one system call at the turn's end. What waits to be sent
/// is not limited here: whoever sends looks at ``unsent``, and waits (``drained(below:)``) or closes.
///
/// Unchecked, because it is touched on the thread of its loop only.
public final class WebSocket: @unchecked Sendable {
    /// Where it lives.
    public let loop: EventLoop
    /// What the two sides agreed to speak.
    public let subprotocol: String?
    /// Whether messages can be sent and received: false once either side has begun to close, or the connection is lost.
    public private(set) var isOpen = true
    /// How it ended; `nil` until then.
    public private(set) var closure: WebSocketClosure?
    /// Called once when it is no longer open, if that was the owner's own wish then at its end.
    var onClosing: (@Sendable () -> Void)?

    // So much is taken from the connection before anybody asks for it: control frames can stand behind.
    private static let inboxCountMax = 16
    private static let inboxBytesMax = 64 * 1024

    private let handle: WebSocketHandle
    private var inbox: [WebSocketMessage] = []
    private var inboxBytes = 0
    private var isPaused = false
    private var receiver: UnsafeContinuation<WebSocketMessage?, Never>?
    private var consumer: (@Sendable (WebSocketMessage) -> Void)?
    private var drainer: UnsafeContinuation<Bool, Never>?
    private var enders: [UnsafeContinuation<WebSocketClosure, Never>] = []

    init(adopting pointer: OpaquePointer, on loop: EventLoop) {
        self.loop = loop
        handle = WebSocketHandle(adopting: pointer)
        let name = cb_websocket_subprotocol(pointer)
        subprotocol =
            name.count == 0
            ? nil : String(decoding: UnsafeBufferPointer(start: name.bytes, count: name.count), as: UTF8.self)
        // Given back by `webSocketClosed`, the last of the callbacks.
        cb_websocket_attach(pointer, Unmanaged.passRetained(self).toOpaque(), webSocketEvents)
    }

    /// Whether messages are deflated.
    public var isDeflating: Bool { cb_websocket_deflates(handle.pointer) }
}

// MARK: - Sending

extension WebSocket {
    /// Bytes that wait to be sent, as they are on the wire.
    public var unsent: Int {
        loop.checkIsolated()
        return cb_websocket_unsent(handle.pointer)
    }

    /// Sends a text message, later; false if the socket is not open.
    @discardableResult
    public func send(_ text: String) -> Bool {
        loop.checkIsolated()
        var text = text
        return text.withUTF8 { cb_websocket_send(handle.pointer, true, $0.baseAddress, $0.count) }
    }

    /// Sends a binary message, later; false if the socket is not open.
    @discardableResult
    public func send(_ bytes: [UInt8]) -> Bool {
        loop.checkIsolated()
        return bytes.withUnsafeBytes { cb_websocket_send(handle.pointer, false, $0.baseAddress, $0.count) }
    }

    /// Sends a message that many get, later; false if the socket is not open.
    @discardableResult
    public func send(_ frame: WebSocketFrame) -> Bool {
        loop.checkIsolated()
        return cb_websocket_send_frame(handle.pointer, frame.pointer)
    }

    /// Sends a ping, later; nothing is told of the pong. False if the socket is not open, or for more than 125 bytes.
    @discardableResult
    public func ping(_ bytes: [UInt8] = []) -> Bool {
        loop.checkIsolated()
        return bytes.withUnsafeBytes { cb_websocket_ping(handle.pointer, $0.baseAddress, $0.count) }
    }

    /// Waits until no more than `count` bytes wait to be sent. One call at a time.
    ///
    /// - Returns: false if the socket is not open any more.
    public nonisolated(nonsending) func drained(below count: Int) async -> Bool {
        loop.checkIsolated()
        guard isOpen, unsent > count else { return isOpen }
        precondition(drainer == nil, "somebody waits already")
        return await withUnsafeContinuation {
            drainer = $0
            cb_websocket_tell_below(handle.pointer, count)
        }
    }
}

// MARK: - Receiving

extension WebSocket {
    /// The next message; `nil` once there is none any more. One call at a time.
    ///
    /// While nobody asks, only a few messages are read ahead; then the other side comes to a stop.
    public nonisolated(nonsending) func next() async -> WebSocketMessage? {
        loop.checkIsolated()
        precondition(receiver == nil, "somebody waits already")
        if !inbox.isEmpty { return takeFirst() }
        guard isOpen else { return nil }
        return await withUnsafeContinuation { receiver = $0 }
    }

    /// Has `take` called with each message from now on, instead of ``next()``, on the loop.
    ///
    /// The other side is read from as long as the socket is open: whoever cannot keep up calls ``pause()``.
    public func receive(_ take: @escaping @Sendable (WebSocketMessage) -> Void) {
        loop.checkIsolated()
        consumer = take
        let messages = inbox
        inbox = []
        inboxBytes = 0
        resume()
        for message in messages { take(message) }
    }

    /// Reads nothing more, for now: no messages, no pongs, and no close frame.
    public func pause() {
        loop.checkIsolated()
        isPaused = true
        cb_websocket_pause(handle.pointer)
    }

    /// Reads again.
    public func resume() {
        loop.checkIsolated()
        guard isPaused else { return }
        isPaused = false
        cb_websocket_resume(handle.pointer)
    }

    private func takeFirst() -> WebSocketMessage {
        let message = inbox.removeFirst()
        inboxBytes -= message.count
        if inbox.isEmpty { resume() }
        return message
    }

    private func keep(_ message: WebSocketMessage) {
        inbox.append(message)
        inboxBytes += message.count
        if inbox.count >= Self.inboxCountMax || inboxBytes >= Self.inboxBytesMax { pause() }
    }
}

// MARK: - Closing

extension WebSocket {
    /// Closes it, behind what waits to be sent: from now on nothing is sent or received. A second call does nothing.
    ///
    /// - Parameters:
    ///   - code: one that a close frame may have; another is sent as 1011.
    ///   - reason: for people; its first 123 bytes are sent.
    public func close(_ code: WebSocketCloseCode = .normal, _ reason: String = "") {
        loop.checkIsolated()
        guard isOpen else { return }
        let number = code.isSendable ? code.rawValue : WebSocketCloseCode.internalError.rawValue
        var reason = reason.cut(toUTF8: 123)
        reason.withUTF8 { cb_websocket_close(handle.pointer, Int32(number), $0.baseAddress, $0.count) }
        inbox = []
        settle()
    }

    /// Cuts the connection off, and forgets what is unsent.
    public func abort() {
        loop.checkIsolated()
        cb_websocket_abort(handle.pointer)
    }

    /// Waits for the end.
    public nonisolated(nonsending) func closed() async -> WebSocketClosure {
        loop.checkIsolated()
        if let closure { return closure }
        return await withUnsafeContinuation { enders.append($0) }
    }

    /// Nobody waits any more for what does not come.
    private func settle() {
        isOpen = false
        consumer = nil
        receiver.take()?.resume(returning: nil)
        drainer.take()?.resume(returning: false)
    }
}

extension String {
    fileprivate func cut(toUTF8 count: Int) -> String {
        if utf8.count <= count { return self }
        var end = utf8.index(utf8.startIndex, offsetBy: count)
        while end.samePosition(in: unicodeScalars) == nil { end = utf8.index(before: end) }
        return String(self[..<end])
    }
}

// MARK: - What C calls

extension WebSocket {
    fileprivate func received(_ isText: Bool, _ bytes: UnsafeBufferPointer<UInt8>) {
        let message: WebSocketMessage = isText ? .text(String(decoding: bytes, as: UTF8.self)) : .binary([UInt8](bytes))
        if let consumer { return consumer(message) }
        guard let receiver = receiver.take() else { return keep(message) }
        receiver.resume(returning: message)
    }

    fileprivate func drained() { drainer.take()?.resume(returning: true) }

    fileprivate func closing() {
        if isOpen { settle() }
        onClosing.take()?()
    }

    fileprivate func closed(_ closure: WebSocketClosure) {
        closing()
        self.closure = closure
        for ender in enders { ender.resume(returning: closure) }
        enders = []
    }
}

// One for all: C keeps its address.
private nonisolated(unsafe) let webSocketEvents: UnsafeMutablePointer<cb_websocket_events> = {
    let events = UnsafeMutablePointer<cb_websocket_events>.allocate(capacity: 1)
    events.initialize(
        to: cb_websocket_events(
            received: webSocketReceived, drained: webSocketDrained, closing: webSocketClosing, closed: webSocketClosed))
    return events
}()

/// Owns one reference to a WebSocket of the C side.
private struct WebSocketHandle: ~Copyable, @unchecked Sendable {
    let pointer: OpaquePointer

    init(adopting pointer: OpaquePointer) { self.pointer = pointer }

    deinit { cb_websocket_release(pointer) }
}

// Top-level, so that they carry no isolation: C calls them on the loop's thread.
private nonisolated func webSocketReceived(
    _ context: UnsafeMutableRawPointer?, _ isText: Bool, _ bytes: UnsafePointer<UInt8>?, _ count: Int
) {
    guard let context else { return }
    let buffer = UnsafeBufferPointer(start: bytes, count: count)
    Unmanaged<WebSocket>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.received(isText, buffer) }
}

private nonisolated func webSocketDrained(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<WebSocket>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.drained() }
}

private nonisolated func webSocketClosing(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<WebSocket>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.closing() }
}

private nonisolated func webSocketClosed(
    _ context: UnsafeMutableRawPointer?, _ code: Int32, _ reason: UnsafePointer<UInt8>?, _ count: Int, _ error: Int32
) {
    guard let context else { return }
    let closure = WebSocketClosure(
        code: WebSocketCloseCode(Int(code)),
        reason: String(decoding: UnsafeBufferPointer(start: reason, count: count), as: UTF8.self),
        error: error == 0 ? nil : NetError(connection: error))
    Unmanaged<WebSocket>.fromOpaque(context).takeRetainedValue().closed(closure)
}
