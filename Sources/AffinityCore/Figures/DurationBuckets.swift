/// The log-linear buckets that durations are counted in: two for each power of two microseconds, of the same width.
///
/// They reach from 1 µs to 16.8 s, and a bound is never more than half again as far as the one before it. All durations
/// have the same ones, so that what is counted in different places can be added up.
package enum DurationBuckets {
    /// How many there are, with the last one for what is beyond every bound.
    package static let count = 50

    /// The bucket of a duration, in nanoseconds: that of the least bound that it does not exceed.
    package static func index(nanoseconds: Int64) -> Int {
        // In half microseconds, rounded up: all bounds are whole numbers of them.
        guard nanoseconds > 1_000 else { return 0 }
        let halves = (UInt64(nanoseconds) &+ 499) / 500
        let below = halves &- 1
        let power = 63 &- below.leadingZeroBitCount
        let step = Int(truncatingIfNeeded: below >> UInt64(power &- 1)) & 1
        return min(2 &* (power &- 1) &+ step &+ 1, count &- 1)
    }

    /// The bounds of the buckets, in nanoseconds; all but the last bucket have one.
    package static let bounds: [Int64] = (0..<(count - 1)).map { index in
        if index == 0 { return 1_000 }
        let power = (index - 1) / 2
        return (index % 2 == 1 ? 3 : 4) * 500 << Int64(power)
    }
}

/// How many durations fell into which bucket, and what they come to together.
///
/// A plain value, for whoever counts on one executor.
package struct DurationCounts: Sendable, Equatable {
    /// For each bucket, how many.
    package private(set) var buckets: [UInt64] = Array(repeating: 0, count: DurationBuckets.count)
    /// The sum of all of them.
    package private(set) var nanoseconds: UInt64 = 0

    /// None so far.
    package init() {}

    /// Those of some buckets, counted elsewhere.
    package init(buckets: [UInt64], nanoseconds: UInt64) {
        precondition(buckets.count == DurationBuckets.count)
        (self.buckets, self.nanoseconds) = (buckets, nanoseconds)
    }

    /// How many there are.
    package var count: UInt64 { buckets.reduce(0, &+) }

    /// Counts one more. A clock that went back makes it none at all.
    package mutating func add(nanoseconds: Int64) {
        let nanoseconds = max(0, nanoseconds)
        buckets[DurationBuckets.index(nanoseconds: nanoseconds)] &+= 1
        self.nanoseconds &+= UInt64(nanoseconds)
    }

    /// Counts all those of another one too.
    package mutating func add(_ other: DurationCounts) {
        for index in buckets.indices { buckets[index] &+= other.buckets[index] }
        nanoseconds &+= other.nanoseconds
    }
}
