import AffinityTesting

/// Situations of claims, rewriting and settleds.
extension Scene {
    func wordOfOneChangelog() {
        let former = epoch
        var changelogs = ["main", "twins"]
        if random.once(in: 2) { changelogs.reverse() }
        cluster.hold(.acknowledgements, of: name(master), changelog: changelogs[0])
        for _ in 0...random.below(3) { write(at: master) }
        pass(40 + random.below(40))
        cluster.hold(.records, of: name(master), changelog: changelogs[1])
        for _ in 0...random.below(2) { write(at: master) }
        pass(random.below(20))
        end(master)
        pass(atMost: 3_000) { controls(above: former, in: changelogs[1]) > 0 }
        cluster.letGo(.records, of: name(master))
        pass(100 + random.below(300))
        cluster.letGo(.acknowledgements, of: name(master))
        pass(500)
        mend(master)
    }

    func claimantDies() {
        var former = epoch
        leaveHalves()
        cluster.crash(name(master))
        let moment = random.below(5)
        var claimant: Int?
        onNextMaster { claimant = $0 }
        guard pass(atMost: 9_000, until: { claimant != nil }), let claimant else { return }
        switch moment {
        case 0, 1:
            pass(atMost: 2_000) { controls(above: former) > 0 }
            cluster.hold(.records, of: name(claimant))
            pass(20 + random.below(60))
        case 2: pass(atMost: 2_000) { hasCommand(above: former) }
        case 3: pass(atMost: 2_000) { controls(above: former) > 1 }
        default:
            passUntilServed(without: [master])
            for _ in 0...random.below(10) {
                change(at: claimant)
                pass(random.below(40))
            }
        }
        if random.once(in: 5) { cluster.failProducer(name(claimant)) } else { cluster.crash(name(claimant)) }
        former = epoch
        pass(random.below(500))
        // Sometimes the same node claims again, with what its disk knows; sometimes another one that knows nothing of it.
        if nodes.count == 2 || random.once(in: 2) { run.start(name(claimant)) }
        if random.once(in: 3) { cluster.letGo(.records, of: name(master)) }
        guard passUntilServed(without: []) else { return }
        for node in running {
            look(at: node)
            ask(.stale, random.pick([0, 1, 2, 3]), at: node)
        }
        pass(200)
        if random.once(in: 2) { cluster.letGo(.records, of: name(master)) }
        run.start(name(master))
        run.start(name(claimant))
        pass(1_000)
    }

    /// Commands of the master of which one changelog has the records, and another one has not.
    private func leaveHalves() {
        for _ in 0..<random.below(3) { write(at: master) }
        pass(random.below(30))
        cluster.hold(.records, of: name(master), changelog: random.pick(["main", "twins"]))
        for _ in 0...random.below(4) { change(at: master) }
        pass(20 + random.below(30))
    }

    func lateClaims() {
        let former = epoch
        var claimant: Int?
        onNextMaster { [unowned self] in
            cluster.hold(.records, of: name($0))
            claimant = $0
        }
        // If nothing else comes behind the claims, they are the last of their key.
        let isQuiet = random.once(in: 2)
        if isQuiet || random.once(in: 2) {
            cluster.expireSession(of: name(master))
        } else {
            cluster.crash(name(master))
        }
        guard pass(atMost: 9_000, until: { claimant != nil }), let claimant else { return }
        // Whatever leases there were have ended, and the claimant knows it.
        pass(1_200 + random.below(300))
        end(claimant)
        guard pass(atMost: 9_000, until: { controls(above: former) > 1 }),
            passUntilServed(without: [claimant], atMost: 3_000), let server = servers.first(where: { $0 != claimant })
        else { return }
        for _ in 0..<random.below(6) { change(at: server) }
        // Until the last of them is covered, or not quite.
        pass(isQuiet ? 2_500 : random.pick([100, 1_500]) + random.below(500))
        cluster.letGo(.records, of: name(claimant))
        pass(30 + random.below(100))
        if !isQuiet {
            for _ in 0...random.below(20) {
                change(at: random.pick([claimant, claimant, server]))
                look(at: server)
                pass(random.below(60))
            }
        }
        pass(500)
        mend(claimant)
        pass(500)
        run.start(name(master))
    }

    func lateProof() {
        prepare()
        let former = epoch
        cluster.cutFromTree(name(master), true)
        pass(1_100 + random.below(300))
        cluster.hold(.acknowledgements, of: name(master))
        for _ in 0...random.below(2) { ask(.get, random.pick([0, 1]), at: master) }
        pass(30 + random.below(60))
        cluster.expireSession(of: name(master))
        guard pass(atMost: 4_000, until: { controls(above: former) > 1 }), passUntilServed(without: [master]) else {
            return
        }
        let server = servers.first { $0 != master } ?? master
        for _ in 0...random.below(4) { change(at: server) }
        pass(60 + random.below(60))
        for _ in 0...random.below(6) { ask(.get, random.below(4), at: master) }
        pass(random.below(30))
        cluster.letGo(.acknowledgements, of: name(master))
        pass(500)
        mend(master)
    }

    func noMaster() {
        cluster.setTree(isServing: false)
        pass(50)
        cluster.hold(.acknowledgements, of: name(master))
        for _ in 0...random.below(4) {
            ask(.add, random.pick([1, 3]), at: random.pick([master] + others), isRepeated: true)
        }
        pass(30 + random.below(40))
        cluster.crash(name(master))
        pass(5_500)
        cluster.setTree(isServing: true)
        pass(500)
        run.start(name(master))
    }
}
