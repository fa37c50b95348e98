/// A message of a ``WebSocket``, whole and inflated.
public enum WebSocketMessage: Hashable, Sendable {
    /// Text; what came was UTF-8.
    case text(String)
    /// Bytes.
    case binary([UInt8])

    /// How many bytes it has.
    public var count: Int {
        switch self {
        case .text(let text): text.utf8.count
        case .binary(let bytes): bytes.count
        }
    }
}

/// Why a ``WebSocket`` is closed: RFC 6455, 7.4.
public struct WebSocketCloseCode: Hashable, Sendable, CustomStringConvertible {
    /// The number on the wire.
    public let rawValue: Int

    /// The code of that number. Those for applications are 3000…4999.
    public init(_ rawValue: Int) { self.rawValue = rawValue }

    /// 1000: what it was opened for is done.
    public static let normal = WebSocketCloseCode(1000)
    /// 1001: the server drains, or the page is left.
    public static let goingAway = WebSocketCloseCode(1001)
    /// 1002: the other side breaks the protocol.
    public static let protocolError = WebSocketCloseCode(1002)
    /// 1003: a kind of data that is not taken here.
    public static let unsupportedData = WebSocketCloseCode(1003)
    /// 1005: the other side closed without a code. Never sent.
    public static let none = WebSocketCloseCode(1005)
    /// 1006: the connection ended without a close frame. Never sent.
    public static let lost = WebSocketCloseCode(1006)
    /// 1007: a text is no UTF-8, or a message cannot be inflated.
    public static let badData = WebSocketCloseCode(1007)
    /// 1008: it does what it may not.
    public static let policyViolation = WebSocketCloseCode(1008)
    /// 1009: a message is too long.
    public static let messageTooLong = WebSocketCloseCode(1009)
    /// 1011: an error of this side.
    public static let internalError = WebSocketCloseCode(1011)
    /// 1013: it may try again later; a client that reads too slowly gets it.
    public static let tryAgainLater = WebSocketCloseCode(1013)

    /// The number.
    public var description: String { "\(rawValue)" }

    /// Whether a close frame may have it.
    var isSendable: Bool { (1000...1003).contains(rawValue) || (1007...1014).contains(rawValue) || isOwn }
    private var isOwn: Bool { (3000...4999).contains(rawValue) }
}

/// How a ``WebSocket`` ended.
public struct WebSocketClosure: Sendable {
    /// What the other side said, or what it was told for its mistake; ``WebSocketCloseCode/lost`` if it vanished, did not
    /// answer in time, or was cut off.
    public let code: WebSocketCloseCode
    /// The other side's own words, for people; at most 123 bytes.
    public let reason: String
    /// The system's error that ended the connection, if one did.
    public let error: NetError?
}
