internal import AffinityCore
internal import CBeast

extension cb_websocket_options {
    init(_ configuration: WebSocketConfiguration) {
        let deflate = configuration.deflate ?? WebSocketDeflate()
        self.init(
            message_max: configuration.messageLimit,
            refuses_messages: !configuration.takesMessages,
            message_ns: configuration.messageTime.wholeNanoseconds,
            unsent_max: configuration.unsentLimit,
            ping_ns: configuration.pingTime.wholeNanoseconds,
            pong_ns: configuration.pongTime.wholeNanoseconds,
            close_ns: configuration.closeTime.wholeNanoseconds,
            write_ns: configuration.writeTime.wholeNanoseconds,
            deflates: configuration.deflate != nil,
            keeps_context: deflate.keepsContext,
            window_bits: Int32(deflate.windowBits),
            level: Int32(deflate.level),
            deflate_min: deflate.shortestMessage)
    }
}
