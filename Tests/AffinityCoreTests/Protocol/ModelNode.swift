import AffinityCore
import AffinityTesting

@testable import AffinityCore

/// What a schedule gets wrong on purpose, to show that the oracles see it.
enum Mistake: CaseIterable {
    /// The log loses a record that it has acknowledged.
    case recordLost
    /// A record is acknowledged before it stands in the log, and may never do.
    case ackTooEarly
    /// Two masters get the same grant.
    case grantTwice
    /// Compaction goes beyond the lag.
    case compactionBeyondLag
    /// A claimant does not rewrite what is in doubt (C3).
    case noRewrite
    /// A claimant says that it has settled before its rewrites are acknowledged (C4).
    case settledEarly
    /// What stands in gaps of lower epochs is overlooked (S1).
    case staleOverlooked
    /// What stands in gaps of higher epochs is overlooked (W3).
    case claimOverlooked
    /// Foreign records in gaps are overlooked (§10).
    case foreignOverlooked
    /// A restart forgets which records are not covered (R3).
    case uncoveredForgotten
    /// A restart forgets which keys are in doubt (R3).
    case doubtForgotten
    /// A restart takes an epoch for settled that is not (R2).
    case openForgotten
    /// The producer drops a record and goes on with the next (W1).
    case recordSkipped
    /// A proof counts for queries that have read after it was handed over (Q3).
    case proofTooLate
}

/// One node: a replica without an actor. It does what `PartitionReplica` does, in the same order, one step of the
/// schedule after the other; state, fold, unsettled keys, checkpoint and state machine are the production ones.
final class ModelNode {
    /// A log being read, to its ends: on the way to a claim, or to the own claims.
    struct Reading {
        enum Purpose { case catchUp(Epoch), repair(Epoch) }
        let purpose: Purpose
        let ends: [Offset]
        let state: StateStore
        let use: LogUse
    }

    let index: Int
    unowned let world: World
    let disk: ModelDisk
    var isUp = true
    var producer: Producer
    private(set) var core: PartitionCore<Scribe>
    var machine = PartitionStateMachine()
    private(set) var inbox: [PartitionStateMachine.Event] = []
    private(set) var state: StateStore?
    private(set) var use: LogUse?
    private(set) var reading: Reading?
    private(set) var gap: StateStore.Gap?
    private(set) var owesRetry = false
    /// What reads on while the replica is a standby.
    private(set) var tail: StateStore?
    private var generation = 0
    /// Attempts that nobody has answered.
    private var attempts: [Int] = []
    private var proving: [History.Snapshot] = []
    private var waiting: [History.Snapshot] = []
    private var isProving = false
    private var proofsToAppend = 0

    init(_ index: Int, _ world: World) throws {
        self.index = index
        self.world = world
        core = try PartitionCore()
        disk = ModelDisk(stores: core.stores.count)
        producer = Producer(node: index, changelogs: core.stores.count)
    }

    var isServing: Bool { isUp && machine.isServing }
    var stores: [AnyStore] { core.stores }
    var canWork: Bool { isUp && reading == nil && !inbox.isEmpty }

    // MARK: - Life

    func give(_ event: PartitionStateMachine.Event) { inbox.append(event) }

    /// Hears the next event.
    func work() -> Bool {
        guard canWork else { return false }
        perform(machine.handle(inbox.removeFirst()))
        if machine.state == .stopped { end(isCrash: false) }
        return true
    }

    private func perform(_ action: PartitionStateMachine.Action) {
        switch action {
        case .none, .join: break
        case .catchUp(let epoch): catchUp(epoch)
        case .claim(let epoch):
            state?.begin(epoch, newLog: world.makeNumber())
            state?.claim { [unowned self] _ in give(.claimed(epoch)) }
        case .repair(let epoch):
            guard let state, let use else { return }
            reading = Reading(purpose: .repair(epoch), ends: world.log.ends, state: state, use: use)
        case .settle(let epoch): settle(epoch)
        case .serve: break
        case .renew(let grant): world.renew(self, above: grant)
        case .confirm(let epoch): give(.confirmed(epoch))
        case .release, .follow, .handBack: release()
        case .releaseAndRetry:
            release()
            owesRetry = true
        case .drain: drain()
        }
    }

    private func settle(_ epoch: Epoch) {
        state?.appendSettled { [unowned self] settlement in if settlement.failure == nil { give(.settled(epoch)) } }
    }

