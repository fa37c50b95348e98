internal import Synchronization

/// A node's word, good for a while, that the coordinator has heard of it: as long as it runs, whoever is granted one of
/// the node's masterships waits (PROTOCOL Q1, Q2).
///
/// One lease a session; it covers only masterships that were granted in that session. Every method can be called on
/// any thread, and costs one atomic access.
public final class Lease: Sendable {
    private let end = Atomic(Int64.min)

    /// A lease that covers nothing yet.
    public init() {}

    /// Whether the lease still ran at `moment`.
    ///
    /// To be asked after what it is to cover: then a pause of the process in between, however long, does no harm.
    public func covers(_ moment: MonotonicTime) -> Bool { moment.nanoseconds < end.load(ordering: .acquiring) }

    /// When the lease ends, as things are.
    public var expiry: MonotonicTime { MonotonicTime(nanoseconds: end.load(ordering: .acquiring)) }

    /// The coordinator has answered: the lease runs until `moment`, unless it was ended.
    package func extend(to moment: MonotonicTime) {
        var known = end.load(ordering: .acquiring)
        while known < moment.nanoseconds, known != Self.ended {
            let (isDone, found) = end.compareExchange(
                expected: known, desired: moment.nanoseconds, ordering: .acquiringAndReleasing)
            if isDone { return }
            known = found
        }
    }

    /// Ends the lease for ever: its session is over.
    package func finish() { end.store(Self.ended, ordering: .releasing) }

    /// Unlike the beginning, nothing leads out of it.
    private static let ended = Int64.min + 1
}
