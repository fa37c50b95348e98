import Testing

@testable import AffinityCore

/// Schedules that are written down, each for one rule.
@Suite struct ScriptTests {
    /// A world in which node 0 serves and nothing is on its way.
    private func serving(foreign: Int = 2, mistake: Mistake? = nil) throws -> World {
        let world = try World(World.Setting(foreign: foreign, mistake: mistake))
        try serve(0, in: world)
        return world
    }

    /// Makes a node the master; what others have on its way stays there.
    private func serve(_ node: UInt8, in world: World) throws {
        #expect(try world.take(ModelStep(kind: .grant, who: node, how: 0)))
        for _ in 0..<20 {
            for kind in [ModelStep.Kind.work, .landAll, .ackAll, .read] {
                _ = try world.take(ModelStep(kind: kind, who: node, how: 3))
            }
        }
        try #require(world.nodes[Int(node)].isServing)
    }

    private func take(_ kind: ModelStep.Kind, _ how: UInt8, in world: World) throws {
        #expect(try world.take(ModelStep(kind: kind, who: 0, how: how)), "\(kind) cannot be done")
    }

    @Test func aForeignRecordBetweenTheRecordsOfACommandIsAppliedBetweenThem() throws {
        let world = try serving()
        // `x` and `y` of the first store; between them somebody else writes `x`.
        try take(.write, 4, in: world)
        try take(.land, 1, in: world)
        try take(.foreign, 13, in: world)
        try world.heal()
        #expect(world.history.violation == nil)
        #expect(world.history.acknowledgedCount == 2)
    }

    @Test(arguments: [nil, Mistake.proofTooLate])
    func aProofIsGoodOnlyForQueriesThatHadReadBeforeIt(mistake: Mistake?) throws {
        let world = try serving(foreign: 0, mistake: mistake)
        // The proof for a first query stands in the log, and nobody has told the master so.
        try take(.query, 0, in: world)
        try take(.landAll, 0, in: world)
        try take(.expire, 0, in: world)
        try serve(1, in: world)
        for kind in [ModelStep.Kind.write, .landAll, .ackAll] {
            #expect(try world.take(ModelStep(kind: kind, who: 1, how: 0)))
        }
        #expect(world.history.acknowledgedCount == 1)
        // A second query of the old master does not see what the new one has acknowledged.
        try take(.query, 0, in: world)
        try take(.ackAll, 0, in: world)
        #expect(world.history.readCount == (mistake == nil ? 1 : 2))
        try world.heal()
        #expect((world.history.violation == nil) == (mistake == nil), "\(world.history.violation ?? "nothing seen")")
    }
}
