import AffinityCore
import AffinityTesting

/// The stage of a situation: who is master, what clients ask, and moments to wait for. The plays are in
/// `Scene+Log.swift` and `Scene+Coordinator.swift`.
final class Scene {
    let run: Run
    let random: SeededRandom
    var cluster: SimulatedCluster<Entries> { run.cluster }
    /// Who is master when it begins.
    private(set) var master = 0
    /// Whether clients that look ask for what will be refused.
    var isRefusedOnly = false
    private var number = 1_000_000
    private var isOver: Bool { run.violation != nil || cluster.violation != nil }

    init(_ run: Run) {
        self.run = run
        random = SeededRandom(run.plan.seed ^ 0x5ce4e)
    }

    /// Plays a situation, if there is a master to play it with.
    func play(_ situation: Situation) {
        guard run.settle(), let first = servers.first else { return }
        cluster.simulation.say("situation: \(situation), \(name(first)) is master")
        master = first
        defer { run.onMaster = { _ in } }
        switch situation {
        case .wordOfOneChangelog: wordOfOneChangelog()
        case .claimantDies: claimantDies()
        case .lateClaims: lateClaims()
        case .unawareMaster: unawareMaster()
        case .severalGrants: severalGrants()
        case .lateProof: lateProof()
        case .lateGrant: lateGrant()
        case .unheardRelease: unheardRelease()
        case .handover: handover()
        case .outdatedRoutes: outdatedRoutes()
        case .noMaster: noMaster()
        }
    }

    // MARK: - Who is there

    var nodes: Range<Int> { 0..<cluster.nodes.count }
    var others: [Int] { nodes.filter { $0 != master } }
    var running: [Int] { nodes.filter { cluster.running.contains(name($0)) } }
    /// The nodes that take themselves for master, and serve.
    var servers: [Int] { nodes.filter { cluster.serves(name($0), 0) } }

    func name(_ node: Int) -> String { run.name(node) }

    /// Has `body` called once, when a node hears that it is to be master.
    func onNextMaster(_ body: @escaping (Int) -> Void) {
        run.onMaster = { [unowned self] node in
            guard let node = nodes.first(where: { name($0) == node }) else { return }
            run.onMaster = { _ in }
            body(node)
        }
    }

    // MARK: - Time

    func pass(_ milliseconds: Int) { if !isOver { cluster.run(for: .milliseconds(milliseconds)) } }

    /// Lets time pass until something is so.
    @discardableResult func pass(atMost milliseconds: Int, until isSo: () -> Bool) -> Bool {
        !isOver && cluster.run(atMost: .milliseconds(milliseconds), until: isSo)
    }

    /// Lets somebody else than `former` become master.
    @discardableResult func passUntilServed(without former: [Int], atMost milliseconds: Int = 9_000) -> Bool {
        pass(atMost: milliseconds) { servers.contains { !former.contains($0) } }
    }

    // MARK: - The log

    private static let changelogs = ["_requests", "main", "twins"]

    /// The highest epoch that stands in the log.
    var epoch: Epoch {
        Self.changelogs.flatMap { cluster.records(of: 0, $0) }.compactMap(\.record.headers.stamp?.epoch).max() ?? .none
    }

    /// How many control records of an epoch above `former` stand in a changelog: the first is a claim, the second a
    /// settled.
    func controls(above former: Epoch, in changelog: String) -> Int {
        let stamps = cluster.records(of: 0, changelog).compactMap(\.record.headers.stamp).filter { $0.epoch > former }
        let epoch = stamps.map(\.epoch).max()
        return stamps.count { $0.epoch == epoch && $0.number == 0 }
    }

    /// The same of the changelog that has the fewest.
    func controls(above former: Epoch) -> Int {
        Self.changelogs.map { controls(above: former, in: $0) }.min() ?? 0
    }

    /// Whether a command of an epoch above `former` stands in the log.
    func hasCommand(above former: Epoch) -> Bool {
        Self.changelogs.contains { changelog in
            cluster.records(of: 0, changelog).contains {
                $0.record.headers.stamp.map { $0.epoch > former && $0.number > 0 } ?? false
            }
        }
    }

    // MARK: - Clients

    /// - Parameter key: even ones are of values, odd ones of counters.
    func ask(_ kind: Plan.Request.Kind, _ key: Int, at node: Int, isRepeated: Bool = false) {
        number += 1
        run.send(Plan.Request(number: number, kind: kind, key: key, node: node, isRepeated: isRepeated))
    }

    /// A command that writes, whatever there is.
    func write(at node: Int) {
        if random.once(in: 2) {
            ask(.add, random.pick([1, 3]), at: node)
        } else {
            ask(.put, random.pick([0, 2]), at: node)
        }
    }

    /// A query, or a command that writes nothing where the key is as it was left by `prepare`.
    func look(at node: Int) {
        switch random.below(isRefusedOnly ? 2 : 6) {
        case 0: ask(.putNew, 0, at: node)
        case 1: ask(.delete, 4, at: node)
        case 2, 3: ask(.get, random.pick([1, 3]), at: node)
        default: ask(.get, random.pick([0, 2, 4]), at: node)
        }
    }

    /// Something that makes what `look` finds another thing.
    func change(at node: Int) {
        switch random.below(6) {
        case 0: ask(.delete, 0, at: node)
        case 1: ask(.put, 4, at: node)
        case 2, 3: ask(.add, random.pick([1, 3]), at: node)
        default: ask(.put, random.pick([0, 2]), at: node)
        }
    }

    /// Key 0 is there, and key 4 is not.
    func prepare() {
        ask(.put, 0, at: master)
        ask(.add, 1, at: master)
        pass(100)
    }

    /// Clients look at `observed`, and whoever else serves is asked for changes.
    func lookWhileOthersChange(_ observed: Int, for milliseconds: Int, every step: Int = 30) {
        for _ in 0..<(milliseconds / step) {
            pass(1 + random.below(2 * step))
            look(at: observed)
            if let other = servers.first(where: { $0 != observed }), random.once(in: 2) { change(at: other) }
        }
    }

    // MARK: - Who hears of what

    /// A node hears nothing of the tree, and the tree's servers end its session.
    func end(_ node: Int) {
        cluster.cutFromTree(name(node), true)
        cluster.expireSession(of: name(node))
    }

    /// It hears nothing of the log either.
    func blind(_ node: Int) {
        cluster.cutFromTree(name(node), true)
        cluster.cutFromLog(name(node), true)
    }

    func mend(_ node: Int) {
        cluster.slowTree(name(node))
        cluster.cutFromTree(name(node), false)
        cluster.cutFromLog(name(node), false)
    }
}
