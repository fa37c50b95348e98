/// The door to a partition: bounds the commands in flight, and those who wait for a place among them.
///
/// Waiters are called in one at a time, and the next one when the former has run: so the bytes in flight exceed their
/// limit by no more than one command, and whatever became of that command, somebody looks after those behind it.
@usableFromInline struct Admission {
    private let limits: StateLimits
    private var waiting = WaitingCallers()
    /// Whether a waiter was called and has not arrived yet.
    private var isCalling = false

    init(_ limits: StateLimits) { self.limits = limits }

    /// Whether a command can go in now: there is room, and nobody comes before it.
    @usableFromInline func hasPlace(_ commands: Int, _ bytes: Int) -> Bool {
        waiting.isEmpty && !isCalling && hasRoom(commands, bytes)
    }

    private func hasRoom(_ commands: Int, _ bytes: Int) -> Bool { commands < limits.commands && bytes < limits.bytes }

    var canWait: Bool { waiting.count < limits.waiting }

    var waitingCount: Int { waiting.count }

    @usableFromInline var hasWaiting: Bool { !waiting.isEmpty }

    mutating func wait(_ deadline: MonotonicTime, _ continuation: WaitingCallers.Continuation) {
        waiting.append(deadline, continuation)
    }

    /// A waiter that was called is here.
    @usableFromInline mutating func arrived() { isCalling = false }

    /// Calls the first waiter in if there is room. To be called when room was made, and when a waiter has run.
    @usableFromInline mutating func admit(_ commands: Int, _ bytes: Int) {
        guard !isCalling, hasRoom(commands, bytes) else { return }
        isCalling = waiting.releaseFirst()
    }

    mutating func refuseAll(_ error: AskError) { waiting.releaseAll(error) }

    var earliestDeadline: MonotonicTime { waiting.earliestDeadline }

    /// Refuses those who have waited too long; they no longer count among the waiting.
    mutating func expire(at time: MonotonicTime) {
        waiting.expire(at: time, because: "the deadline passed before there was a place")
    }
}
