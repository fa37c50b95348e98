import AffinityTestSupport

extension Fault {
    /// Nodes that come and go for good.
    static let members = [
        Fault("node-added-and-removed", .whole) { scene in
            guard let new = try scene.cluster.add() else { throw Failure("there is no node to add") }
            scene.note("\(new.id) comes")
            scene.load.join(new)
            try scene.cluster.waitUntilWhole(within: Run.recovery)
            guard let old = scene.pick(scene.cluster.nodes) else { return }
            // Half of them go without a word.
            if scene.roll(0...1) < 0.5 { try old.stop() } else { try old.kill() }
            scene.note("\(old.id) goes")
            scene.cluster.remove(old)
        }
    ]
}
