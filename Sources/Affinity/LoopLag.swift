internal import AffinityCore
internal import AffinityNet
internal import AffinityObservability

/// Measures how late timers of the event loops are: so long does whatever comes to a loop wait until it is its turn.
///
/// A timer of each loop, four times a second, for as long as this is kept.
final class LoopLag: Sendable {
    private let loops: [EventLoop]
    private let clock: any NodeClock
    private let lags: [Histogram]
    private static let interval = Duration.milliseconds(250)

    init(_ loops: [EventLoop], clock: any NodeClock, in metrics: Metrics) {
        self.loops = loops
        self.clock = clock
        lags = loops.indices.map { loop in
            metrics.histogram(
                "affinity_event_loop_lag_seconds", "How much later than they should timers ran, four a second.",
                ["loop": "\(loop)"])
        }
        for loop in loops.indices { schedule(loop) }
    }

    private func schedule(_ loop: Int) {
        let due = clock.monotonic.advanced(by: Self.interval)
        loops[loop].schedule(at: due) { [weak self] in
            guard let self else { return }
            lags[loop].add(clock.monotonic.since(due))
            schedule(loop)
        }
    }
}
