import AffinityCore
package import AffinityTesting

/// Everything that is to happen in one run: chosen by a seed, and shortened when it goes wrong.
package struct Plan: Sendable {
    /// One thing that happens.
    package enum Action: Sendable, Hashable {
        case request(Request)
        case crash(Int, losesDisk: Bool)
        case start(Int)
        case stop(Int)
        case pause(Int)
        case resume(Int)
        case stall(Int, rate: Int)
        case calendar(Int, milliseconds: Int)
        case fillDisk(Int, Bool)
        case failDisk(Int, rate: Int)
        case failProducer(Int)
        case cut(Int, Int)
        case isolate(Int)
        case cutLog(Int, Bool)
        case cutTree(Int, Bool)
        case delay(rate: Int)
        case heal
        case log(isAway: Bool)
        case tree(isServing: Bool)
        case lag(Int, Bool)
        case loseAnswers(Int, areDone: Bool)
        case failOver
        case starve(Bool)
        case foreign(Int)
        case transaction
        case endTransaction(commits: Bool)
        case compact
        case expire(Int)
        case addNode
    }

    /// What a client asks.
    package struct Request: Sendable, Hashable {
        package enum Kind: Sendable, Hashable { case get, put, delete, add, putNew, putMatching, refused, stale }

        var number: Int
        var kind: Kind
        var key: Int
        var node: Int
        /// Whether it has an idempotency key, and is asked again until it is answered.
        var isRepeated: Bool
    }

    package struct Step: Sendable, Hashable {
        package var milliseconds: Int
        package var action: Action
    }

    package var seed: UInt64
    package var settings = SimulationSettings()
    package var steps: [Step] = []
    /// What happens right behind the moments at which a node hears that it is master, one after the other: times count
    /// from there, and node 0 is that node. Little time passes until it serves, and chance alone would seldom hit it.
    package var ambushes: [[Step]] = []
    /// What clients watch meanwhile, and until the end.
    package var watches: [WatchPlan] = []
    /// What is played behind the steps: something that chance would seldom bring about. Every fourth seed has one.
    package var situation: Situation?
    /// Whether the log is replayed in the end by nodes that have lost their disks.
    package var isReplayed = false
    /// How many keys there are, and requests.
    private var keys = 1
    private var number = 0
    /// How long nodes, requests and faults go on before everything is healed.
    static let length = 10_000
}

extension Plan {
    /// The kinds of faults, of which each run has some.
    private enum Fault: CaseIterable {
        case crash, wipe, stop, pause, stall, calendar, disk, producer, cut, isolate, log, logOfOne, tree, treeOfOne,
            delay, lag, answers, failOver, starve, foreign, transaction, compact, expire, add
    }

    /// The plan of a seed.
    package init(seed: UInt64) {
        self.seed = seed
        if seed % 4 == 3 { direct() } else { leaveToChance() }
    }

    private mutating func leaveToChance() {
        let random = SeededRandom(seed ^ 0x5eed)
        settings.memstore = random.once(in: 3) ? .memory : .disk
        settings.nodes = random.pick([2, 3, 3, 3])
        settings.replicas = random.pick([1, 2, 2, 3])
        settings.partitions = random.pick([1, 2, 2])
        settings.loops = random.pick([1, 2])
        // So short that compaction takes what clients have written.
        settings.log.compactionLag = .seconds(1)
        // Where the log is slow, more can come between two of its answers.
        if random.once(in: 3) { settings.log.latency = .microseconds(200)...(.milliseconds(40)) }
        isReplayed = random.once(in: 2)
        watches = Self.watches(seed, nodes: settings.nodes)
        // So little that whoever comes back has to read the log.
        if seed % 2 == 0 { settings.limits.watches.changes = 3 }
        (settings.limits.watches.page, settings.limits.watches.checkpointSpacing) = (2, 10)
        // Some read a few records at a time, one after the other.
        if seed % 3 == 0 {
            (settings.limits.watches.replays, settings.limits.watches.replay, settings.limits.watches.piece) =
                (1, 2048, 400)
        }
        addRequests(50 + random.below(70), within: Self.length, random)
        var kinds = Fault.allCases.filter { _ in random.once(in: 4) }
        if random.once(in: 3) {
            // Short enough for an outage to be longer. Then nobody's calendar may be off: whoever is away goes by it.
            (settings.log.compactionLag, settings.log.deleteRetention) = (.seconds(2), .seconds(3))
            kinds.removeAll { $0 == .calendar }
            for _ in 0..<random.below(8) {
                steps.append(Step(milliseconds: random.below(Self.length), action: .compact))
            }
        }
        if !kinds.isEmpty {
            for _ in 0..<(2 + random.below(10)) { add(random.pick(kinds), random) }
        }
        steps.sort { $0.milliseconds < $1.milliseconds }
        for _ in 0..<random.below(7) { ambushes.append(ambush(random)) }
    }

    /// The plan of a seed that plays a situation, one after the other: little else happens.
    private mutating func direct() {
        let random = SeededRandom(seed ^ 0xd1ec)
        let situation = Situation.allCases[Int(seed / 4 % UInt64(Situation.allCases.count))]
        self.situation = situation
        settings.memstore = random.once(in: 4) ? .memory : .disk
        settings.nodes = situation.needsThird || !random.once(in: 3) ? 3 : 2
        (settings.replicas, settings.partitions) = (settings.nodes, 1)
        settings.loops = random.pick([1, 2])
        settings.log.compactionLag = .seconds(1)
        isReplayed = situation == .lateClaims || random.once(in: 2)
        addRequests(40 + random.below(40), within: 1_500, random)
        steps.sort { $0.milliseconds < $1.milliseconds }
    }

