import AffinityTesting

/// Situations of grants, leases and routes.
extension Scene {
    func unawareMaster() {
        prepare()
        let isSlow = random.once(in: 2)
        if isSlow {
            cluster.slowTree(name(master), answers: .milliseconds(500 + random.below(450)))
            pass(1_500 + random.below(500))
        }
        look(at: master)
        cluster.cutFromTree(name(master), true)
        // What the tree has answered may still come; then nothing does any more.
        if isSlow { pass(random.below(900)) }
        look(at: master)
        blind(master)
        cluster.expireSession(of: name(master))
        // A query that waits for the log's proof lets every command behind it wait as well.
        isRefusedOnly = random.once(in: 2)
        lookWhileOthersChange(master, for: 3_500)
        mend(master)
    }

    func severalGrants() {
        prepare()
        let count = 1 + random.below(3)
        var left = count
        run.onMaster = { [unowned self] node in
            guard left > 0 else { return }
            left -= 1
            cluster.simulation.after(.milliseconds(random.below(60))) { [cluster] in cluster.expireSession(of: node) }
        }
        blind(master)
        cluster.expireSession(of: name(master))
        lookWhileOthersChange(master, for: 1_500, every: 15)
        mend(master)
    }

    func lateGrant() {
        prepare()
        // If it is the first in turn, it has read the grant before it stands still, and raises it when it goes on.
        let (slow, way) = (random.pick(others), 300)
        cluster.slowTree(name(slow), answers: .milliseconds(way))
        cluster.crash(name(master))
        guard pass(atMost: 6_000, until: { cluster.tree(Self.masterPath) == nil }) else { return }
        pass(2 * way + 30 + random.below(240))
        cluster.pause(name(slow))
        pass(atMost: 3_000) { servers.contains { $0 != slow } }
        pass(random.below(60))
        let unaware = servers.first { $0 != slow }
        if let unaware {
            blind(unaware)
            cluster.expireSession(of: name(unaware))
        }
        cluster.slowTree(name(slow))
        cluster.resume(name(slow))
        if let unaware {
            lookWhileOthersChange(unaware, for: 1_500, every: 15)
            mend(unaware)
        }
        run.start(name(master))
    }

    private static let masterPath = "/simulated/keyspaces/kv/masters/0"

    func unheardRelease() {
        prepare()
        guard let former = handBack() else { return }
        cluster.slowTree(name(former), answers: .milliseconds(90 + random.below(90)))
        guard pass(atMost: 9_000, until: { servers == [master] }) else { return mend(former) }
        look(at: master)
        cluster.cutFromTree(name(master), true)
        cluster.slowTree(name(former))
        cluster.resetTree(name(former))
        pass(atMost: 350) { cluster.tree(Self.masterPath) == nil }
        blind(master)
        cluster.expireSession(of: name(master))
        lookWhileOthersChange(master, for: 1_500, every: 15)
        mend(master)
    }

    func handover() {
        prepare()
        guard random.once(in: 2) else { return handOver() }
        guard let former = handBack(), pass(atMost: 9_000, until: { cluster.tree(Self.masterPath) == nil }) else {
            return
        }
        // It may hear late of who has followed.
        if !random.once(in: 3) { cluster.slowTree(name(former), answers: .milliseconds(200 + random.below(200))) }
        lookWhileOthersChange(former, for: 500, every: 6)
        mend(former)
    }

    /// A node that was master dies, and comes back: as soon as it is level it gets its mastership again.
    ///
    /// - Returns: who has it meanwhile, and goes on living.
    private func handBack() -> Int? {
        cluster.crash(name(master))
        guard passUntilServed(without: [master]), let former = servers.first else { return nil }
        for _ in 0...random.below(5) { change(at: former) }
        run.start(name(master))
        return former
    }

    /// A node stops.
    private func handOver() {
        let step = 2 + random.below(6)
        cluster.stop(name(master))
        for _ in 0..<(40 + random.below(30)) {
            pass(random.below(2 * step))
            look(at: random.once(in: 3) ? random.pick(Array(nodes)) : master)
            if random.once(in: 2) { change(at: random.pick(others)) }
        }
        pass(atMost: 4_000) { !cluster.running.contains(name(master)) }
        run.start(name(master))
        pass(1_000)
    }

    func outdatedRoutes() {
        prepare()
        guard let asker = others.randomElement(random) else { return }
        cluster.cutFromTree(name(asker), true)
        cluster.expireSession(of: name(master))
        guard passUntilServed(without: [master], atMost: 3_000) else { return mend(asker) }
        let server = servers.first { $0 != master } ?? master
        for _ in 0..<40 {
            pass(random.below(40))
            change(at: server)
            look(at: asker)
        }
        mend(asker)
    }
}

extension Array {
    fileprivate func randomElement(_ random: SeededRandom) -> Element? { isEmpty ? nil : random.pick(self) }
}
