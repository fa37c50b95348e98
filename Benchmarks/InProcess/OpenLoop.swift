internal import AffinityBenchmarkSupport
internal import AffinityCore
internal import AffinityNet
internal import Foundation
internal import Synchronization

extension Stack {
    /// Asks at a rate that does not wait for the answers, as independent users do: arrivals are a Poisson process.
    ///
    /// A timer of each loop releases what is due. Latencies count from the moment at which a request was due, so what
    /// a slow timer or a busy loop holds up is in them.
    func openLoop(rate: Double, seconds: Int) async throws -> (reads: Outcome, writes: Outcome) {
        let end = clock.monotonic.advanced(by: .seconds(seconds))
        let arrivals = loops.loops.enumerated().map { index, loop in
            Arrivals(self, loop, rate: rate / Double(loops.count), seed: UInt64(index), until: end)
        }
        for arrivals in arrivals { arrivals.begin() }
        while clock.monotonic < end || arrivals.contains(where: { $0.inFlight > 0 }) {
            try await Task.sleep(for: .milliseconds(10))
        }
        var reads = Outcome()
        var writes = Outcome()
        for arrivals in arrivals {
            reads.latencies.add(arrivals.latencies.reads)
            writes.latencies.add(arrivals.latencies.writes)
        }
        reads.rate = Double(reads.latencies.count) / Double(seconds)
        writes.rate = Double(writes.latencies.count) / Double(seconds)
        return (reads, writes)
    }
}

/// The arrivals on one loop.
private final class Arrivals: Sendable {
    private struct State {
        var random: SplitMix
        var due: MonotonicTime
        var reads = Latencies()
        var writes = Latencies()
        var inFlight = 0
    }

    private let stack: Stack
    private let loop: EventLoop
    /// The mean time between two arrivals, in nanoseconds.
    private let gap: Double
    private let end: MonotonicTime
    // Taken by the loop's thread alone until the end; uncontended, it costs some nanoseconds.
    private let state: Mutex<State>

    private static let tick = Duration.microseconds(50)

    init(_ stack: Stack, _ loop: EventLoop, rate: Double, seed: UInt64, until end: MonotonicTime) {
        self.stack = stack
        self.loop = loop
        self.end = end
        gap = 1e9 / rate
        state = Mutex(State(random: SplitMix(seed: seed), due: stack.clock.monotonic))
    }

    var inFlight: Int { state.withLock { $0.inFlight } }
    var latencies: (reads: Latencies, writes: Latencies) { state.withLock { ($0.reads, $0.writes) } }

    func begin() { loop.post { self.release() } }

    private func release() {
        let now = stack.clock.monotonic
        while let (due, seed) = next(now) {
            loop.start { [self] in
                let isRead = await stack.request(seed)
                let latency = stack.clock.monotonic.since(due).nanoseconds
                state.withLock { state in
                    state.inFlight -= 1
                    if isRead { state.reads.add(nanoseconds: latency) } else { state.writes.add(nanoseconds: latency) }
                }
            }
        }
        if now < end { loop.schedule(at: now.advanced(by: Self.tick)) { self.release() } }
    }

    /// The next arrival, if it is due.
    private func next(_ now: MonotonicTime) -> (due: MonotonicTime, seed: UInt64)? {
        state.withLock { state in
            guard state.due <= min(now, end) else { return nil }
            defer {
                let part = Double.random(in: 0..<1, using: &state.random)
                state.due = state.due.advanced(by: .nanoseconds(Int64(-log(1 - part) * gap)))
                state.inFlight += 1
            }
            return (state.due, state.random.next())
        }
    }
}
