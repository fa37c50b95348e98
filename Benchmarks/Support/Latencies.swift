/// How often which latency occurred: 32 steps for each doubling, so a quantile is right within 3 %.
package struct Latencies: Sendable {
    private static let steps = 32
    private var counts = [UInt32](repeating: 0, count: 40 * steps)
    /// How many there are.
    package private(set) var count = 0

    package init() {}

    /// Takes one in.
    package mutating func add(nanoseconds: Int64) {
        counts[Self.index(max(1, nanoseconds))] += 1
        count += 1
    }

    /// Takes all of `other` in.
    package mutating func add(_ other: Latencies) {
        for index in counts.indices { counts[index] += other.counts[index] }
        count += other.count
    }

    /// The latency that the part `quantile` of all does not exceed, in milliseconds.
    package func milliseconds(_ quantile: Double) -> Double {
        var left = Int((Double(count) * quantile).rounded(.up))
        for index in counts.indices {
            left -= Int(counts[index])
            if left <= 0 { return Double(Self.value(index)) / 1e6 }
        }
        return 0
    }

    // Below `steps` each nanosecond has a place of its own, above each doubling has `steps` of them.
    private static func index(_ value: Int64) -> Int {
        let doublings = max(0, 63 - value.leadingZeroBitCount - 5)
        return min(doublings * steps + Int(value >> Int64(doublings)), 40 * steps - 1)
    }

    private static func value(_ index: Int) -> Int64 {
        let doublings = max(0, index / steps - 1)
        return Int64(index - doublings * steps + 1) << Int64(doublings)
    }
}
