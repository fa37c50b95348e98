internal import CBeast

/// A message that is encoded once and sent over any number of WebSockets.
///
/// Made on any thread, sent with ``WebSocket/send(_:)-(WebSocketFrame)`` on any loop. A long one is not copied for those
/// that it is sent over; for those that deflate, and keep no context, it is deflated once.
public final class WebSocketFrame: Sendable {
    private let handle: FrameHandle

    /// A text message.
    public init(_ text: String) {
        var text = text
        handle = FrameHandle(pointer: text.withUTF8 { cb_frame_new(true, $0.baseAddress, $0.count) })
        count = text.utf8.count
    }

    /// A text message of bytes that are known to be UTF-8: whoever gets others closes the connection with 1007.
    public init(utf8 bytes: [UInt8]) {
        handle = FrameHandle(pointer: bytes.withUnsafeBytes { cb_frame_new(true, $0.baseAddress, $0.count) })
        count = bytes.count
    }

    /// A binary message.
    public init(_ bytes: [UInt8]) {
        handle = FrameHandle(pointer: bytes.withUnsafeBytes { cb_frame_new(false, $0.baseAddress, $0.count) })
        count = bytes.count
    }

    /// How many bytes the message has.
    public let count: Int

    var pointer: OpaquePointer { handle.pointer }
}

/// Owns one reference to a frame of the C side.
private struct FrameHandle: ~Copyable, @unchecked Sendable {
    // cbeast.h: "on any thread"; what is read of it never changes, but for the deflated form, which is made once.
    let pointer: OpaquePointer

    deinit { cb_frame_release(pointer) }
}
