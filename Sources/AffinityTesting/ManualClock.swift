public import AffinityCore
internal import Synchronization

/// A clock that stands still until a test moves it.
///
/// The calendar and the monotonic clock go forward together; `set` moves the calendar alone, as an operator does who
/// corrects a clock. Every method can be called on any thread.
public final class ManualClock: NodeClock {
    private struct Times {
        var now: Timestamp
        var monotonic: MonotonicTime
    }

    private let times: Mutex<Times>

    /// A clock that stands at `now`, by default on 2024-01-01T00:00:00Z.
    public init(now: Timestamp = Timestamp(milliseconds: 1_704_067_200_000)) {
        times = Mutex(Times(now: now, monotonic: MonotonicTime(nanoseconds: 1_000_000_000)))
    }

    /// The moment by the calendar.
    public var now: Timestamp { times.withLock { $0.now } }

    /// The moment on the clock that only goes forward.
    public var monotonic: MonotonicTime { times.withLock { $0.monotonic } }

    /// Moves both clocks forward.
    ///
    /// Timers are not run by this; `ManualExecutor.advance(by:)` does both.
    public func advance(by duration: Duration) {
        precondition(duration >= .zero, "a clock that only goes forward")
        times.withLock {
            // Whole milliseconds of the sum, so that many small steps go as far as a large one.
            let before = $0.monotonic
            $0.monotonic = before.advanced(by: duration)
            let whole = $0.monotonic.nanoseconds / 1_000_000 - before.nanoseconds / 1_000_000
            $0.now = $0.now.advanced(by: .milliseconds(whole))
        }
    }

    /// Moves the monotonic clock to `time` and the calendar as far; does nothing if it is there already.
    public func advance(to time: MonotonicTime) {
        let current = monotonic
        if current < time { advance(by: time.since(current)) }
    }

    /// Sets the calendar, forward or back, and leaves the monotonic clock alone.
    public func set(now: Timestamp) { times.withLock { $0.now = now } }
}
