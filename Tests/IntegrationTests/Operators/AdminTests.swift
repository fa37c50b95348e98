import AffinityTestSupport
import Testing

/// What operators do to a cluster, and what of it is seen.
@Suite(
    .serialized, OperatedClusterTrait(),
    .enabled(if: KafkaCluster.isAvailable && ZooKeeperServers.isAvailable, "needs Kafka and ZooKeeper"))
struct Operators {
    @Suite struct Admin {
        @Test func itsRoutesAreWhereOperatorsListenAndNowhereElse() throws {
            let node = try operated.nodes[0]
            let client = try node.connect()
            for (method, target) in [
                ("GET", "/admin/settings"), ("PUT", "/admin/paused"), ("PUT", "/admin/drained/n2"),
            ] {
                expectProblem(try client.ask(method, target), 404)
            }
            for target in ["/admin/settings", "/status", "/healthz", "/readyz"] {
                #expect(try node.admin("GET", target).status == 200, "\(target)")
            }
            expectProblem(try node.admin("GET", "/kv"), 404)
        }

        @Test func aDrainedNodeHoldsNothingUntilItMayAgain() throws {
            let cluster = try operated
            for _ in 0..<2 {
                let answer = try cluster.nodes[0].admin("PUT", "/admin/drained/n2")
                #expect(try answer.settings == OperatorSettings(drained: ["n2"]), "however often it is said")
            }
            try cluster.waitUntil { node in
                let status = try node.status()
                let isElsewhere = status.partitions.contains { !$0.standbys.isEmpty || $0.next != nil }
                return Set(status.masters) == ["n1"] && !isElsewhere && status.cluster?.drained == ["n2"]
            }
            #expect(try cluster.nodes[1].admin("GET", "/admin/settings").settings.drained == ["n2"])
            #expect(try cluster.nodes[1].admin("DELETE", "/admin/drained/n2").settings == OperatorSettings())
            try cluster.waitUntil { try Set($0.status().masters) == ["n1", "n2"] }
        }

        @Test func aPinnedPartitionGoesWhereItIsWanted() throws {
            let cluster = try operated
            let other = try cluster.nodes[0].status().masters[1] == "n1" ? "n2" : "n1"
            let answer = try cluster.nodes[0].admin("PUT", "/admin/pins/kv/1", body: "[\"\(other)\"]")
            #expect(try answer.settings == OperatorSettings(pins: ["kv": ["1": [other]]]))
            try cluster.waitUntil { try $0.status().masters[1] == other }
            let both = try cluster.nodes[1].admin("PUT", "/admin/pins/kv/3", body: " [\"n1\", \"n2\"] ")
            #expect(try both.settings.pins == ["kv": ["1": [other], "3": ["n1", "n2"]]])
            try cluster.waitUntil { try $0.status().masters[3] == "n1" }
            #expect(
                try cluster.nodes[0].admin("DELETE", "/admin/pins/kv/1").settings.pins == ["kv": ["3": ["n1", "n2"]]])
            #expect(try cluster.nodes[0].admin("DELETE", "/admin/pins/kv/3").settings.pins == [:])
        }

        @Test func whatIsAskedForInAPauseIsDoneAfterIt() throws {
            let cluster = try operated
            #expect(try cluster.nodes[0].admin("PUT", "/admin/paused").settings.isPaused)
            try cluster.waitUntil { try $0.status().cluster?.isPaused == true }
            let before = try cluster.nodes[0].status().masters
            #expect(try cluster.nodes[0].admin("PUT", "/admin/drained/n1").settings.isPaused)
            try cluster.waitUntil { try $0.status().cluster?.drained == ["n1"] }
            #expect(try cluster.nodes[0].status().masters == before)
            #expect(try !cluster.nodes[1].admin("DELETE", "/admin/paused").settings.isPaused)
            try cluster.waitUntil { try Set($0.status().masters) == ["n2"] }
        }

