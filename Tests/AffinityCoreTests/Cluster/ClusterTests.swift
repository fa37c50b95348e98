import AffinityTesting
import Testing

@testable import AffinityCore

/// Several nodes: election, failover, handover, routing and the planner over a tree in memory.
@Suite struct ClusterTests {
    private func cluster(_ keyspace: String, partitions: Int = 4, replicas: Int = 2) throws -> ClusterRig {
        let rig = ClusterRig(keyspace, partitions: partitions, replicas: replicas)
        try rig.start("n1", "n2", "n3")
        return rig
    }

    private func masterOfK(_ rig: ClusterRig) throws -> String {
        let partition = rig["n1"].service.partition(of: "k").number
        return try #require(try rig.masters()[partition].first)
    }

    @Test func oneNodeServesEveryPartition() throws {
        let rig = ClusterRig("cluster-one")
        try rig.start("n1")
        #expect(try rig.masters() == Array(repeating: ["n1"], count: 4), "\(rig["n1"].messages)")
        #expect(rig["n1"].send(.put("a", "1")).value != nil)
        #expect(rig["n1"].peek("a").value?.reply == "1" || rig["n1"].peek("a").value != nil)
    }

    @Test func eachPartitionHasOneMasterAndAStandbyAndTheyAreSpread() throws {
        let rig = try cluster("cluster-spread", partitions: 6)
        let masters = try rig.masters()
        #expect(masters.allSatisfy { $0.count == 1 }, "\(masters) \(rig.shown)")
        #expect(Set(masters.joined()).count == 3)
        for node in rig.nodes {
            let states = try node.status.map(\.state)
            #expect(states.filter { $0 == .serving }.count == 2 && states.filter { $0 == .standby }.count == 2)
        }
    }

    @Test func everyNodeAnswersForEveryKey() throws {
        let rig = try cluster("cluster-route")
        let written = rig["n1"].send(.put("a", "1"))
        #expect(written.value?.version != nil, "\(String(describing: written.error))")
        for node in rig.nodes {
            #expect(node.send(.get("a")).value?.reply == ["1"])
            #expect(node.send(.reject("no")).error?.rejection == Rejected("no"))
        }
    }

    @Test func aCrashedMasterIsFollowedByALevelStandbyAndNothingIsLost() throws {
        let rig = try cluster("cluster-crash")
        #expect(rig["n1"].send(.put("a", "1")).value != nil)
        let master = try masterOfK(rig)
        let session = rig[master].session
        rig.crash(master)
        let other = try #require(rig.nodes.first)
        let waiting = other.send(.get("a"))
        rig.advance(by: .seconds(4))
        #expect(waiting.isWaiting, "held while there is no master")
        rig.expire(session)
        rig.advance(by: .milliseconds(20))
        #expect(waiting.value?.reply == ["1"], "\(String(describing: waiting.error)) \(rig.shown)")
        #expect(try rig.masters().allSatisfy { $0.count == 1 })
    }

    @Test func aPlannedHandoverFailsNoRequest() throws {
        let rig = try cluster("cluster-handover")
        #expect(rig["n1"].send(.put("a", "0")).value != nil)
        let master = try masterOfK(rig)
        let others = rig.nodes.filter { $0.name != master }
        var answers: [Answered<Commit<[String]>>] = []
        for number in 1...5 { answers.append(others[0].send(.put("a", "\(number)"))) }
        Task(executorPreference: rig.executor) { await rig[master].coordinator.retire(before: .never) }
        for number in 6...50 {
            answers.append(others[number % 2].send(.put("a", "\(number)")))
            answers.append(rig[master].send(.put("b", "\(number)")))
            if number % 5 == 0 { rig.advance(by: .milliseconds(10)) }
        }
        rig.advance(by: .milliseconds(100))
        #expect(answers.allSatisfy { $0.value != nil }, "\(answers.compactMap(\.error))")
        #expect(try masterOfK(rig) != master)
        #expect(others[0].send(.get("a"), .get("b")).value?.reply == ["50", "50"])
    }

    /// What the former master has released needs no word of its own before the next one serves.
    @Test func aHandoverWritesTheGrantTwice() throws {
        let rig = try cluster("cluster-writes", partitions: 1)
        let grant = "/test/keyspaces/cluster-writes/grants/0"
        let before = try #require(rig.tree.node(grant)?.version)
        let master = try masterOfK(rig)
        Task(executorPreference: rig.executor) { await rig[master].coordinator.retire(before: .never) }
        rig.advance(by: .milliseconds(100))
        #expect(try masterOfK(rig) != master)
        #expect(rig.tree.node(grant)?.version == before + 2)
    }

