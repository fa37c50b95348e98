import AffinityCore

/// Random numbers of a schedule (SplitMix64).
struct ScheduleRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// Makes schedules of a seed, runs them, and shortens those that end badly.
struct Schedules {
    /// What was found.
    struct Finding: CustomStringConvertible {
        var seed: UInt64
        var violation: String
        var steps: [ModelStep]
        var log: String

        var description: String {
            "\(violation)\n  seed \(seed) (run with SWIFT_DETERMINISTIC_HASHING=1 for the same order of rewrites)\n  "
                + steps.map(\.description).joined(separator: " ") + "\n\(log)"
        }
    }

    /// What has run, to see that the schedules are worth their time.
    struct Tally {
        var schedules = 0
        var steps = 0
        var acknowledged = 0
        var reads = 0
    }

    var mistake: Mistake?
    var depth = 220
    /// Whether a finding is shortened, which takes some hundred runs.
    var shortens = true
    private(set) var tally = Tally()

    init(mistake: Mistake? = nil) { self.mistake = mistake }

    /// How often each kind of step is tried.
    private static let weights: [ModelStep.Kind: Int] = [
        .grant: 6, .expire: 1, .tell: 1, .stop: 1, .work: 24, .retry: 4, .land: 16, .landAll: 3, .lost: 2, .ack: 16,
        .ackAll: 5, .read: 24, .gap: 8, .write: 10, .request: 4, .repeated: 4, .query: 4, .crash: 1, .restart: 3,
        .fatal: 1, .poll: 5, .cover: 2, .foreign: 2, .compact: 3, .age: 1, .check: 2, .mistake: 2,
    ]
    private static let table = ModelStep.Kind.allCases.flatMap { kind in
        Array(repeating: kind, count: weights[kind] ?? 1)
    }
    /// What each schedule has, or has not.
    private static let faults: [ModelStep.Kind] = [
        .expire, .stop, .crash, .fatal, .foreign, .compact, .poll, .lost, .query, .request, .landAll, .ackAll, .cover,
    ]

    func setting(_ seed: UInt64) -> World.Setting {
        World.Setting(foreign: Int(seed % 3), mistake: mistake, operations: 6 + Int(seed / 3 % 8))
    }

    /// Runs the schedule of a seed.
    mutating func run(_ seed: UInt64) throws -> Finding? {
        var random = ScheduleRandom(seed: seed)
        let world = try World(setting(seed))
        var isOff = ModelStep.Kind.allCases.map { _ in false }
        for kind in Self.faults where random.next() % 4 == 0 { isOff[Int(kind.rawValue)] = true }
        let calm = Int(random.next() % 3) * 3
        // In some schedules one node hears everything late.
        let slow = Int(random.next() % 6)
        var steps: [ModelStep] = []
        var misses = 0
        while steps.count < depth, misses < 2000, world.history.violation == nil {
            let step = Self.step(&random)
            let isWild = step.kind.isWild
            let isLate = Int(step.who) % 3 == slow && step.kind.isHearing && random.next() % 12 != 0
            if isOff[Int(step.kind.rawValue)] || isLate || (isWild && calm > 0 && random.next() % UInt64(calm) != 0) {
                misses += 1
            } else if try world.take(step) {
                steps.append(step)
                misses = 0
            } else {
                misses += 1
            }
        }
        if world.history.violation == nil { try world.heal() }
        count(world, steps)
        guard let violation = world.history.violation else { return nil }
        let finding = Finding(seed: seed, violation: violation, steps: steps, log: "")
        return try shortens ? shortened(finding) : finding
    }

    private static func step(_ random: inout ScheduleRandom) -> ModelStep {
        let number = random.next()
        return ModelStep(
            kind: table[Int(number & 0xFFFF) % table.count], who: UInt8(number >> 16 & 0xFF),
            how: UInt8(number >> 24 & 0xFF))
    }

    private mutating func count(_ world: World, _ steps: [ModelStep]) {
        tally.schedules += 1
        tally.steps += steps.count
        tally.acknowledged += world.history.acknowledgedCount
        tally.reads += world.history.readCount
    }

    /// Runs steps, those that can be done, and heals.
    private func replay(_ steps: [ModelStep], _ seed: UInt64) throws -> (world: World, used: [ModelStep]) {
        let world = try World(setting(seed))
        var used: [ModelStep] = []
        for step in steps where world.history.violation == nil {
            if try world.take(step) { used.append(step) }
        }
        if world.history.violation == nil { try world.heal() }
        return (world, used)
    }

    /// Drops steps as long as the same violation stays.
    private func shortened(_ finding: Finding) throws -> Finding {
        var finding = finding
        var size = max(1, finding.steps.count / 2)
        while size > 0 {
            var start = 0
            var hasDropped = false
            while start < finding.steps.count {
                var fewer = finding.steps
                fewer.removeSubrange(start..<min(start + size, fewer.count))
                let (world, used) = try replay(fewer, finding.seed)
                if let violation = world.history.violation, Self.kind(violation) == Self.kind(finding.violation),
                    used.count < finding.steps.count
                {
                    (finding.steps, finding.violation, hasDropped) = (used, violation, true)
                } else {
                    start += size
                }
            }
            if !hasDropped || size > 1 { size /= 2 }
        }
        let (world, _) = try replay(finding.steps, finding.seed)
        let stores = world.nodes[0].stores
        finding.log = stores.indices.map { "  \(stores[$0].name): \(world.log.shown($0, stores))" }.joined(
            separator: "\n")
        return finding
    }

    /// What kind of violation it is: what stands before the second colon.
    static func kind(_ violation: String) -> String {
        violation.split(separator: ":", maxSplits: 2).prefix(2).joined(separator: ":")
    }
}
