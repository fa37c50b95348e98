import AffinityCore
import AffinityTesting

/// One run of a plan, and what its oracles say.
package final class Run: @unchecked Sendable {
    /// What has run, to see that it is worth its time.
    package struct Tally: Sendable, Codable {
        package var runs = 0
        package var requests = 0
        package var acknowledged = 0
        package var reads = 0
        package var watched = 0
        package var resets = 0
        /// What went wrong on purpose, and did something.
        package var faults = 0
        /// How many of the plans played a situation.
        package var situations = 0
        /// Histories that could not be decided within the limit.
        package var undecided = 0
        package var steps = 0
        package var simulated = Duration.zero

        package init() {}

        package static func += (a: inout Tally, b: Tally) {
            a.runs += b.runs
            a.requests += b.requests
            a.acknowledged += b.acknowledged
            a.reads += b.reads
            a.watched += b.watched
            a.resets += b.resets
            a.faults += b.faults
            a.situations += b.situations
            a.undecided += b.undecided
            a.steps += b.steps
            a.simulated += b.simulated
        }
    }

    let plan: Plan
    let cluster: SimulatedCluster<Entries>
    /// What clients asked and were told, by key.
    private var histories: [String: [History<KeyValueModel>.Operation]] = [:]
    /// The newest version that anybody was told of a key.
    private var versions: [String: UInt64] = [:]
    private var positions: [String: (position: [Int: Position], version: UInt64)] = [:]
    /// What clients were told that they have written, by key: when, and the version.
    private var written: [String: [(time: MonotonicTime, version: UInt64)]] = [:]
    /// How many ambushes have begun, and whether nothing is to go wrong any more.
    private var sprung = 0
    /// Called when a node hears that it is to be master.
    var onMaster: (String) -> Void = { _ in }
    private var isHealed = false
    private var actions = 0
    private var moment: Int64 = 0
    private var watchers: [WatchingClient] = []
    private var open = 0
    package private(set) var tally = Tally()
    /// What must not be: the first that was seen.
    package private(set) var violation: String?

    package init(_ plan: Plan, trace: ((String) -> Void)? = nil) throws {
        self.plan = plan
        cluster = try SimulatedCluster(Entries.self, settings: plan.settings, seed: plan.seed)
        cluster.simulation.trace = trace
    }

    /// A number that depends on everything that has run, and its order.
    package var digest: UInt64 { cluster.simulation.digest }

    /// Runs the plan, heals everything, and looks whether all is well.
    package func run() {
        cluster.run(for: .seconds(2))
        cluster.onMaster = { [unowned self] in
            onMaster($0)
            spring(on: $0)
        }
        for (number, watch) in plan.watches.enumerated() { begin(watch, number) }
        var last = 0
        for step in plan.steps {
            cluster.run(for: .milliseconds(step.milliseconds - last))
            last = step.milliseconds
            take(step.action)
            if cluster.violation != nil { break }
        }
        if let situation = plan.situation {
            tally.situations += 1
            Scene(self).play(situation)
        } else {
            cluster.run(for: .milliseconds(max(0, Plan.length - last)))
        }
        cluster.onMaster = nil
        heal()
        check()
        for watcher in watchers {
            watcher.end()
            tally.watched += watcher.events
            tally.resets += watcher.resets
        }
        tally.runs = 1
        tally.steps = cluster.simulation.stepCount
        tally.simulated = .nanoseconds(cluster.simulation.now.nanoseconds)
        cluster.end()
    }

    private func fail(_ reason: @autoclosure () -> String) {
        if violation != nil { return }
        let found = reason()
        violation = found
        cluster.simulation.say(found)
        if cluster.simulation.trace != nil { showLog() }
    }

    /// Shows what can be read of the changelogs: offset, key, and what the master says of the record.
    private func showLog() {
        for partition in 0..<plan.settings.partitions {
            for changelog in ["_requests", "main", "twins"] {
                for logged in cluster.records(of: partition, changelog) {
                    let record = logged.record
                    let key = String(decoding: record.key.filter { $0 > 32 && $0 < 127 }, as: UTF8.self)
                    let value = record.value.map {
                        String(decoding: $0.prefix(60).filter { $0 > 31 && $0 < 127 }, as: UTF8.self)
                    }
                    let stamp = record.headers.stamp.map {
                        "e=\($0.epoch) n=\($0.number) k=\($0.count) a=\($0.acknowledged)"
                    }
                    cluster.simulation.say(
                        "kv/\(partition)/\(changelog) \(logged.offset): \(key)=\(value ?? "removed") \(stamp ?? "foreign")"
                    )
                }
            }
        }
    }

    // MARK: - Actions

    func name(_ node: Int) -> String { "n\(node % cluster.nodes.count + 1)" }

    /// Lets the next ambush begin: this node becomes master.
    private func spring(on node: String) {
        guard sprung < plan.ambushes.count, let first = cluster.nodes.firstIndex(of: node) else { return }
        cluster.simulation.say("\(node) is to be master: an ambush")
        sprung += 1
        for step in plan.ambushes[sprung - 1] {
            cluster.simulation.after(.milliseconds(step.milliseconds)) { [self] in
                if !isHealed { take(step.action, first) }
            }
        }
    }

    /// - Parameter first: the place of node 0.
    private func take(_ action: Plan.Action, _ first: Int = 0) {
        func name(_ node: Int) -> String { self.name(first + node) }
        if case .request(let request) = action { return send(request) }
        actions += 1
        if isFault(action, first) { tally.faults += 1 }
        let random = SeededRandom(plan.seed ^ UInt64(actions))
        switch action {
        case .request: break
        case .crash(let node, let losesDisk): cluster.crash(name(node), losesDisk: losesDisk)
        case .start(let node): start(name(node))
        case .stop(let node): cluster.stop(name(node), patience: .seconds(3))
        case .pause(let node): cluster.pause(name(node))
        case .resume(let node): cluster.resume(name(node))
        case .stall(let node, let rate): cluster.stall(name(node), onceIn: rate)
        case .calendar(let node, let error): cluster.setCalendar(name(node), off: .milliseconds(error))
        case .fillDisk(let node, let isFull): cluster.fillDisk(name(node), isFull)
        case .failDisk(let node, let rate): cluster.failDisk(name(node), onceIn: rate)
        case .failProducer(let node): cluster.failProducer(name(node))
        case .cut(let from, let to): if from != to { cluster.cut(from: name(from), to: name(to)) }
        case .isolate(let node):
            for other in cluster.nodes where other != name(node) {
                cluster.cut(from: other, to: name(node))
                cluster.cut(from: name(node), to: other)
            }
            cluster.cutFromLog(name(node), true)
            cluster.cutFromTree(name(node), true)
        case .cutLog(let node, let isCut): cluster.cutFromLog(name(node), isCut)
        case .cutTree(let node, let isCut): cluster.cutFromTree(name(node), isCut)
        case .delay(let rate): cluster.delayMessages(onceIn: rate)
        case .heal: cluster.heal()
        case .log(let isAway): cluster.log.isAway = isAway
        case .tree(let isServing): cluster.setTree(isServing: isServing)
        case .lag(let node, let isLagging): cluster.lagTree(name(node), isLagging)
        case .loseAnswers(let count, let areDone): cluster.loseTreeAnswers(count, areDone: areDone)
        case .failOver: cluster.log.failOver(3)
        case .starve(let isStarved): cluster.log.starve(isStarved)
        case .foreign(let key): cluster.writeForeign("f\(key)", Array("\(actions)".utf8), to: "main")
        case .transaction:
            cluster.writeForeign("t", Array("\(actions)".utf8), to: random.pick(["main", "twins"]), isOpen: true)
        case .endTransaction(let commits): cluster.log.endForeign(commits: commits)
        case .compact: cluster.compact()
        case .expire(let node): cluster.expireSession(of: name(node))
        case .addNode: start("n\(cluster.nodes.count + 1)")
        }
    }

    /// Whether something begins to go wrong by it: not by what ends a fault, nor for a process that is not there.
    private func isFault(_ action: Plan.Action, _ first: Int) -> Bool {
        switch action {
        case .request, .start, .resume, .heal, .endTransaction, .stall(_, 0), .calendar(_, 0), .fillDisk(_, false),
            .failDisk(_, 0), .cutLog(_, false), .cutTree(_, false), .delay(0), .log(isAway: false),
            .tree(isServing: true), .lag(_, false), .starve(false):
            false
        case .cut(let from, let to): from != to
        case .crash(let node, _), .stop(let node), .pause(let node), .stall(let node, _), .calendar(let node, _),
            .fillDisk(let node, _), .failDisk(let node, _), .failProducer(let node), .isolate(let node),
            .cutLog(let node, _), .cutTree(let node, _), .lag(let node, _), .expire(let node):
            cluster.running.contains(name(first + node))
        case .delay, .log, .tree, .loseAnswers, .failOver, .starve, .foreign, .transaction, .compact, .addNode: true
        }
    }

    func start(_ node: String) {
        do { try cluster.start(node) } catch { fail("\(node) cannot be started: \(error)") }
    }

    private func begin(_ watch: WatchPlan, _ number: Int) {
        let client = WatchingClient(watch, number, cluster) { [unowned self] reason in fail(reason) }
        watchers.append(client)
        cluster.simulation.after(.milliseconds(watch.begin)) { client.open() }
    }

    // MARK: - Requests

    /// Moments of a history: each is after all before it.
    private func next() -> MonotonicTime {
        moment += 1
        return MonotonicTime(nanoseconds: moment)
    }

    func send(_ request: Plan.Request) {
        let key = request.key % 2 == 1 ? "n\(request.key)" : "k\(request.key)"
        if request.kind == .get { return get(key, request.node) }
        if request.kind == .stale { return readStale(key, request.node) }
        var change = Change(key: key, action: .put(Array("\(request.number)".utf8)))
        var input = KeyValueModel.Input(.put(Array("\(request.number)".utf8)))
        switch request.kind {
        case .delete: (change.action, input.action) = (.delete, .delete)
        case .add:
            let number = Int64(1 + request.number % 7)
            (change.action, input.action) = (.add(number), .add(number))
        case .putNew: (change.isNew, input.noneMatch) = (true, .any)
        case .putMatching:
            let version = versions[key] ?? 1
            (change.match, input.match) = (version, .versions([Version(version)]))
        case .refused: change.isRefused = true
        default: break
        }
        let attempt = Attempt(change: change, input: input, call: next(), request: request)
        open += 1
        self.attempt(attempt, request.node, 0)
    }

    private struct Attempt: Sendable {
        var change: Change
        var input: KeyValueModel.Input
        var call: MonotonicTime
        var request: Plan.Request
        /// Whether it has been asked before, and it is not known what became of that.
        var isUnknown = false

        /// Whether its client takes *not applied* for the end of it: not all of those do that ask again.
        var isTrusting: Bool { !isUnknown && (!request.isRepeated || request.number % 2 == 0) }
    }

    private func attempt(_ attempt: Attempt, _ node: Int, _ count: Int) {
        var envelope = Envelope()
        if attempt.request.isRepeated {
            envelope.idempotency = IdempotencyKey("r\(attempt.request.number)", digest: [1])
        }
        let (change, sent) = (attempt.change, envelope)
        cluster.simulation.say("\(attempt.request.number): \(attempt.input) of \(change.key) to \(name(node))")
        ask(node) { service throws(AskError) in
            try await service.commit(change, sent)
        } then: { [self] result in
            cluster.simulation.say("\(attempt.request.number): \(result.map { "\($0)" } ?? "no answer")")
            answer(attempt, result, node, count)
        }
    }

    /// Asks a node; a client does not wait for ever.
    ///
    /// - Parameter then: gets the answer, or `nil` if none came.
    private func ask<Reply: Sendable>(
        _ node: Int, _ body: @escaping @Sendable (Service<Entries>) async throws(AskError) -> Reply,
        then: @escaping @Sendable (Result<Reply, AskError>?) -> Void
    ) {
        let waiting = Waiting()
        tally.requests += 1
        open += 1
        let end = { @Sendable [self] (result: Result<Reply, AskError>?) in
            guard waiting.end() else { return }
            open -= 1
            then(result)
        }
        cluster.ask(name(node), body).then(end)
        cluster.simulation.after(.seconds(7)) { end(nil) }
    }

    private func answer(
        _ attempt: Attempt, _ result: Result<Commit<Change.Reply>, AskError>?, _ node: Int, _ count: Int
    ) {
        let outcome: History<KeyValueModel>.Outcome
        switch result {
        case .success(let commit):
            tally.acknowledged += 1
            guard let reply = reply(attempt.change, commit) else {
                open -= 1
                return fail("torn: \(attempt.change.key) differs from its twin")
            }
            // Nobody is told the version of what is gone.
            if attempt.change.action != .delete { note(attempt.change.key, commit) }
            outcome = .ok(reply)
        case .failure(let error) where error.outcome == .rejected:
            outcome = attempt.change.isRefused ? .failed : .ok(.refused)
        case .failure(let error) where error.outcome == .notApplied && attempt.isTrusting: outcome = .failed
        default:
            if attempt.request.isRepeated, count < 8 {
                var again = attempt
                if case .failure(let error) = result, error.outcome == .notApplied {} else { again.isUnknown = true }
                cluster.simulation.after(.milliseconds(300)) { [self, again] in
                    self.attempt(again, node + 1, count + 1)
                }
                return
            }
            outcome = .unknown
        }
        open -= 1
        histories[attempt.change.key, default: []].append(
            .init("c\(attempt.request.number)", attempt.input, from: attempt.call, to: next(), outcome))
    }

    private func reply(_ change: Change, _ commit: Commit<Change.Reply>) -> KeyValueModel.Reply? {
        // An answer that is repeated may tell a version that the entry no longer has.
        let version = commit.version == .none || commit.isReplay ? nil : commit.version
        switch commit.reply {
        case .done where change.action == .delete: return .deleted
        case .done(let isNew): return .written(version, isNew: isNew)
        case .sum(let value): return .sum(Int64(String(decoding: value, as: UTF8.self)) ?? .min, version)
        case .absent: return .absent
        case .failed(let version): return .conditionFailed(version.map { Version($0) })
        case .torn: return nil
        }
    }

    /// Keeps what later requests of the key are made with.
    private func note(_ key: String, _ commit: Commit<Change.Reply>) {
        let version = commit.version.rawValue
        guard version > versions[key] ?? 0 else { return }
        versions[key] = version
        written[key, default: []].append((cluster.simulation.now, version))
        let reached = commit.reached
        positions[key] = ([reached.partition.number: reached.position], version)
    }

    private func get(_ key: String, _ node: Int) {
        let call = next()
        ask(node) { service throws(AskError) in
            try await service.read(Look(key: key))
        } then: { [self] result in
            guard case .success(let answer) = result else { return }
            tally.reads += 1
            let seen = answer.reply
            if seen.isTorn { fail("torn: \(key) differs from its twin") }
            let reply = seen.value.map { KeyValueModel.Reply.value($0, Version(seen.version)) } ?? .absent
            cluster.simulation.say("GET \(key) from \(name(node)): \(reply)")
            histories[key, default: []].append(.init("reader", .get, from: call, to: next(), .ok(reply)))
        }
    }

    /// A read that may be old, but not older than what its client has seen, nor than it says of itself.
    private func readStale(_ key: String, _ node: Int) {
        guard let (position, version) = positions[key] else { return get(key, node) }
        let envelope = Envelope(positions: position, staleness: .seconds(1))
        let asked = cluster.simulation.now
        ask(node) { service throws(AskError) in
            try await service.read(Look(key: key), envelope)
        } then: { [self] result in
            guard case .success(let answer) = result else { return }
            tally.reads += 1
            if answer.reply.isTorn {
                fail("torn: \(key) on \(name(node)), or its master, differs from its twin: \(answer)")
            }
            // Counters are never removed.
            let mayBeGone = !key.hasPrefix("n")
            let known = newest(key, at: asked.advanced(by: .zero - answer.age))
            if answer.reply.value == nil ? !mayBeGone : answer.reply.version < max(version, known) {
                fail(
                    "stale: a read of \(key) at \(position), \(answer.age) old, found version "
                        + "\(answer.reply.version), not \(version) and \(known)")
            }
        }
    }

    /// The newest version of a key that anybody had been told at a moment.
    private func newest(_ key: String, at time: MonotonicTime) -> UInt64 {
        written[key]?.last { $0.time < time }?.version ?? 0
    }

    // MARK: - The end

    /// Ends all faults, and gives the cluster some time to be well again.
    private func heal() {
        isHealed = true
        for watcher in watchers { watcher.isStaying = true }
        if violation != nil || cluster.violation != nil { return }
        cluster.heal()
        // What a process had sent that is dead may come very late, or never.
        let comes = SeededRandom(plan.seed ^ 0x1a7e).once(in: 2)
        for node in cluster.nodes {
            cluster.letGo(.acknowledgements, of: node)
            if comes || cluster.running.contains(node) { cluster.letGo(.records, of: node) }
        }
        for node in cluster.nodes where !cluster.running.contains(node) { start(node) }
        if !settle() { return fail("stuck: the cluster is not well again: \(shown)") }
        if !cluster.run(atMost: .seconds(30), until: { open == 0 }) { fail("stuck: \(open) requests have no answer") }
        // And it goes on: everything that anybody was told is there.
        for key in histories.keys.sorted() {
            let before = tally.reads
            // A node may be about to stop.
            for attempt in 0..<3 where tally.reads == before {
                get(key, before + attempt)
                cluster.run(atMost: .seconds(10)) { open == 0 }
            }
            if tally.reads == before { fail("stuck: \(key) cannot be read") }
        }
    }

    /// Waits until every partition has a master and level standbys, and nothing moves.
    func settle() -> Bool {
        for _ in 0..<120 {
            cluster.run(for: .milliseconds(500))
            // All of them may have been about to stop.
            if cluster.running.isEmpty { for node in cluster.nodes { start(node) } }
            if cluster.isSettled() { return true }
        }
        return false
    }

    private var shown: String {
        cluster.running.map { node in
            "\(node): "
                + cluster.status(of: node).map { "\($0.state) \($0.position) \($0.reason ?? "")" }.joined(
                    separator: ", ")
        }.joined(separator: "; ") + "; assignment: \(cluster.tree("/simulated/keyspaces/kv/assignment") ?? "none")"
    }

    private func check() {
        if let found = cluster.violation { fail(found) }
        for (key, operations) in histories.sorted(by: { $0.key < $1.key }) where violation == nil {
            switch History(KeyValueModel(isRewritten: true), operations).check(limit: 2_000_000) {
            case .linearizable: break
            case .undecided: tally.undecided += 1
            case .violated(let found): fail("history of \(key): \(found)")
            }
        }
        if violation == nil { compareReplicas() }
        if violation == nil { checkWatchers() }
        if violation == nil { beAbsent() }
        if violation == nil, plan.isReplayed { replay() }
    }

    /// Everything that the replicas of a partition have, byte for byte.
    private func compareReplicas() {
        // The last commands are covered soon, standbys have read that, and who is to hold no replica any more has none.
        let replicas = min(plan.settings.replicas, cluster.running.count)
        for _ in 0..<10 {
            cluster.run(for: .milliseconds(300))
            let isQuiet = (0..<plan.settings.partitions).allSatisfy {
                cluster.uncovered($0) == nil && cluster.entries(of: $0).count <= replicas
            }
            if isQuiet { break }
        }
        cluster.run(for: .milliseconds(300))
        // Nothing is on its way: a master has to look to see that somebody else has written.
        cluster.writeForeign("f0", Array("last".utf8), to: "main")
        if !settle() { return fail("stuck: what somebody else has written is not seen: \(shown)") }
        for partition in 0..<plan.settings.partitions {
            if let found = cluster.uncovered(partition) { fail("uncovered: \(found)") }
            guard let found = levelReplicas(of: partition) else {
                return fail("stuck: the replicas of partition \(partition) are not level: \(shown)")
            }
            for (node, entries) in found.dropFirst() where entries != found[0].entries {
                let first = "\(found[0].node) has \(found[0].entries)"
                fail("replicas: partition \(partition) differs: \(first), \(node) \(entries)")
            }
        }
    }

    /// What the replicas have that are at the master's position: not those that are still on the way to become standbys,
    /// or hear only now that they are none any more.
    private func levelReplicas(of partition: Int) -> [(node: String, entries: String)]? {
        // While one is asked, another may go on.
        for _ in 0..<10 {
            let states = Dictionary(uniqueKeysWithValues: cluster.running.map { ($0, cluster.status(of: $0)) })
                .compactMapValues { $0.dropFirst(partition).first }
            let end = states.values.first { $0.state == .serving }?.position
            let found = cluster.entries(of: partition)
                .filter { end != nil && states[$0.key]?.position == end }
                .map { (node: $0.key, entries: shown($0.value)) }.sorted { $0.node < $1.node }
            if found.count >= min(plan.settings.replicas, cluster.running.count) { return found }
            if !settle() { break }
        }
        return nil
    }

    private var eventsTold: Int { watchers.reduce(0) { $0 + $1.events } }

    /// Whoever watches was told everything that counts, in order, and nothing else.
    private func checkWatchers() {
        if watchers.isEmpty { return }
        // Long enough for those who have just gone to another node, and then for as long as the slowest are still told.
        cluster.run(for: .seconds(8))
        var told: Int
        repeat {
            told = eventsTold
            cluster.run(for: .seconds(1))
        } while told != eventsTold
        let oracle = WatchOracle(cluster, partitions: plan.settings.partitions)
        for watcher in watchers {
            if let found = oracle.mistake(in: watcher) { return fail("watch: \(watcher.number), \(found)") }
            watcher.end()
        }
    }

    /// A memstore that was away for so long that it may have missed removals is made anew (PROTOCOL §7).
    private func beAbsent() {
        let retention = plan.settings.log.deleteRetention
        guard retention < .seconds(10), cluster.running.count > 1, let node = cluster.running.last else { return }
        cluster.crash(node)
        cluster.writeForeign("f0", nil, to: "main")
        cluster.run(for: retention + .seconds(1))
        cluster.settleLog()
        cluster.log.compact(asFarAsCan: true)
        start(node)
        if !settle() { return fail("stuck: \(node) does not come back: \(shown)") }
        compareReplicas()
    }

    private func shown(_ stores: [[(key: [UInt8], entry: StoredEntry)]]) -> String {
        stores.map { store in
            store.map { entry in
                "\(String(decoding: entry.key.filter { $0 >= 32 }, as: UTF8.self))="
                    + "\(String(decoding: entry.entry.value.prefix(40), as: UTF8.self))@\(entry.entry.version)"
                    + "t\(entry.entry.time.milliseconds)"
            }.joined(separator: " ")
        }.joined(separator: " | ")
    }

    /// What the log makes of an empty node, compacted too, is what the nodes had.
    private func replay() {
        let before = (0..<plan.settings.partitions).map {
            cluster.entries(of: $0).sorted { $0.key < $1.key }.first?.value
        }
        // It has been quiet: what should not count has been overwritten, whoever wrote it, and whenever it came.
        cluster.run(for: plan.settings.log.compactionLag)
        cluster.settleLog()
        cluster.log.compact(asFarAsCan: plan.situation != nil)
        for node in cluster.running { cluster.crash(node, losesDisk: true) }
        for node in cluster.nodes { start(node) }
        if !settle() { return fail("stuck: the cluster does not come back from its log: \(shown)") }
        for (partition, entries) in before.enumerated() {
            guard let entries else { continue }
            for (node, found) in cluster.entries(of: partition) where shown(found) != shown(entries) {
                fail("replay: partition \(partition) of \(node): \(shown(found)), and was \(shown(entries))")
            }
        }
    }
}

/// Whether one of two that may end something has done so.
private final class Waiting: @unchecked Sendable {
    private var isOver = false

    func end() -> Bool {
        defer { isOver = true }
        return !isOver
    }
}
