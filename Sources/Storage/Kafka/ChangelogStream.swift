internal import AffinityCore
internal import Synchronization

/// One changelog of one use of a partition: its place in Kafka, and where it ends as far as is known.
final class ChangelogStream: Sendable {
    let place: KafkaPlace
    let waiters: RecordWaiters
    private let lastEnd: Atomic<Int64>
    private let lastStable: Atomic<Int64>
    private let lastSeen = Atomic(Int64.min)
    private let closed = Mutex<LogError?>(nil)

    init(_ place: KafkaPlace, end: Offset) {
        self.place = place
        waiters = RecordWaiters(end: end)
        lastEnd = Atomic(end.rawValue)
        lastStable = Atomic(0)
    }

    /// The end as last heard: by a look-up, by a record that was written, by one that was read.
    var end: Offset { Offset(lastEnd.load(ordering: .acquiring)) }

    /// Somebody has heard of an end; an older one than is known changes nothing.
    func advance(to end: Offset) {
        let (before, _) = lastEnd.max(end.rawValue, ordering: .acquiringAndReleasing)
        if before < end.rawValue { waiters.advance(to: end) }
    }

    /// The end of what a look-up said can be read, or of what was written here: not behind another one's open
    /// transaction, of which a master may ignore everything until it ends.
    var stable: Offset { Offset(lastStable.load(ordering: .acquiring)) }

    /// When somebody last asked for `stable`, and nothing stood behind it.
    var stableSeen: MonotonicTime { MonotonicTime(nanoseconds: lastSeen.load(ordering: .acquiring)) }

    /// Somebody has heard of an end before which no transaction is open, and had asked for it at `moment`.
    func advanceStable(to end: Offset, seen moment: MonotonicTime? = nil) {
        lastStable.max(end.rawValue, ordering: .acquiringAndReleasing)
        // Behind the end: whoever reads the moment first must not take an older end for its.
        if let moment { lastSeen.max(moment.nanoseconds, ordering: .acquiringAndReleasing) }
        advance(to: end)
    }

    /// Why nobody reads it any more; `nil` while somebody may.
    var closure: LogError? { closed.withLock { $0 } }

    /// Everybody who waits for records, now or later, gets `error`.
    func close(_ error: LogError) {
        closed.withLock { if $0 == nil { $0 = error } }
        waiters.close(error)
    }
}
