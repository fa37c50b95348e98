import AffinityTesting
import Testing

@testable import AffinityCore

/// Writes that must not be made: found out before anything is touched, and not applied.
@Suite struct RefusalTests {
    private func expect(_ error: AskError?, _ reason: String, _ bench: Bench) throws {
        #expect(error?.outcome == .notApplied)
        #expect(error?.code == .failed)
        #expect(error?.reason.contains(reason) == true, "\(error?.reason ?? "not refused")")
        #expect(bench.log.records.isEmpty)
        #expect(bench.partition.inFlight == 0)
        #expect(try bench.run(.get("ok")) == ["-"], "the writes beside it are undone")
    }

    @Test func misrouted() throws {
        let bench = try Bench(partition: 0, of: 2)
        let stray = (0...).lazy.map { "\($0)" }.first { Partitioner.partition($0, of: 2) == 1 } ?? ""
        let own = (0...).lazy.map { "\($0)" }.first { Partitioner.partition($0, of: 2) == 0 } ?? ""
        let error = bench.refusal(.put(own, "1"), .put(stray, "1"))
        try expect(error, "the key routes to partition 1, this is 0", bench)
    }

    @Test func tooLarge() throws {
        let bench = try Bench(limits: StateLimits(record: 10))
        try expect(bench.refusal(.put("ok", "1"), .put("a", "0123456789")), "a record of 11 bytes", bench)
        try bench.run(.put("a", "012345678"))
    }

    @Test func aCommandLargerThanWhatMayBeInFlight() throws {
        let bench = try Bench(limits: StateLimits(bytes: 10))
        try expect(bench.refusal(.put("ok", "12345"), .put("a", "12345")), "may be on their way", bench)
        try bench.run(.put("a", "123456789"))
    }

    @Test func theControlKey() throws {
        let bench = try Bench()
        try expect(bench.refusal(.put("ok", "1"), .put("", "1")), "reserved for control records", bench)
    }

    @Test func aRangeOfAnUnorderedStore() throws {
        let bench = try Bench()
        try expect(bench.refusal(.put("ok", "1"), .scanUnordered), "declared ordered", bench)
    }

    @Test func aReadThatFails() throws {
        let bench = try Bench()
        bench.engine.fail(.get, with: MemStoreError(.io, "disk"))
        try expect(bench.refusal(.get("a"), .put("ok", "1")), "texts: disk", bench)
    }

    @Test func aRefusalCountsMoreThanTheHandlersNo() throws {
        let bench = try Bench()
        #expect(bench.refusal(.put("", "1"), .reject("no"))?.outcome == .notApplied)
    }

    @Test func anUnknownMessage() throws {
        let bench = try Bench()
        guard case .failure(let error) = bench.partition.run(Unheard()) else {
            Issue.record("a command without a handler ran")
            return
        }
        #expect(error.reason.contains("has no handler for command Unheard"))
    }
}
