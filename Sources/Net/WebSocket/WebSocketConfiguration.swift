/// The limits of a ``WebSocket``, and what it offers to agree on.
public struct WebSocketConfiguration: Sendable {
    /// Bytes of a message that is received, inflated; a longer one closes with 1009. Default 1 MiB.
    public var messageLimit = 1024 * 1024
    /// Whether messages are taken at all. Default true; otherwise the first bytes of one close with 1003.
    public var takesMessages = true
    /// From a message's first byte to its last, unless the other side is held up from here; then it is closed with 1008.
    /// Default 30 s.
    public var messageTime: Duration = .seconds(30)
    /// Bytes that the other side has not taken, beyond which nothing more is read from it. Default 256 KiB. It is no limit
    /// on what can be sent: whoever sends looks at ``WebSocket/unsent``.
    public var unsentLimit = 256 * 1024
    /// After so long a silence of the other side a ping is sent. Default 30 s.
    public var pingTime: Duration = .seconds(30)
    /// How long it then has to say anything; then the connection is cut off. Default 15 s. While nobody takes messages
    /// nothing is read: then it is enough that its system acknowledges the ping.
    public var pongTime: Duration = .seconds(15)
    /// How long it has to answer a close frame once that is sent, and to end the connection after. Default 5 s.
    public var closeTime: Duration = .seconds(5)
    /// How long it may need for what is sent to it, or for each 64 KiB of it; then a server closes with 1013, and resets
    /// the connection if the other side does not read on in as much time again. A client resets it at once. Default 30 s.
    public var writeTime: Duration = .seconds(30)
    /// Whether messages are deflated, where the other side wants it too; `nil`, the default, for never.
    public var deflate: WebSocketDeflate?
    /// The origins whose pages may open it; `nil`, the default, for any. A request without an `Origin` is no browser's,
    /// and may always; another is refused with 403. As browsers send it: `https://example.org:8443`, in lower case.
    public var origins: Set<String>?

    /// The defaults.
    public init() {}

    /// Checks that every value can be used.
    ///
    /// - Throws: ``NetError`` with ``NetError/Code/badConfiguration``, naming the first that cannot.
    public func validate() throws(NetError) {
        for (name, value) in [("messageLimit", messageLimit), ("unsentLimit", unsentLimit)]
        where value < 0 || value > 1 << 40 {
            throw NetError(.badConfiguration, "\(name) is \(value); it must be from 0 to 2^40")
        }
        let times = [
            ("messageTime", messageTime), ("pingTime", pingTime), ("pongTime", pongTime), ("closeTime", closeTime),
            ("writeTime", writeTime),
        ]
        for (name, value) in times where value < .milliseconds(1) || value > .seconds(86_400) {
            throw NetError(.badConfiguration, "\(name) is \(value); it must be from 1 ms to a day")
        }
        try deflate?.validate()
    }
}

/// How messages are deflated: permessage-deflate, RFC 7692.
public struct WebSocketDeflate: Sendable {
    /// From 1, the fastest, to 9. Default 3.
    public var level = 3
    /// Shorter messages are sent as they are. Default 256 bytes.
    public var shortestMessage = 256
    /// Whether what was said before helps to deflate what comes next. Default false: then nothing is held between messages,
    /// and all connections of a loop deflate with the same 270 KiB. With it, each holds up to 270 KiB to send and 44 KiB to
    /// receive, by ``windowBits``.
    public var keepsContext = false
    /// The size of the window, 9…15: 2 to the power of it is how far back bytes are looked for, and what they cost in
    /// memory. Default 15. With less, offers of clients that cannot be told (those without `client_max_window_bits`) are
    /// not taken up.
    public var windowBits = 15

    /// The defaults.
    public init() {}

    func validate() throws(NetError) {
        for (name, value, range) in [
            ("level", level, 1...9), ("windowBits", windowBits, 9...15),
            ("shortestMessage", shortestMessage, 0...1 << 40),
        ] where !range.contains(value) {
            throw NetError(
                .badConfiguration,
                "deflate.\(name) is \(value); it must be from \(range.lowerBound) to \(range.upperBound)")
        }
    }
}