    private mutating func addRequests(_ count: Int, within length: Int, _ random: SeededRandom) {
        // Often many at once: then they are on their way together.
        let bursts = (0..<(1 + random.below(8))).map { _ in random.below(length) }
        keys = 1 + random.below(4)
        for _ in 0..<count {
            let time = random.once(in: 2) ? random.below(length) : random.pick(bursts) + random.below(60)
            steps.append(request(at: time, random))
        }
    }

    private mutating func request(at time: Int, _ random: SeededRandom) -> Step {
        let kinds: [Request.Kind] = [.get, .get, .put, .put, .put, .delete, .putNew, .putMatching, .refused, .stale]
        let key = random.below(keys)
        // Counters have keys of their own.
        let isCounter = key % 2 == 1
        let kind = isCounter ? random.pick([.add, .add, .get, .stale]) : random.pick(kinds)
        // The outcome of a request with a key may name a version that was foretold, if its condition failed.
        let canRepeat = [.put, .delete, .add].contains(kind)
        number += 1
        let request = Request(
            number: number, kind: kind, key: key, node: random.below(settings.nodes),
            isRepeated: canRepeat && (isCounter ? !random.once(in: 5) : random.once(in: 3)))
        return Step(milliseconds: time, action: .request(request))
    }

    /// What may go wrong while a node becomes master.
    private mutating func ambush(_ random: SeededRandom) -> [Step] {
        // While it claims the log, or while a former master may not know of it yet.
        let length = random.pick([40, 40, 200, 600, 3_000])
        var steps = (0..<random.below(14)).map { _ in request(at: random.below(length), random) }
        let faults: [[Action]] = [
            [], [], [.crash(0, losesDisk: false), .start(0)], [.crash(1, losesDisk: false), .start(1)],
            [.failProducer(0)], [.failProducer(1)], [.expire(0)], [.pause(0), .resume(0)], [.pause(1), .resume(1)],
            [.cutLog(0, true), .cutLog(0, false)], [.cutLog(1, true), .cutLog(1, false)],
            [.cutTree(0, true), .cutTree(0, false)], [.failOver],
            [.starve(true), .starve(false)], [.foreign(0), .foreign(1)], [.loseAnswers(1, areDone: true)],
            [.stall(0, rate: 5), .stall(0, rate: 0)], [.lag(1, true), .lag(1, false)],
            [.expire(0), .crash(1, losesDisk: false), .start(1)], [.isolate(0), .heal], [.isolate(1), .heal],
        ]
        var time = random.below(60)
        for action in random.pick(faults) {
            steps.append(Step(milliseconds: time, action: action))
            time += random.pick([5, 50, 500, 5_000]) + random.below(100)
        }
        return steps.sorted { $0.milliseconds < $1.milliseconds }
    }

    private mutating func add(_ fault: Fault, _ random: SeededRandom) {
        let node = random.below(settings.nodes)
        let start = random.below(Self.length)
        // Some are over before anybody has noticed, some last longer than a session.
        let end = start + random.pick([5, 50, 500, 2_000, 4_000, 7_000]) + random.below(1_500)
        func add(_ action: Action, _ time: Int) { steps.append(Step(milliseconds: time, action: action)) }
        func during(_ begin: Action, _ finish: Action) {
            add(begin, start)
            add(finish, end)
        }
        switch fault {
        case .crash: during(.crash(node, losesDisk: false), .start(node))
        case .wipe: during(.crash(node, losesDisk: true), .start(node))
        case .stop: during(.stop(node), .start(node))
        case .pause: during(.pause(node), .resume(node))
        case .stall: during(.stall(node, rate: random.pick([5, 50, 500])), .stall(node, rate: 0))
        case .calendar:
            during(.calendar(node, milliseconds: random.below(30_000) - 15_000), .calendar(node, milliseconds: 0))
        case .disk:
            if random.once(in: 2) {
                during(.fillDisk(node, true), .fillDisk(node, false))
            } else {
                during(.failDisk(node, rate: random.pick([1, 5, 30])), .failDisk(node, rate: 0))
            }
        case .producer: add(.failProducer(node), start)
        case .cut: during(.cut(node, random.below(settings.nodes)), .heal)
        case .isolate: during(.isolate(node), .heal)
        case .log: during(.log(isAway: true), .log(isAway: false))
        case .logOfOne: during(.cutLog(node, true), .cutLog(node, false))
        case .tree: during(.tree(isServing: false), .tree(isServing: true))
        case .treeOfOne: during(.cutTree(node, true), .cutTree(node, false))
        case .delay: during(.delay(rate: random.pick([2, 10, 50])), .delay(rate: 0))
        case .lag: during(.lag(node, true), .lag(node, false))
        case .answers: add(.loseAnswers(1 + random.below(3), areDone: random.once(in: 2)), start)
        case .failOver: add(.failOver, start)
        case .starve: during(.starve(true), .starve(false))
        case .foreign: for _ in 0...random.below(4) { add(.foreign(random.below(2)), start + random.below(500)) }
        case .transaction: during(.transaction, .endTransaction(commits: random.once(in: 2)))
        case .compact: add(.compact, start)
        case .expire: add(.expire(node), start)
        case .add: add(.addNode, start)
        }
    }
}
