/// Callers that wait for their turn, in the order in which they came, each no longer than its deadline.
struct WaitingCallers {
    /// Resumed exactly once: with `nil` when the caller may go on, with the refusal otherwise.
    typealias Continuation = UnsafeContinuation<AskError?, Never>

    private var callers = Queue<(deadline: MonotonicTime, continuation: Continuation)>()

    var count: Int { callers.count }
    var isEmpty: Bool { callers.isEmpty }

    mutating func append(_ deadline: MonotonicTime, _ continuation: Continuation) {
        callers.append((deadline, continuation))
    }

    /// Lets the first one go on.
    ///
    /// - Returns: false if nobody waits.
    mutating func releaseFirst() -> Bool {
        guard let first = callers.popFirst() else { return false }
        first.continuation.resume(returning: nil)
        return true
    }

    /// Lets everybody go on, or tells everybody that it cannot be.
    mutating func releaseAll(_ refusal: AskError? = nil) {
        while let first = callers.popFirst() { first.continuation.resume(returning: refusal) }
    }

    /// The earliest deadline, `never` if nobody waits.
    var earliestDeadline: MonotonicTime {
        var earliest = MonotonicTime.never
        for place in 0..<callers.count { earliest = min(earliest, callers[place].deadline) }
        return earliest
    }

    /// Refuses those who have waited too long.
    mutating func expire(at time: MonotonicTime, because reason: String) {
        guard earliestDeadline <= time else { return }
        for late in callers.removeAll(where: { $0.deadline <= time }) {
            late.continuation.resume(returning: AskError(.notApplied, .deadline, reason))
        }
    }
}
