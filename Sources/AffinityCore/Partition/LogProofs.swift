/// Queries that wait for the proof that nobody else was master when they read (PROTOCOL Q3).
///
/// A settled, of the same epoch, is the proof: once it is acknowledged without a gap in every changelog, every query is
/// good that had read **before** it was handed over. Later ones wait for the next.
struct LogProofs {
    private var proving = WaitingCallers()
    private var next = WaitingCallers()
    private var isProving = false

    /// How many queries wait.
    var count: Int { proving.count + next.count }

    /// The earliest deadline of those who wait, `never` if nobody does.
    var earliestDeadline: MonotonicTime { min(proving.earliestDeadline, next.earliestDeadline) }

    /// Takes in a query that has read.
    ///
    /// - Returns: whether the caller has to hand over a settled.
    mutating func wait(_ deadline: MonotonicTime, _ continuation: WaitingCallers.Continuation) -> Bool {
        next.append(deadline, continuation)
        return begin()
    }

    /// The settled is acknowledged.
    ///
    /// - Returns: whether the caller has to hand over another one.
    mutating func proved() -> Bool {
        proving.releaseAll()
        isProving = false
        return begin()
    }

    /// The mastership has ended.
    mutating func fail(_ error: AskError) {
        proving.releaseAll(error)
        next.releaseAll(error)
        isProving = false
    }

    /// Tells those whose deadline has passed.
    mutating func expire(at time: MonotonicTime) {
        let reason = "the deadline passed before the log proved the mastership"
        proving.expire(at: time, because: reason)
        next.expire(at: time, because: reason)
    }

    private mutating func begin() -> Bool {
        guard !isProving, !next.isEmpty else { return false }
        // Nobody is left in `proving`: a new proof begins only when the former has ended.
        swap(&proving, &next)
        isProving = true
        return true
    }
}
