/// A moment by the calendar: milliseconds since 1970-01-01T00:00:00Z, as Kafka counts them.
public struct Timestamp: Hashable, Comparable, Sendable, Codable {
    /// Milliseconds since the beginning of 1970, UTC.
    public let milliseconds: Int64

    /// The moment that many milliseconds after the beginning of 1970.
    @inlinable public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// The earlier moment is the smaller one.
    @inlinable public static func < (a: Timestamp, b: Timestamp) -> Bool { a.milliseconds < b.milliseconds }

    /// The moment `duration` later, held within what the type can express.
    public func advanced(by duration: Duration) -> Timestamp {
        let (sum, overflow) = milliseconds.addingReportingOverflow(duration.wholeMilliseconds)
        return Timestamp(milliseconds: overflow ? (duration < .zero ? .min : .max) : sum)
    }
}

/// A moment on a clock that only goes forward and counts the time that the machine sleeps (`CLOCK_BOOTTIME`).
public struct MonotonicTime: Hashable, Comparable, Sendable {
    /// Nanoseconds since some fixed moment of the machine.
    public let nanoseconds: Int64

    /// The moment that many nanoseconds after the clock's zero.
    @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// Before every other moment: what has not happened.
    package static let notYet = MonotonicTime(nanoseconds: .min)

    /// After every other moment: "no deadline".
    public static let never = MonotonicTime(nanoseconds: .max)

    /// The earlier moment is the smaller one.
    @inlinable public static func < (a: MonotonicTime, b: MonotonicTime) -> Bool { a.nanoseconds < b.nanoseconds }

    /// The moment `duration` later; `never` if that is beyond what the type can express.
    public func advanced(by duration: Duration) -> MonotonicTime { advanced(nanoseconds: duration.wholeNanoseconds) }

    /// The moment that many nanoseconds later; `never` if that is beyond what the type can express.
    @inlinable package func advanced(nanoseconds more: Int64) -> MonotonicTime {
        let (sum, overflow) = nanoseconds.addingReportingOverflow(more)
        return overflow ? .never : MonotonicTime(nanoseconds: sum)
    }

    /// The time from `earlier` to this moment.
    public func since(_ earlier: MonotonicTime) -> Duration {
        .nanoseconds(nanoseconds.subtractingReportingOverflow(earlier.nanoseconds).partialValue)
    }
}

/// The clock that the core is given: it never reads one of its own, so tests and simulations decide what time it is.
///
/// Every method can be called on any thread.
public protocol NodeClock: Sendable {
    /// The moment by the calendar. It may jump, in both directions.
    var now: Timestamp { get }
    /// The moment on the clock that only goes forward.
    var monotonic: MonotonicTime { get }
}

extension Duration {
    /// Rounded towards zero and held within 64 bits.
    package var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000)
        return overflow ? (seconds < 0 ? .min : .max) : product &+ attoseconds / 1_000_000_000_000_000
    }

    /// Rounded towards zero and held within 64 bits.
    package var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? (seconds < 0 ? .min : .max) : product &+ attoseconds / 1_000_000_000
    }
}
