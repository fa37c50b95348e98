import AffinityTestSupport
import AffinityTesting
import Foundation
import Glibc

/// One run of the program: a system, faults under load one round after the other, and the checks.
final class Run {
    /// How long a system may take to be whole again when a fault is over. Machines that test are slow.
    static let recovery = 60.0

    let options: Options
    let cluster: Cluster
    let complaints = Complaints()
    private let totals: Totals
    private var random: Seeded
    private var rounds = 0
    /// What the keys of former rounds had at their ends.
    private var expected: [String: String?] = [:]
    private var told = (changes: 0, connections: 0)
    private var worst: [(name: String, reads: Double, writes: Double)] = []

    init(_ options: Options) throws {
        self.options = options
        random = Seeded(options.seed)
        totals = Totals(complaints)
        cluster = try Cluster(options)
    }

    /// Does everything that the options say; gives whether all was well.
    func run() -> Bool {
        do {
            try cluster.waitUntilWhole(within: Self.recovery)
            switch options.mode {
            case .faults: try runFaults()
            case .kills(let count): try measureKills(count)
            case .rolling(let rounds): try measureRolling(rounds)
            }
            try checkEnd()
        } catch { complaints.add("\(error)") }
        cluster.stop()
        return complaints.all.isEmpty
    }

    // MARK: - Rounds

    private func runFaults() throws {
        let faults = options.only.isEmpty ? Fault.all : Fault.all.filter { options.only.contains($0.name) }
        let end = ContinuousClock.now + .seconds(options.seconds)
        var left: [Fault] = []
        while ContinuousClock.now < end, complaints.all.isEmpty {
            if left.isEmpty { left = faults.shuffled(using: &random) }
            try round(left.removeLast())
        }
        say("longest time without an answer from a partition:")
        for fault in worst.sorted(by: { $0.name < $1.name }) {
            say(
                String(
                    format: "  %-20@ reads %6.2f s, writes %6.2f s", fault.name as NSString, fault.reads, fault.writes))
        }
    }

    /// One fault under load, with keys of its own.
    private func round(_ fault: Fault) throws {
        try withLoad { load in
            let scene = Scene(cluster, load, seed: random.next())
            let begun = Journal.now
            do { try fault.body(scene) } catch { throw Failure("\(fault.name) (\(scene.notes)): \(error)") }
            let over = Journal.now
            let obstacle: String
            do { obstacle = try cluster.waitUntilWhole(within: Self.recovery) } catch {
                throw Failure("after \(fault.name) (\(scene.notes)): \(error)")
            }
            let whole = Journal.now
            try awaitWrites(load, since: whole)
            let gaps = Gaps(
                load.journal.signs, from: begun, to: Journal.now, partitions: Set(0..<options.partitions))
            note(fault.name, gaps)
            say(
                String(
                    format: "%3d %-18@ no reads %5.2f s, no writes %5.2f s, whole after %5.2f s; ", rounds,
                    fault.name as NSString, gaps.reads, gaps.writes, Double(whole - over) / 1e9)
                    + "\(Self.text(load.journal.counts)) (\(scene.notes))")
            // Slow is no mistake, but worth a look.
            if whole - over > 10_000_000_000 { say("    at last, \(obstacle)") }
        }
    }

    /// Runs clients with keys of their own beside `body`, and checks what they have seen.
    ///
    /// - Parameter patience: what is soon given up is soon tried with whoever is master then.
    func withLoad(patience: String = "500ms", _ body: (Load) throws -> Void) throws {
        rounds += 1
        let load = Load(cluster, round: rounds, seed: options.seed, totals, complaints, patience: patience)
        load.start()
        defer { load.stopWatching() }
        do {
            defer { load.stop() }
            try awaitWrites(load, since: Journal.now)
            try body(load)
        }
        try settle(load)
        try settleWatches(load)
    }

    /// Returns when every partition has acknowledged a write that was sent after that moment.
    func awaitWrites(_ load: Load, since moment: Int64) throws {
        try waitUntil("writes to every partition", within: Self.recovery) {
            usleep(5_000)
            return load.journal.allWritten(since: moment)
        }
    }

    private func note(_ name: String, _ gaps: Gaps) {
        let former = worst.first { $0.name == name }
        worst.removeAll { $0.name == name }
        worst.append((name, max(former?.reads ?? 0, gaps.reads), max(former?.writes ?? 0, gaps.writes)))
    }

    static func text(_ counts: [String: Int]) -> String {
        counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
    }

    // MARK: - Checks

    /// Reads every key of a round once more, now that nobody writes, and checks the round's history.
    private func settle(_ load: Load) throws {
        try cluster.waitUntilWhole(within: Self.recovery, isAtRest: true)
        for key in load.journal.operations.keys.sorted() {
            guard let node = cluster.running.randomElement(using: &random) else { throw Failure("there is no node") }
            switch Client(0, node, load.journal, complaints, others: { [] }).read(key) {
            case .value(let value, _): expected[key] = String(decoding: value, as: UTF8.self)
            case .absent: expected[key] = .some(nil)
            default: throw Failure("\(key) cannot be read at \(node.id)")
            }
        }
        // Of these something may still change.
        for key in load.journal.open { expected[key] = nil }
        Linearizability.check(load.journal, complaints, folder: options.folder)
    }

    /// Returns when everybody who watches has been told the last write, and checks all that they were told.
    private func settleWatches(_ load: Load) throws {
        for watcher in load.watchers {
            let newest = load.journal.newest(watcher.key)
            try waitUntil("\(watcher.name), told \(watcher.last ?? 0), to be told \(newest)", within: Self.recovery) {
                (watcher.last ?? 0) >= newest
            }
        }
        load.stopWatching()
        let operations = load.journal.operations
        for watcher in load.watchers {
            Watches.check(watcher, operations[watcher.key] ?? [], complaints, folder: options.folder)
            for event in watcher.events { if case .opened = event { told.connections += 1 } else { told.changes += 1 } }
        }
    }

    /// Nothing is in flight, and no fault is left: everything is as it was acknowledged, everywhere.
    private func checkEnd() throws {
        try cluster.waitUntilWhole(within: Self.recovery, isAtRest: true)
        let nodes = cluster.running
        for difference in try Replicas.differences(nodes).prefix(20) { complaints.add(difference) }
        guard let node = nodes.first else { throw Failure("there is no node") }
        let listing = try Replicas.listing(node, [])
        for difference in try Topics.differences(cluster, listing).prefix(20) { complaints.add(difference) }
        let values = listing.mapValues { String($0.prefix { $0 != " " }) }
        for (key, value) in expected where value != values[key] {
            complaints.add("\(key) was \(value ?? "nothing") once, and is \(values[key] ?? "nothing") at the end")
        }
        for name in Totals.names { totals.check(name, values[name].flatMap { Int($0) } ?? 0) }
        say(
            "\(nodes.count) nodes and the topics agree on \(listing.count) entries; \(totals.asked) requests were counted once each"
        )
        say("watchers were told \(told.changes) changes over \(told.connections) connections")
    }
}
