import Affinity
import AffinityTesting
import Testing

@testable import KeyValue

/// The logic of the example, alone, on a clock that stands still until it is moved.
@Suite struct EntriesProbeTests {
    private func put(_ value: String, _ conditions: Conditions = Conditions()) -> Put {
        Put(key: "k", value: Array(value.utf8), conditions: conditions)
    }

    @Test func whatAConditionForbidsChangesNothing() throws {
        let entries = try PartitionProbe(Entries.self)
        #expect(try entries.run(put("1", Conditions(noneMatch: .any))) == .created)
        let version = entries.entry(\.kv, "k")?.version
        #expect(try entries.run(put("2", Conditions(noneMatch: .any))) == .failed(current: version))
        #expect(try entries.run(put("2", Conditions(match: .any))) == .replaced)
        #expect(entries[\.kv, "k"] == Array("2".utf8))
        #expect(try entries.run(Delete(key: "k", conditions: Conditions())) == .deleted)
        #expect(try entries.run(put("3", Conditions(match: .any))) == .failed(current: nil))
    }

    @Test func versionsGrowAndTimesAreThoseOfTheClock() throws {
        let clock = ManualClock()
        let entries = try PartitionProbe(Entries.self, clock: clock)
        try entries.run(put("1"))
        let first = try #require(entries.entry(\.kv, "k"))
        clock.advance(by: .seconds(60))
        try entries.run(put("1"))
        let second = try #require(entries.entry(\.kv, "k"))
        #expect(first.version < second.version)
        #expect(second.time == first.time.advanced(by: .seconds(60)) && second.time == clock.now)
    }

    @Test func whatIsNoIntegerIsNotAddedTo() throws {
        let entries = try PartitionProbe(Entries.self)
        try entries.run(put("12.0"))
        #expect(try entries.run(Add(key: "k", by: 1, conditions: Conditions())) == .refused("the value is no integer"))
        #expect(entries[\.kv, "k"] == Array("12.0".utf8))
    }
}
