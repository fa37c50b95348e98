/// Queries that wait for the proof that nobody else was master when they read (PROTOCOL Q3).
///
/// A settled, of the same epoch, is the proof: once it is acknowledged without a gap in every changelog, every query is
/// good that had read **before** it was handed over. Later ones wait for the next.
@usableFromInline struct LogProofs {
    private struct Waiting {
        var deadline: MonotonicTime
        var continuation: UnsafeContinuation<AskError?, Never>
    }

    private var proving: [Waiting] = []
    private var next: [Waiting] = []
    private var isProving = false

    /// Takes in a query that has read.
    ///
    /// - Returns: whether the caller has to hand over a settled.
    mutating func wait(_ deadline: MonotonicTime, _ continuation: UnsafeContinuation<AskError?, Never>) -> Bool {
        next.append(Waiting(deadline: deadline, continuation: continuation))
        return begin()
    }

    /// The settled is acknowledged.
    ///
    /// - Returns: whether the caller has to hand over another one.
    mutating func proved() -> Bool {
        let good = proving
        proving = []
        isProving = false
        for waiting in good { waiting.continuation.resume(returning: nil) }
        return begin()
    }

    /// The mastership has ended.
    mutating func fail(_ error: AskError) {
        let lost = proving + next
        (proving, next, isProving) = ([], [], false)
        for waiting in lost { waiting.continuation.resume(returning: error) }
    }

    /// How many queries wait.
    var count: Int { proving.count + next.count }

    /// The earliest deadline of those who wait, `never` if nobody does.
    var earliestDeadline: MonotonicTime { (proving + next).reduce(.never) { min($0, $1.deadline) } }

    /// Tells those whose deadline has passed.
    mutating func expire(at time: MonotonicTime) {
        let late = (proving + next).filter { $0.deadline <= time }
        guard !late.isEmpty else { return }
        proving.removeAll { $0.deadline <= time }
        next.removeAll { $0.deadline <= time }
        let error = AskError(.notApplied, .deadline, "the deadline passed before the log proved the mastership")
        for waiting in late { waiting.continuation.resume(returning: error) }
    }

    private mutating func begin() -> Bool {
        guard !isProving, !next.isEmpty else { return false }
        (proving, next, isProving) = (next, [], true)
        return true
    }
}