    @Test func aSessionThatExpiresWithoutACrashChangesNothingForClients() throws {
        let rig = try cluster("cluster-expiry")
        #expect(rig["n1"].send(.put("a", "1")).value != nil)
        for round in 0..<3 {
            for node in rig.nodes { rig.expire(node.session) }
            for node in rig.nodes {
                let written = node.send(.put("a", "\(round)"))
                rig.advance(by: .seconds(1))
                #expect(
                    written.value != nil || written.error?.outcome == .unknown, "\(String(describing: written.error))")
            }
            rig.advance(by: .seconds(3))
            #expect(try rig.masters().allSatisfy { $0.count == 1 }, "\(rig.shown)")
        }
    }

    @Test func aSuccessorWaitsForTheLeaseOfAMasterThatStillRuns() throws {
        let rig = try cluster("cluster-lease")
        #expect(rig["n1"].send(.put("a", "1")).value != nil)
        let master = try masterOfK(rig)
        let old = rig[master]
        // The session is gone, and its owner does not hear of it.
        rig.tree.lag(try #require(old.session))
        rig.tree.disconnect(try #require(old.session))
        let before = rig.clock.monotonic
        rig.expire(old.session)
        rig.executor.run()
        #expect(old.peek("k").value != nil, "the lease still runs")
        var served: MonotonicTime?
        let other = try #require(rig.nodes.first { $0.name != master })
        let written = other.send(.put("a", "2"))
        while served == nil, rig.clock.monotonic < before.advanced(by: .seconds(5)) {
            rig.advance(by: .milliseconds(10))
            if !written.isWaiting { served = rig.clock.monotonic }
        }
        let waited = try #require(served).since(before)
        #expect(waited >= .milliseconds(400) && waited <= .milliseconds(1100), "\(waited)")
        let stale = old.send(.get("a"))
        rig.advance(by: .seconds(11))
        #expect(stale.value?.reply != ["1"], "after the lease the log is asked")
    }

    @Test func aStandbyAnswersStaleReadsAndSaysHowOld() throws {
        let rig = try cluster("cluster-stale")
        #expect(rig["n1"].send(.put("k", "1")).value != nil)
        rig.advance(by: .milliseconds(200))
        let partition = rig["n1"].service.partition(of: "k").number
        for node in rig.nodes {
            let answer = node.peek("k", envelope: Envelope(staleness: .seconds(1)))
            #expect(answer.value?.reply == "1")
            #expect(answer.value.map { $0.age <= .seconds(1) } == true)
            #expect(try node.status[partition].state != .serving || answer.value?.age == .zero)
        }
    }

    @Test func aReadWaitsAtAStandbyForThePositionItAsksFor() throws {
        let rig = try cluster("cluster-position")
        let written = try #require(rig["n1"].send(.put("k", "1")).value)
        let partition = written.reached.partition.number
        let standby = try #require(try rig.nodes.first { try $0.status[partition].state == .standby })
        let envelope = Envelope(positions: [partition: written.reached.position], staleness: .seconds(1))
        #expect(standby.peek("k", envelope: envelope).value?.reply == "1")
    }

    @Test func aNodeThatComesGetsItsPartAndOneThatGoesForGoodIsReplaced() throws {
        let rig = ClusterRig("cluster-grow", partitions: 6)
        try rig.start("n1", "n2")
        let written = rig["n1"].send(.put("k", "1"))
        #expect(written.value != nil, "\(String(describing: written.error)) \(rig.shown)")
        try rig.start("n3")
        rig.advance(by: .seconds(3))
        let masters = try rig.masters()
        #expect(Set(masters.joined()) == ["n1", "n2", "n3"], "\(masters)")
        #expect(try rig["n3"].status.filter { $0.state == .serving || $0.state == .standby }.count == 4)
        let session = rig["n2"].session
        rig.crash("n2")
        rig.expire(session)
        rig.advance(by: .seconds(5))
        #expect(try rig.masters().allSatisfy { $0.count == 1 })
        #expect(
            try rig["n3"].status.filter { $0.state == .serving || $0.state == .standby }.count == 4, "within the grace")
        rig.advance(by: .seconds(40))
        for node in rig.nodes {
            #expect(try node.status.allSatisfy { $0.state == .serving || $0.state == .standby }, "\(rig.shown)")
        }
        #expect(rig["n3"].send(.get("k")).value?.reply == ["1"])
    }

    @Test func aNodeThatStopsHandsEverythingOverAndComesBack() throws {
        let rig = try cluster("cluster-rolling")
        for name in ["n1", "n2", "n3"] {
            rig[name].stop()
            rig.crash(name)
            #expect(try rig.masters().allSatisfy { $0.count == 1 }, "\(name): \(rig.shown)")
            try rig.start(name)
            #expect(try rig.masters().allSatisfy { $0.count == 1 }, "\(name): \(rig.shown)")
        }
    }

    @Test func aSystemOfAnotherNumberOfPartitionsIsNotJoined() throws {
        let rig = ClusterRig("cluster-shape")
        try rig.tree.change([
            .create("/test", [], isEphemeral: false), .create("/test/keyspaces", [], isEphemeral: false),
            .create("/test/keyspaces/cluster-shape", Array(#"{"partitions":7}"#.utf8), isEphemeral: false),
        ])
        try rig.start("n1")
        #expect(try rig["n1"].status[0].reason?.contains("the system was made with 7") == true)
    }
}
