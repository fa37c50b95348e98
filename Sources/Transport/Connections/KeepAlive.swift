/// Whether the other side of a connection is still there: asked from time to time, a pure value.
///
/// A connection whose peer vanished without a word (a machine without power, a cable) looks like one that has nothing to
/// say. So who hears nothing for an interval asks, and takes a silence after that for the end; and so does whoever has
/// something to send and gets rid of nothing.
struct KeepAlive {
    /// What the caller has to do.
    enum Action: Equatable {
        /// Look again after the interval.
        case wait
        /// Ask the other side, and look again when its patience is at its end.
        case ping
        /// End the connection.
        case end(String)
    }

    private var hasHeard = true
    private var hasAsked = false
    private var sent: UInt64 = 0
    private var isStalled = false

    /// Something came.
    mutating func hear() { hasHeard = true }

    /// Looks at what has happened since it looked last.
    ///
    /// - Parameters:
    ///   - sent: bytes that the system has taken so far, and `unsent` those that wait.
    ///   - isReading: whether what the other side sends is read at all.
    mutating func look(sent: UInt64, unsent: Int, isReading: Bool) -> Action {
        let wasStalled = isStalled
        isStalled = unsent > 0 && sent == self.sent
        self.sent = sent
        if isStalled, wasStalled { return .end("the peer takes nothing of what is sent to it") }
        let wasSilent = isReading && !hasHeard
        hasHeard = false
        if wasSilent, hasAsked { return .end("the peer gives no sign of life") }
        hasAsked = wasSilent
        return wasSilent || isStalled ? .ping : .wait
    }
}
