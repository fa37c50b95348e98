internal import AffinityConfiguration
public import AffinityCore
public import AffinityNet

/// The keys under `gateway.watch` and `gateway.websocket`.
public struct WatchConfiguration: Sendable {
    /// How many changes, and bytes of them, a watch keeps for a client that does not take them; then it ends. How long it
    /// goes on trying while its partition has no master.
    public var options = WatchOptions()
    /// How many bytes that a client has not taken may be on their way; no more are taken from its watch then.
    public var unsentMax = 256 << 10
    /// After so long a silence an event stream says something.
    public var heartbeat: Duration = .seconds(15)
    /// What bounds WebSockets.
    public var webSocket = WebSocketConfiguration()

    /// The defaults.
    public init() {}

    /// Reads the keys.
    ///
    /// - Parameter gateway: the group `gateway`.
    init(_ gateway: ConfigurationReader) {
        let watch = gateway.group("watch")
        options.events = watch.integer(
            "changes", default: options.events, in: 1...1_000_000, unit: "changes",
            doc: "How many changes wait for a client that reads too slowly, before it is closed.")
        options.bytes =
            watch.size(
                "bytes", default: .bytes(options.bytes), in: .kibibytes(1) ... .gibibytes(1),
                doc: "How many bytes of them."
            ).bytes
        options.patience = watch.duration(
            "patience", default: options.patience, in: .milliseconds(100) ... .seconds(3600),
            doc: "How long a watch goes on while its partition has no master; then it is closed.")
        unsentMax =
            watch.size(
                "unsent", default: .bytes(unsentMax), in: .kibibytes(1) ... .mebibytes(64),
                doc: "How many bytes are sent ahead of a client that watches."
            ).bytes
        heartbeat = watch.duration(
            "heartbeat", default: heartbeat, in: .milliseconds(10) ... .seconds(3600),
            doc: "After so long a silence an event stream says something.")
        let socket = gateway.group("websocket")
        webSocket.messageLimit =
            socket.size(
                "message", default: .bytes(webSocket.messageLimit), in: .bytes(1) ... .gibibytes(1),
                doc: "How long a message of a client may be; a longer one closes its WebSocket with 1009."
            ).bytes
        webSocket.messageTime = socket.duration(
            "message-time", default: webSocket.messageTime, in: .milliseconds(10) ... .seconds(3600),
            doc: "How long a message of a client may take to come; then its WebSocket is closed with 1008.")
        webSocket.pingTime = socket.duration(
            "ping", default: webSocket.pingTime, in: .milliseconds(10) ... .seconds(3600),
            doc: "After so long a silence of a client it is sent a ping.")
        webSocket.pongTime = socket.duration(
            "pong", default: webSocket.pongTime, in: .milliseconds(10) ... .seconds(3600),
            doc: "How long it then has to say anything; then the connection is cut off.")
        webSocket.writeTime = socket.duration(
            "write", default: webSocket.writeTime, in: .milliseconds(10) ... .seconds(3600),
            doc:
                "How long a client may take nothing of what it is sent; then it is closed with 1013, and cut off after as long again."
        )
        let deflates = socket.boolean(
            "deflate", default: false, doc: "Whether messages are compressed for clients that want it.")
        webSocket.deflate = deflates ? WebSocketDeflate() : nil
    }
}