        @Test func changesOfManyOperatorsAtOnceAllStand() async throws {
            let cluster = try operated
            try await withThrowingTaskGroup(of: Void.self) { group in
                for partition in 0..<OperatedCluster.partitions {
                    group.addTask {
                        try await onThread {
                            let node = cluster.nodes[partition % 2]
                            let answer = try node.admin("PUT", "/admin/pins/kv/\(partition)", body: "[\"n1\"]")
                            #expect(try answer.settings.pins["kv"]?["\(partition)"] == ["n1"])
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try cluster.nodes[0].admin("GET", "/admin/settings").settings.pins["kv"]?.count == 4)
            try cluster.waitUntil { try Set($0.status().masters) == ["n1"] }
        }

        @Test func whatMakesNoSenseIsRefusedAndChangesNothing() throws {
            let node = try operated.nodes[0]
            let wrong: [(method: String, target: String, body: String?, status: Int, words: String)] = [
                ("PUT", "/admin/drained/n99", nil, 404, "there is no node n99, only n1, n2"),
                ("PUT", "/admin/pins/kv/0", "[\"n1\",\"n99\"]", 422, "there is no node n99"),
                ("PUT", "/admin/pins/nope/0", "[\"n1\"]", 404, "there is no keyspace nope"),
                ("PUT", "/admin/pins/kv/4", "[\"n1\"]", 404, "partitions 0 to 3"),
                ("PUT", "/admin/pins/kv/-1", "[\"n1\"]", 404, "partitions 0 to 3"),
                ("PUT", "/admin/pins/kv/one", "[\"n1\"]", 404, "partitions 0 to 3"),
                ("PUT", "/admin/pins/kv/99999999999999999999", "[\"n1\"]", 404, "partitions 0 to 3"),
                ("DELETE", "/admin/pins/nope/0", nil, 404, "there is no keyspace nope"),
                ("DELETE", "/admin/pins/kv/4", nil, 404, "partitions 0 to 3"),
                ("PUT", "/admin/pins/kv/0", nil, 400, "not JSON"),
                ("PUT", "/admin/pins/kv/0", "[\"n1\"", 400, "not JSON"),
                ("PUT", "/admin/pins/kv/0", "{}", 400, "a list of different nodes"),
                ("PUT", "/admin/pins/kv/0", "[]", 400, "a list of different nodes"),
                ("PUT", "/admin/pins/kv/0", "[1]", 400, "a list of different nodes"),
                ("PUT", "/admin/pins/kv/0", "[\"\"]", 400, "a list of different nodes"),
                ("PUT", "/admin/pins/kv/0", "[\"n1\",\"n1\"]", 400, "a list of different nodes"),
                ("POST", "/admin/paused", nil, 405, ""), ("GET", "/admin/paused", nil, 405, ""),
                ("GET", "/admin/drained/n1", nil, 405, ""), ("PUT", "/admin/settings", "{}", 405, ""),
                ("GET", "/admin", nil, 404, ""), ("PUT", "/admin/drained", nil, 404, ""),
                ("PUT", "/admin/drained/", nil, 404, ""), ("PUT", "/admin/pins/kv", "[]", 404, ""),
                ("GET", "/admin/settings?all=1", nil, 400, "all"),
            ]
            for (method, target, body, status, words) in wrong {
                let answer = try node.admin(method, target, body: body)
                expectProblem(answer, status, words)
                if status == 405 { #expect(answer["Allow"] != nil, "\(method) \(target)") }
            }
            let text = try HTTPClient(port: node.adminPort).ask(
                "PUT", "/admin/pins/kv/0", [("Content-Type", "text/plain")], body: "[\"n1\"]")
            expectProblem(text, 415)
            #expect(try node.admin("GET", "/admin/settings").settings == OperatorSettings())
        }

        @Test func whatIsNotThereCanBeTakenBack() throws {
            let node = try operated.nodes[0]
            for target in ["/admin/drained/n99", "/admin/paused", "/admin/pins/kv/2"] {
                #expect(try node.admin("DELETE", target).settings == OperatorSettings(), "\(target)")
            }
        }

        @Test func whileZooKeeperDoesNotAnswerNobodyWaitsBeyondHisTime() throws {
            let cluster = try operated
            try cluster.zookeeper.pause()
            defer { try? cluster.zookeeper.resume() }
            let time = [("Affinity-Timeout", "200ms")]
            expectProblem(try cluster.nodes[0].admin("GET", "/admin/settings", time), 504, "ZooKeeper")
            expectProblem(try cluster.nodes[0].admin("PUT", "/admin/paused", time), 504, "may be done later")
            #expect(try cluster.nodes[0].admin("GET", "/healthz").status == 200)
            try cluster.zookeeper.resume()
            try cluster.waitUntil { try $0.admin("GET", "/admin/settings", time).status == 200 }
        }
    }
}

/// A node without a cluster.
@Suite struct LonelyAdmin {
    @Test func aNodeThatIsAloneSaysSo() throws {
        let node = try ServiceProcess.keyValue(ServiceProcess.operators)
        for (method, target, body) in [
            ("GET", "/admin/settings", nil), ("PUT", "/admin/paused", nil), ("DELETE", "/admin/paused", nil),
            ("PUT", "/admin/drained/n1", nil), ("DELETE", "/admin/drained/n1", nil),
            ("PUT", "/admin/pins/kv/0", "[\"n1\"]"), ("DELETE", "/admin/pins/kv/0", nil),
        ] as [(String, String, String?)] {
            expectProblem(try node.admin(method, target, body: body), 409, "the node is alone")
        }
        #expect(try node.admin("GET", "/status").status == 200)
        #expect(try node.stop() == 0)
    }

    @Test(.enabled(if: KafkaCluster.isAvailable)) func aNodeThatEntersItsClusterHasNoSettingsYet() throws {
        let folder = try TemporaryFolder()
        let node = try ServiceProcess(
            Programs.keyValue,
            ServiceProcess.operators + [
                "--node.data", folder.path + "/data", "--node.port", "0", "--coordinator.kind", "zookeeper",
                // Nobody is there.
                "--coordinator.connect", "127.0.0.1:1", "--storage.kind", "kafka", "--storage.brokers",
                try KafkaCluster.shared.get().brokers, "--storage.replication", "1",
            ], keeping: folder)
        expectProblem(try node.admin("GET", "/admin/settings"), 503)
        expectProblem(try node.admin("PUT", "/admin/paused"), 503)
        expectProblem(try node.admin("PUT", "/admin/drained/n1"), 503)
    }
}
