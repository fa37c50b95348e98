import AffinityTestSupport
import AffinityTesting
import Testing

@testable import AffinityCore

@Suite struct ScanTests {
    @Test func scansSeeTheOverlay() throws {
        let bench = try Bench()
        try bench.run(.put("a1", "1"), .put("a2", "2"), .put("a3", "3"), .put("b", "4"))
        bench.acknowledge()
        try bench.run(.put("a0", "0"), .remove("a2"), .put("a3", "x"), .put("a4", "5"))
        let all = ["a0=0", "a1=1", "a3=x", "a4=5"]
        #expect(try bench.run(.scan("a", limit: .max, isForward: true)) == all)
        #expect(try bench.run(.scan("a", limit: .max, isForward: false)) == all.reversed())
        #expect(try bench.run(.scan("a", limit: 2, isForward: true)) == ["a0=0", "a1=1"])
        #expect(try bench.run(.scan("a", limit: 1, isForward: false)) == ["a4=5"])
        #expect(try bench.run(.scan("a", limit: 0, isForward: true)) == [])
        #expect(try bench.run(.count) == ["5"])
        #expect(try bench.partition.read(Size()).get() == 4)
    }

    /// Random commands, acknowledgements and scans, against a dictionary.
    @Test(arguments: [1, 2, 3, newSeed()])
    func randomScansAgreeWithAModel(_ seed: UInt64) throws {
        let random = SeededRandom(seed)
        func pick(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
        let bench = try Bench()
        var model: [String: String] = [:]
        for round in 0..<400 {
            var next = model
            var steps: [Step] = []
            for _ in 0...pick(4) {
                let key = "\(["a", "b", "ab"][pick(3)])\(pick(30))"
                if pick(3) == 0 {
                    steps.append(.remove(key))
                    next[key] = nil
                } else {
                    steps.append(.put(key, "\(round)"))
                    next[key] = "\(round)"
                }
            }
            let prefix = ["", "a", "ab", "b1", "c"][pick(5)]
            let limit = pick(2) == 0 ? .max : pick(10)
            let isForward = pick(2) == 0
            let isRejected = pick(5) == 0
            var command = Steps()
            command.steps = steps + (isRejected ? [.reject("no")] : [])
            _ = bench.partition.run(command)
            if !isRejected { model = next }

            let inRange = model.filter { $0.key.hasPrefix(prefix) }.sorted { $0.key < $1.key }
            let expected = (isForward ? inRange : inRange.reversed()).prefix(limit).map { "\($0.key)=\($0.value)" }
            let seen = try bench.run(.scan(prefix, limit: limit, isForward: isForward), .count)
            #expect(seen == expected + ["\(model.count)"], "seed \(seed), round \(round)")
            if pick(3) == 0 { #expect(bench.acknowledge(pick(6)) == nil, "seed \(seed), round \(round)") }
        }
        bench.acknowledge()
        #expect(bench.partition.inFlight == 0)
        for (key, value) in model { #expect(bench.committed(key)?.value == value, "seed \(seed)") }
        #expect(try bench.partition.read(Size()).get() == model.count, "seed \(seed)")
    }
}
