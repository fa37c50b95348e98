import AffinityTesting
import Testing

@testable import Counter

/// The example of Docs/Simulation.md.
@Suite struct SimulatedCounterTests {
    @Test func theCountSurvivesItsMaster() throws {
        let cluster = try SimulatedCluster(Counters.self, seed: 7)
        #expect(cluster.run(atMost: .seconds(10)) { cluster.isSettled() })
        let added = cluster.ask("n1") { counters in try await counters.ask(Add(key: "a", by: 5)) }
        cluster.run(atMost: .seconds(5)) { !added.isWaiting }
        cluster.crash("n1")
        let seen = cluster.ask("n2") { counters in try await counters.ask(Count(key: "a")) }
        cluster.run(atMost: .seconds(20)) { !seen.isWaiting }
        #expect(seen.value == 5)
        cluster.end()
    }
}