    func retry() -> Bool {
        guard isUp, owesRetry else { return false }
        owesRetry = false
        give(.retry)
        return true
    }

    private func release() {
        generation += 1
        let former = state
        (state, use, gap) = (nil, nil, nil)
        failProofs()
        former?.abandon("released")
        standBy()
    }

    /// A standby reads on. The tail has a memstore of its own: the replica's belongs to whoever opens it next.
    private func standBy() {
        tail = nil
        guard isUp else { return }
        switch machine.state {
        case .standby, .starting: tail = open(LogUse(world.log, producer), disk)
        default: break
        }
    }

    func crash(losing count: Int) -> Bool {
        guard isUp else { return false }
        if count == 0 { disk.loseEverything() } else { disk.lose(count - 1) }
        end(isCrash: true)
        return true
    }

    private func end(isCrash: Bool) {
        isUp = false
        generation += 1
        for number in attempts {
            world.history.operations[number].open -= 1
            world.history.lose(number, .unknown)
        }
        attempts = []
        (state, use, gap, reading, tail) = (nil, nil, nil, nil, nil)
        (inbox, owesRetry, proofsToAppend) = ([], false, 0)
        failProofs()
        producer.isAlive = false
    }

    func restart() throws -> Bool {
        guard !isUp else { return false }
        isUp = true
        core = try PartitionCore()
        machine = PartitionStateMachine()
        newProducer()
        standBy()
        return true
    }

    func newProducer() {
        producer.isAlive = false
        producer = world.makeProducer(index)
    }

    func stop() -> Bool {
        guard isUp, reading == nil else { return false }
        give(.drain)
        return true
    }

    private func drain() {
        guard let state else { return give(.drained) }
        if state.isIdle { finishDraining(state) }
    }

    private func finishDraining(_ state: StateStore) {
        if state.owesCover { state.appendSettled { _ in } } else { give(.drained) }
    }

    // MARK: - Reading

    private func catchUp(_ epoch: Epoch) {
        release()
        tail = nil
        let use = LogUse(world.log, producer)
        guard let state = open(use, disk) else { return }
        reading = Reading(purpose: .catchUp(epoch), ends: world.log.ends, state: state, use: use)
    }

    /// Opens a memstore and goes on from its checkpoint, as a restart does.
    func open(_ use: LogUse, _ disk: ModelDisk) -> StateStore? {
        let memstore = ModelMemStore(disk)
        let former = memstore.checkpoint.flatMap(Checkpoint.init(bytes:))
        var checkpoint = former ?? Checkpoint(level: world.clock.now, places: [])
        checkpoint.places = stores.map { store in
            former?.places.first { $0.changelog == store.name } ?? Checkpoint.Place(changelog: store.name, next: .zero)
        }
        plant(&checkpoint)
        checkFingerprints(checkpoint, use.log)
        let state = StateStore(
            partition: PartitionID(keyspace: "scribe", number: 0), stores: stores, memstore: memstore, log: use,
            feed: ChangeFeed(partition: 0, limits: WatchLimits()), isShared: true, checkpoint: checkpoint,
            node: NodeID("n\(index)"), clock: world.clock,
            random: RandomSource { 4 }, limits: StateLimits(idempotency: .seconds(1 << 40)),
            wasResumed: former != nil, route: { _ in 0 }, deliver: { _, _ in })
        if world.mistake != .uncoveredForgotten { readUncovered(state, use.log) }
        return state
    }

    private func plant(_ checkpoint: inout Checkpoint) {
        if world.mistake == .openForgotten { checkpoint.isOpen = false }
        guard world.mistake == .doubtForgotten else { return }
        for changelog in checkpoint.places.indices { checkpoint.places[changelog].doubtful = [:] }
    }

    private func checkFingerprints(_ checkpoint: Checkpoint, _ log: ModelLog) {
        for (changelog, place) in checkpoint.places.enumerated() where place.fingerprint != 0 {
            if place.next > log.end(changelog) { world.history.fail("restart: the memstore is beyond the log's end") }
            let record = log.page(changelog, from: place.last, limit: 1).records.first
            if let record, record.offset == place.last, record.fingerprint != place.fingerprint {
                world.history.fail("restart: the memstore does not fit its log at \(place.last) of \(changelog)")
            }
        }
    }

    private func readUncovered(_ state: StateStore, _ log: ModelLog) {
        for (changelog, place) in state.applied.places.enumerated() {
            var next = place.covered
            while next < place.next {
                let page = log.page(changelog, from: next, limit: 2)
                state.takeUncovered(page, of: changelog)
                next = page.next
            }
        }
    }

