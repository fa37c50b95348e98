public import AffinityCore
internal import CBeast

/// The machine's clocks.
public struct SystemClock: NodeClock {
    /// The machine's clocks.
    public init() {}

    /// `CLOCK_REALTIME`, in milliseconds.
    public var now: Timestamp { Timestamp(milliseconds: cb_clock_realtime_ms()) }

    /// `CLOCK_BOOTTIME`, in nanoseconds: it counts the time that the machine sleeps.
    public var monotonic: MonotonicTime { MonotonicTime(nanoseconds: cb_clock_boottime_ns()) }
}
