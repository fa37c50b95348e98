internal import Synchronization

/// Random numbers that are the same for the same seed (SplitMix64; Steele, Lea and Flood, 2014).
///
/// Can be used on any thread; the order of the callers decides who gets which number.
public final class SeededRandom: Sendable {
    private let state: Atomic<UInt64>

    /// The sequence that begins at `seed`.
    public init(_ seed: UInt64) { state = Atomic(seed) }

    /// The next number.
    public func next() -> UInt64 {
        var z = state.wrappingAdd(0x9e37_79b9_7f4a_7c15, ordering: .relaxed).newValue
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

extension SeededRandom {
    /// A number from 0 to `bound`, without it.
    public func below(_ bound: Int) -> Int { bound <= 1 ? 0 : Int(next() % UInt64(bound)) }

    /// True once in `count` times.
    public func once(in count: Int) -> Bool { below(count) == 0 }

    /// One of them.
    public func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
}
