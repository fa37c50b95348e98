internal import AffinityCore
internal import Synchronization

/// One changelog of one use of a partition: its place in Kafka, and where it ends as far as is known.
final class ChangelogStream: Sendable {
    let place: KafkaPlace
    let waiters: RecordWaiters
    private let lastEnd: Atomic<Int64>
    private let closed = Mutex<LogError?>(nil)

    init(_ place: KafkaPlace, end: Offset) {
        self.place = place
        waiters = RecordWaiters(end: end)
        lastEnd = Atomic(end.rawValue)
    }

    /// The end as last heard: by a look-up, by a record that was written, by one that was read.
    var end: Offset { Offset(lastEnd.load(ordering: .acquiring)) }

    /// Somebody has heard of an end; an older one than is known changes nothing.
    func advance(to end: Offset) {
        let (before, _) = lastEnd.max(end.rawValue, ordering: .acquiringAndReleasing)
        if before < end.rawValue { waiters.advance(to: end) }
    }

    /// Why nobody reads it any more; `nil` while somebody may.
    var closure: LogError? { closed.withLock { $0 } }

    /// Everybody who waits for records, now or later, gets `error`.
    func close(_ error: LogError) {
        closed.withLock { if $0 == nil { $0 = error } }
        waiters.close(error)
    }
}
