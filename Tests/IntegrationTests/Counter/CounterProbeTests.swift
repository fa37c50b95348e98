import AffinityTesting
import Testing

@testable import Counter

/// The logic of the example, alone.
@Suite struct CounterProbeTests {
    @Test func aCountIsTheSumOfWhatWasAdded() throws {
        let counters = try PartitionProbe(Counters.self)
        #expect(try counters.run(Count(key: "a")) == 0)
        #expect(try counters.run(Add(key: "a", by: 5)) == 5)
        #expect(try counters.run(Add(key: "a", by: -7)) == -2)
        #expect(counters[\.counts, "a"] == -2 && counters[\.counts, "b"] == nil)
    }

    @Test func aFullCounterRejectsAndKeepsItsCount() throws {
        let counters = try PartitionProbe(Counters.self)
        try counters.run(Add(key: "a", by: .max))
        #expect(throws: Rejected.self) { try counters.run(Add(key: "a", by: 1)) }
        #expect(counters[\.counts, "a"] == .max)
    }
}