    /// Reads one page of what is to be read.
    func read(limit: Int, _ choice: Int) -> Bool {
        if let reading {
            guard let changelog = reading.state.changelogToRead(reading.ends) else {
                finish(reading)
                return true
            }
            return take(changelog, limit, into: reading.state)
        }
        guard let tail else { return false }
        let behind = stores.indices.filter { tail.readNext($0) < world.log.end($0) }
        guard !behind.isEmpty else { return false }
        return take(behind[choice % behind.count], limit, into: tail)
    }

    private func take(_ changelog: Int, _ limit: Int, into state: StateStore) -> Bool {
        let page = world.log.page(changelog, from: state.readNext(changelog), limit: limit)
        attempt("reading") { try state.take(page, of: changelog, levelAsOf: nil) }
        return true
    }

    private func attempt(_ what: String, _ body: () throws -> Void) {
        do { try body() } catch { world.history.fail("\(what): \(error)") }
    }

    private func finish(_ reading: Reading) {
        self.reading = nil
        let state = reading.state
        switch reading.purpose {
        case .catchUp(let epoch):
            (self.state, use) = (state, reading.use)
            give(.caughtUp(epoch, highest: max(state.applied.epoch, state.fold.highest)))
        case .repair(let epoch):
            guard machine.state == .repairing(epoch), state === self.state else { return }
            if state.fold.highest > epoch { return give(.overtaken(epoch, by: state.fold.highest)) }
            attempt("repair") { try repair(epoch, state) }
        }
    }

    private func repair(_ epoch: Epoch, _ state: StateStore) throws {
        try state.conclude()
        try core.rememberRestored(state)
        if world.mistake == .noRewrite { return give(.repaired(epoch)) }
        if world.mistake == .settledEarly { give(.repaired(epoch)) }
        _ = try state.rewrite(olderThan: world.lag) { [unowned self] settlement in
            if settlement.failure == nil, world.mistake != .settledEarly { give(.repaired(epoch)) }
        }
    }

    // MARK: - The log's word

    func acknowledge(_ acks: [LogAck], of use: LogUse) {
        guard use === self.use, let state else { return }
        follow(state.acknowledge(acks), state)
    }

    private func follow(_ verdict: StateStore.Verdict, _ state: StateStore) {
        switch verdict {
        case .good: break
        case .read(let gap): self.gap = gap
        case .stepDown(let stepDown): return self.stepDown(stepDown, state)
        }
        if machine.isFinishing, state.isIdle { finishDraining(state) }
        appendProofs()
    }

    private func stepDown(_ stepDown: StateStore.StepDown, _ state: StateStore) {
        let epoch = machine.epoch
        generation += 1
        (use, gap) = (nil, nil)
        machine.suspend(stepDown.reason)
        failProofs()
        state.abandon(stepDown.reason)
        if !stepDown.isRetriable { world.history.fail("step-down: for ever: \(stepDown.reason)") }
        give(
            machine.isFinishing
                ? .drained : .failed(stepDown.reason, isRetriable: stepDown.isRetriable, of: epoch))
    }

    /// The producer has failed for good: word on its records is lost, and another one takes its place (W1).
    func failProducer(_ changelog: Int) -> Bool {
        guard isUp, let state, let use, use.producer === producer else { return false }
        guard producer.queues[changelog].contains(where: { $0.use === use }) else { return false }
        newProducer()
        follow(state.acknowledge([LogAck(changelog: changelog, result: .failure(LogError(.io, "fatal")))]), state)
        return true
    }

    func readGap(limit: Int) -> Bool {
        guard isUp, let state, let gap else { return false }
        self.gap = nil
        world.history.knowsOutcomeVersions = false
        var page = world.log.page(gap.changelog, from: gap.range.lowerBound, limit: limit)
        page.records.removeAll { isOverlooked($0, state) }
        follow(state.fold(page, of: gap, lag: world.lag), state)
        return true
    }

    private func isOverlooked(_ record: LoggedRecord, _ state: StateStore) -> Bool {
        switch world.mistake {
        case .staleOverlooked: record.record.headers.stamp.map { $0.epoch < state.epoch } ?? false
        case .claimOverlooked: record.record.headers.stamp.map { $0.epoch > state.epoch } ?? false
        case .foreignOverlooked: record.record.headers.stamp == nil
        default: false
        }
    }

    // MARK: - W6

