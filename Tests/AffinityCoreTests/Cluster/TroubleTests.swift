import AffinityTesting
import Testing

@testable import AffinityCore

/// Nodes that fail without dying, damaged data in the tree, and plans while nodes are away.
@Suite struct TroubleTests {
    private func partition(_ rig: ClusterRig, _ number: Int) -> PartitionID {
        PartitionID(keyspace: rig.keyspace, number: number)
    }

    @Test func aGrantThatCannotBeReadIsReportedNowAndThenAndNeverTakenForTheFirst() throws {
        let rig = ClusterRig("trouble-grant")
        try rig.tree.change([
            .create("/test", [], isEphemeral: false), .create("/test/keyspaces", [], isEphemeral: false),
            .create("/test/keyspaces/trouble-grant", Array(#"{"partitions":4}"#.utf8), isEphemeral: false),
            .create("/test/keyspaces/trouble-grant/grants", [], isEphemeral: false),
            .create("/test/keyspaces/trouble-grant/grants/0", Array("garbage".utf8), isEphemeral: false),
        ])
        try rig.start("n1")
        rig.advance(by: .seconds(2))
        #expect(try rig.masters() == [[], ["n1"], ["n1"], ["n1"]])
        let complaints = rig["n1"].messages.filter { $0.contains("mastership cannot be taken") }
        #expect((1...20).contains(complaints.count), "\(complaints.count)")
        #expect(rig.tree.node("/test/keyspaces/trouble-grant/grants/0")?.data == Array("garbage".utf8))
    }

    @Test func aMasterThatCannotBeReadIsOneNevertheless() throws {
        let rig = ClusterRig("trouble-master")
        try rig.start("n1")
        let path = "/test/keyspaces/trouble-master/masters/1"
        try rig.tree.change([.set(path, Array("?".utf8), version: nil)])
        rig.advance(by: .seconds(2))
        #expect(rig.tree.node(path)?.data == Array("?".utf8))
        #expect(rig["n1"].messages.count < 100)
    }

    @Test func aMasterThatCannotServeHandsItsPartitionOverByWayOfItsReplica() throws {
        let rig = ClusterRig("trouble-failed", partitions: 1)
        try rig.start("n1", "n2")
        let master = try #require(try rig.masters()[0].first)
        let other = try #require(rig.nodes.first { $0.name != master })
        rig[master].coordinator.report(partition(rig, 0), .failed)
        rig.advance(by: .seconds(3))
        #expect(try rig.masters() == [[master]], "not before it has had a session time")
        rig.advance(by: .seconds(3))
        #expect(try rig.masters() == [[other.name]], "\(rig.shown)")
        rig.advance(by: .seconds(30))
        #expect(try rig.masters() == [[other.name]], "it is not given back at once")
        let grant = try #require(
            rig.tree.node("/test/keyspaces/trouble-failed/grants/0").flatMap { GrantRecord(bytes: $0.data) })
        #expect(grant.masters.map(\.node) == [other.name])
    }

    @Test func whatHasNobodyLeftIsGivenToWhoIsThereAndNothingElseMoves() throws {
        let rig = ClusterRig("trouble-orphans", partitions: 12)
        try rig.start("n1", "n2", "n3", "n4")
        rig.advance(by: .seconds(3))
        func assignment() throws -> AssignmentRecord {
            try #require(
                rig.tree.node("/test/keyspaces/trouble-orphans/assignment").flatMap { AssignmentRecord(bytes: $0.data) }
            )
        }
        let before = try assignment()
        let sessions = ["n3", "n4"].map { rig[$0].session }
        for name in ["n3", "n4"] { rig.crash(name) }
        for session in sessions { rig.expire(session) }
        rig.advance(by: .seconds(5))
        #expect(try rig.masters().allSatisfy { $0.count == 1 }, "\(rig.shown)")
        let after = try assignment()
        for (number, nodes) in before.partitions.enumerated() {
            if nodes.contains("n1") || nodes.contains("n2") {
                #expect(Set(after.partitions[number]) == Set(nodes), "within the grace nothing moves")
            } else {
                #expect(Set(after.partitions[number]) == ["n1", "n2"])
            }
            #expect(after.next[number]?.contains { ["n3", "n4"].contains($0) } != true, "nothing moves to the dead")
        }
    }

    @Test func aNodeThatComesFirstWaitsForTheOthersOfASystemThatStarts() throws {
        let rig = ClusterRig("trouble-cold", partitions: 6, replicas: 1)
        try rig.start("n1", "n2", "n3")
        let path = "/test/keyspaces/trouble-cold/assignment"
        let before = try #require(rig.tree.node(path)?.data)
        let sessions = rig.nodes.map(\.session)
        for name in ["n1", "n2", "n3"] { rig.crash(name) }
        for session in sessions { rig.expire(session) }
        try rig.start("n2")
        rig.advance(by: .seconds(4))
        #expect(rig.tree.node(path)?.data == before)
        rig.advance(by: .seconds(10))
        #expect(try rig.masters().allSatisfy { $0 == ["n2"] }, "then it takes what nobody comes for")
    }

    @Test func pausedMovesWait() throws {
        let rig = ClusterRig("trouble-paused", partitions: 6)
        try rig.start("n1", "n2")
        let change = Task(executorPreference: rig.executor) {
            try await rig["n1"].coordinator.change { $0.isPaused = true }
        }
        rig.advance(by: .milliseconds(100))
        try rig.start("n3")
        rig.advance(by: .seconds(5))
        #expect(try rig["n3"].status.allSatisfy { $0.state == .stopped }, "\(rig.shown)")
        let resume = Task(executorPreference: rig.executor) {
            try await rig["n2"].coordinator.change { $0.isPaused = false }
        }
        rig.advance(by: .seconds(5))
        #expect(try rig["n3"].status.contains { $0.state == .serving }, "\(rig.shown)")
        _ = (change, resume)
    }

    @Test func aDrainedNodeHoldsNothingAndAPinnedPartitionIsWhereItIsPinned() throws {
        let rig = ClusterRig("trouble-drained", partitions: 6)
        try rig.start("n1", "n2", "n3")
        let change = Task(executorPreference: rig.executor) {
            try await rig["n1"].coordinator.change { settings in
                settings.drained = ["n2"]
                settings.pins = ["trouble-drained": [0: ["n3", "n1"]]]
            }
        }
        rig.advance(by: .seconds(8))
        _ = change
        #expect(try rig["n2"].status.allSatisfy { $0.state == .stopped }, "\(rig.shown)")
        #expect(try rig.masters()[0] == ["n3"], "\(rig.shown)")
        #expect(try rig.masters().allSatisfy { $0.count == 1 })
    }
}
