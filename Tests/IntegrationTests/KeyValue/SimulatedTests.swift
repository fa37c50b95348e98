import Affinity
import AffinityTesting
import Testing

@testable import KeyValue

/// The example on a simulated cluster: its routes, asked without a network, while nodes die.
@Suite struct SimulatedTests {
    private func cluster(seed: UInt64) throws -> SimulatedCluster<Entries> {
        let cluster = try SimulatedCluster(Entries.self, seed: seed)
        #expect(cluster.run(atMost: .seconds(10)) { cluster.isSettled() })
        return cluster
    }

    private func ask(
        _ cluster: SimulatedCluster<Entries>, _ node: String, _ method: String, _ target: String, _ body: String = "",
        _ headers: [(name: String, value: String)] = []
    ) throws -> Response {
        let gateway = try cluster.gateway(of: node) { routes, kv in
            let resource = EntryResource(kv: kv)
            routes.on("GET", "/kv/:key") { try await resource.get($0) }
            routes.on("PUT", "/kv/:key") { try await resource.put($0) }
            routes.on("POST", "/kv/:key/add") { try await resource.add($0) }
        }
        let client = try #require(gateway)
        let answer = cluster.ask(node) { _ in await client.ask(method, target, headers: headers, body: body) }
        cluster.run(atMost: .seconds(20)) { !answer.isWaiting }
        return try #require(answer.value)
    }

    @Test func whatOneNodeHasTakenAllNodesAnswerAfterItsDeath() throws {
        for seed in UInt64(1)...5 {
            let cluster = try cluster(seed: seed)
            let json = [(name: "Content-Type", value: "application/json")]
            #expect(try ask(cluster, "n1", "PUT", "/kv/a", #"{"b":1}"#, json).status == 201)
            #expect(try ask(cluster, "n2", "POST", "/kv/hits/add", #"{"by":2}"#, json).status == 200)
            cluster.crash("n1")
            for node in ["n2", "n3"] {
                let answer = try ask(cluster, node, "GET", "/kv/a")
                #expect(
                    answer.status == 200 && String(decoding: answer.body, as: UTF8.self) == #"{"b":1}"#, "seed \(seed)")
                #expect(String(decoding: try ask(cluster, node, "GET", "/kv/hits").body, as: UTF8.self) == "2")
            }
            #expect(try ask(cluster, "n3", "GET", "/kv/none").status == 404)
            #expect(try ask(cluster, "n3", "GET", "/kv a").status == 400)
            #expect(cluster.violation == nil)
            cluster.end()
        }
    }
}