    func poll() -> Bool {
        guard isServing, let state, let gap = state.idleGap() else { return false }
        self.gap = gap
        return true
    }

    func coverWhenQuiet() -> Bool {
        guard isServing, let state, state.owesCover else { return false }
        state.appendSettled { _ in }
        return true
    }

    // MARK: - Clients

    /// Runs one attempt of a command.
    func run(_ number: Int) -> Bool {
        guard isServing, let state, state.pendingCount < 6 else { return false }
        let operation = world.history.operations[number]
        var envelope = Envelope()
        if operation.isRequest { envelope.idempotency = IdempotencyKey("r\(number)", digest: [UInt8(number)]) }
        let execution = core.execute(operation.note, envelope, state)
        world.history.operations[number].open += 1
        attempts.append(number)
        switch execution {
        case .reply(let answer): submit(number, answer, nil, state)
        case .replay(.success(let answer), let version): submit(number, answer, version, state)
        default: answered(number, nil, nil, failure: AskError(.notApplied, .failed, "\(execution)"))
        }
        return true
    }

    private func submit(_ number: Int, _ answer: [UInt8], _ replayed: Version?, _ state: StateStore) {
        let arrival = state.pending.nextNumber
        state.submit(deadline: .never, traceparent: nil, isReplay: replayed != nil, nil)
        // A command that wrote nothing, with nothing before it, is settled already.
        guard let place = state.pending.offset(of: arrival) else { return answered(number, answer, replayed) }
        state.pending[place].waiter = .call { [unowned self] settlement in
            answered(
                number, answer, replayed ?? settlement.version, isReplay: replayed != nil, failure: settlement.failure)
        }
    }

    private func answered(
        _ number: Int, _ answer: [UInt8]?, _ version: Version?, isReplay: Bool = true, failure: AskError? = nil
    ) {
        guard let place = attempts.firstIndex(of: number) else { return }
        attempts.remove(at: place)
        world.history.operations[number].open -= 1
        if let failure { return world.history.lose(number, failure.outcome) }
        world.history.acknowledge(
            number, answer: answer ?? [], version: version ?? .none, isReplay: isReplay, in: world.log)
    }

    /// Reads, and waits for the log's proof (Q3).
    func ask() -> Bool {
        guard isServing, let state, waiting.count + proving.count < 4 else { return false }
        if isProving, world.mistake == .proofTooLate {
            proving.append(snapshot(state))
            return true
        }
        waiting.append(snapshot(state))
        beginProof()
        appendProofs()
        return true
    }

    func snapshot(_ state: StateStore) -> History.Snapshot {
        let entries = Scribe.slots.map { slot in disk.newest.entries[slot.store][slot.bytes] }
        return History.Snapshot(entries: entries, least: world.history.seen, leastVersions: world.history.versions)
    }

    private func beginProof() {
        guard !isProving, !waiting.isEmpty else { return }
        (proving, waiting, isProving) = (waiting, [], true)
        proofsToAppend += 1
    }

    /// Not in the turn that settles the one before.
    private func appendProofs() {
        while proofsToAppend > 0, let state, isServing {
            proofsToAppend -= 1
            let generation = generation
            state.appendSettled { [unowned self] settlement in
                guard settlement.failure == nil, generation == self.generation else { return }
                let proved = proving
                (proving, isProving) = ([], false)
                for snapshot in proved { world.history.answer(snapshot, "read") }
                beginProof()
            }
        }
    }

    private func failProofs() { (proving, waiting, isProving, proofsToAppend) = ([], [], false, 0) }

    // MARK: - Looked at

    /// Nothing is on its way, everything that stands in the log was read, and nothing is in doubt.
    var isAtRest: Bool {
        guard isServing, let state, gap == nil, state.isIdle, state.gaps.reading == nil, !state.gaps.owesSettled,
            !state.gaps.hasFolded, inbox.isEmpty
        else { return false }
        return stores.indices.allSatisfy {
            state.ackOffsets[$0] == world.log.end($0) && producer.queues[$0].isEmpty && producer.acks[$0].isEmpty
                && state.unsettled.doubtful($0).isEmpty
        }
    }

    var shown: String {
        guard isUp else { return "n\(index): down" }
        let place = state.map { "acked \($0.end) pending \($0.pendingCount) open \($0.applied.isOpen)" } ?? "-"
        return "n\(index): \(machine.state) \(place) gap \(gap.map { "\($0.range)" } ?? "-") inbox \(inbox)"
    }
}
