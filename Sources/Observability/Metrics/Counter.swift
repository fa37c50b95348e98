package import AffinityCore

/// A number that only grows: how often something has happened.
///
/// Can be used on any thread; an addition waits for nobody.
public struct Counter: Sendable {
    private let cells = Cells(count: 1)

    init() {}

    /// How many there were so far.
    public var value: UInt64 { cells[0] }

    /// Counts that many more.
    public func add(_ more: UInt64 = 1) { cells.here.add(more, at: 0) }
}

/// How long something took, each time: how often it took about how long, and how long together.
///
/// Buckets are log-linear, two for each power of two, from 1 µs to 16.8 s. Can be used on any thread; an addition waits
/// for nobody.
public struct Histogram: Sendable {
    private let cells = Cells(count: Self.cellCount)

    /// The buckets, and the sum behind them.
    package static let cellCount = DurationBuckets.count + 1

    init() {}

    /// How many there were so far.
    public var count: UInt64 { counts.count }

    /// Counts one that took so long; what is below zero counts as nothing.
    public func add(_ duration: Duration) { Self.add(nanoseconds: duration.wholeNanoseconds, to: cells.here) }

    var counts: DurationCounts { Self.counts(cells) }

    /// Counts a duration in cells that are laid out like a histogram's, from `start` on.
    package static func add(nanoseconds: Int64, to copy: Cells.Copy, at start: Int = 0) {
        let nanoseconds = max(0, nanoseconds)
        copy.add(1, at: start &+ DurationBuckets.index(nanoseconds: nanoseconds))
        copy.add(UInt64(nanoseconds), at: start &+ DurationBuckets.count)
    }

    /// What was counted in such cells.
    package static func counts(_ cells: Cells, at start: Int = 0) -> DurationCounts {
        let sum = start + DurationBuckets.count
        return DurationCounts(buckets: cells[start..<sum], nanoseconds: cells[sum])
    }
}
