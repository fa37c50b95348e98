/// One copy of a partition on this node: the actor that owns its logic and its state.
///
/// Pinned to one executor; everything of it runs there. Called by `Service`; calls `PartitionCore`, which runs the
/// handlers, and `StateStore`, which orders the effects. Its life is a `PartitionStateMachine`; requests are in
/// `PartitionReplica+Requests.swift`, the way to the end of the log in `PartitionReplica+Restore.swift`.
public actor PartitionReplica<P: Partition> {
    /// The partition.
    public nonisolated let id: PartitionID
    /// Where the replica runs.
    @usableFromInline nonisolated let executor: any EventExecutor
    /// The executor that the actor is pinned to.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    @usableFromInline let core: PartitionCore<P>
    @usableFromInline let meter = ReplicaMeter()
    // Exclusive access is not checked at run time, here and below, where every request looks: see `StateStore`.
    @exclusivity(unchecked) @usableFromInline var state: StateStore?
    var machine = PartitionStateMachine() {
        didSet {
            let hasServed = isServing
            isServing = machine.isServing
            serves.set(isServing)
            // Whoever watches goes on at the next master.
            if hasServed, !isServing { WatchPart.lose(feed.endAll()) }
        }
    }
    /// What the machine says, where every request looks.
    @exclusivity(unchecked) @usableFromInline var isServing = false
    @usableFromInline let environment: PartitionEnvironment
    /// The service's own deadline, and the time that a handler may take, in nanoseconds: a `Duration` costs a division
    /// of 128 bits each time it is read.
    @usableFromInline let patience: Int64
    @usableFromInline let longest: Int64
    /// Whether every query waits for the log's word (Q3), lease or not.
    @usableFromInline nonisolated let provesReads: Bool
    /// Whether the replica serves, for those who choose between it and another node's.
    @usableFromInline nonisolated let serves = Flag()
    private let onServe: @Sendable () -> Void
    let partitions: Int
    let effects: EffectRunner
    private nonisolated let inbox = ReplicaInbox()
    /// Open from the first reading on; kept when a mastership ends, so that a standby goes on where the master was.
    var memstore: (any MemStore)?
    /// Whether the memstore can be gone on with; if not it is closed, and opened anew.
    var isMemStoreSound = true
    var log: (any PartitionLog)?
    /// The log that is being read, to be closed if the replica has to stop meanwhile.
    var restoring: (any PartitionLog)?
    /// What the log was when the replica last served: one that is shorter, or has another number, is not the same.
    var known: KnownLog?
    /// A standby's reading, and when it was last known to be level with the log.
    var following: Task<Void, Never>?
    var levelAt: MonotonicTime?
    /// Since when a standby has read something that is not decided.
    var waitingSince: MonotonicTime?
    /// How far the replica was when it last came on.
    var progress = (position: Position([]), at: MonotonicTime.notYet)
    /// What the coordinator has heard of the replica.
    private var readiness: Readiness?
    /// Counts the openings of the log: word about a former one is ignored.
    @exclusivity(unchecked) var generation = 0
    @exclusivity(unchecked) @usableFromInline var admission: Admission
    /// The lease that the mastership rests on (Q1); `nil` where nobody else can serve.
    @exclusivity(unchecked) @usableFromInline var lease: Lease?
    /// What is applied, for those who watch. Kept when a mastership ends, as the memstore is.
    let feed: ChangeFeed
    /// Those who wait to go on from the changelog.
    var replays = Replays()
    /// Queries that wait for the log's proof of mastership (Q3).
    var proofs = LogProofs()
    /// What was found damaged in the memstore: the next restore begins without it.
    var damage: String?
    /// Ends a restore that is under way.
    private(set) var isStopping = false
    private var isMaster = false
    private var joining: Task<Void, Never>?
    /// Waits for the end of former leases (Q2), beside the way to the log's end.
    private var confirming: Task<CoordinatorError?, Never>?
    private var timer = MonotonicTime.never
    /// The failure that was reported last.
    private var reported: String?

    /// - Parameter onServe: called when the replica begins to serve, on its executor.
    init(
        _ id: PartitionID, of partitions: Int, on executor: any EventExecutor, _ environment: PartitionEnvironment,
        effects: EffectRunner, onServe: @escaping @Sendable () -> Void = {}
    ) throws(AssemblyError) {
        self.id = id
        self.partitions = partitions
        self.executor = executor
        self.environment = environment
        self.onServe = onServe
        provesReads = environment.provesReads
        patience = environment.deadline.wholeNanoseconds
        longest = environment.limits.handler.wholeNanoseconds
        self.effects = effects
        core = try PartitionCore<P>()
        admission = Admission(environment.limits)
        feed = ChangeFeed(partition: id.number, limits: environment.limits.watches)
    }

    // MARK: - Life

    /// Joins the coordinator and follows its word until `stop` is called or the task is cancelled.
    func run() async {
        core.partition.becameStandby(of: id)
        join()
        while machine.state != .stopped, let event = await inbox.next() {
            await perform(machine.handle(event))
        }
        if machine.state != .stopped {
            // The task was cancelled: nothing is waited for.
            _ = machine.handle(.drain)
            _ = machine.handle(.drained)
            await release(reason: "the replica was cancelled")
            await closeMemStore()
        }
        core.partition.stopping()
        // A join that is under way would enter the replica after it has left.
        await joining?.value
        await environment.coordinator.leave(id)
    }

    /// Answers what is in flight, within the service's deadline, and ends `run`.
    nonisolated func stop() {
        executor.post { [self] in
            assumeIsolated { replica in
                guard !replica.isStopping else { return }
                replica.isStopping = true
                replica.give(.drain)
                if let log = replica.restoring { Task(executorPreference: executor) { await log.close() } }
            }
        }
    }

    /// Puts an event in for `run`.
    func give(_ event: PartitionStateMachine.Event) { inbox.give(event) }

    private func join() {
        // Beside `run`, which must hear events meanwhile; ends when the coordinator answers.
        joining = Task(executorPreference: executor) { [id, inbox, environment] in
            do throws(CoordinatorError) {
                try await environment.coordinator.join(id) { inbox.give(.mastership($0)) }
            } catch {
                inbox.give(.failed("coordinator: \(error.reason)", isRetriable: error.isRetriable, of: nil))
            }
        }
    }

    private func perform(_ action: PartitionStateMachine.Action) async {
        switch action {
        case .none: break
        case .join: join()
        case .follow:
            await release(reason: "another node is master")
            follow()
        case .catchUp(let epoch):
            await stopFollowing()
            progress = (Position([]), environment.clock.monotonic)
            // Who has only read goes on from there, if the memstore has taken all of it.
            if let state, state.epoch != .none || state.isTorn { await release(reason: "another epoch begins") }
            await giveFailures(of: epoch) { try await self.catchUp(epoch) }
        case .claim(let epoch):
            confirm(epoch)
            state?.begin(epoch, newLog: environment.random() | 1)
            state?.claim { [inbox] _ in inbox.give(.claimed(epoch)) }
        case .repair(let epoch): await giveFailures(of: epoch) { try await self.repair(epoch) }
        case .settle(let epoch):
            // A failure needs no word of its own: whoever gave the mastership up has reported why.
            state?.appendSettled { [inbox] settlement in
                if settlement.failure == nil { inbox.give(.settled(epoch)) }
            }
        case .confirm(let epoch): awaitConfirmation(of: epoch)
        case .serve(let epoch): serve(epoch)
        case .renew(let grant):
            do throws(CoordinatorError) { try await environment.coordinator.renew(id, above: grant) } catch {
                give(.failed("coordinator: \(error.reason)", isRetriable: error.isRetriable, of: machine.epoch))
            }
        case .release:
            reportFailure()
            await release(reason: "the replica is not master")
            await closeMemStore()
            // What went wrong here is forgotten: whoever is to hold the partition again begins anew.
            if machine.state == .absent { say(.behind) }
        case .releaseAndRetry:
            reportFailure()
            await release(reason: "the replica failed")
            executor.schedule(at: environment.clock.monotonic.advanced(by: environment.retry)) { [inbox] in
                inbox.give(.retry)
            }
        case .drain: drain()
        case .handBack(let grant):
            await release(reason: "the partition was handed over")
            environment.coordinator.release(id, grant)
            follow()
        }
    }

    func giveFailures(of epoch: Epoch, _ body: () async throws -> Void) async {
        do { try await body() } catch let error as LogError {
            give(.failed("log: \(error.reason)", isRetriable: error.isRetriable, of: epoch))
        } catch let error as MemStoreError {
            isMemStoreSound = false
            give(.failed("memstore: \(error.reason)", isRetriable: error.isRetriable, of: epoch))
        } catch {
            give(.failed("\(error)", isRetriable: false, of: epoch))
        }
    }

    /// Says why the partition failed; not again and again while it is tried again.
    private func reportFailure() {
        guard case .failed(let reason) = machine.state, !isStopping else { return }
        say(.failed)
        if reason == reported { return }
        reported = reason
        environment.report(Report(.error, "partition failed", [("partition", id.description), ("reason", reason)]))
    }

    /// Tells the coordinator how far the replica is, once.
    func say(_ readiness: Readiness) {
        guard readiness != self.readiness else { return }
        self.readiness = readiness
        environment.coordinator.report(id, readiness)
    }

    private func confirm(_ epoch: Epoch) {
        confirming = Task(executorPreference: executor) { [id, environment] in
            do throws(CoordinatorError) {
                try await environment.coordinator.confirm(id, epoch.grant)
                return nil
            } catch { return error }
        }
    }

    private func awaitConfirmation(of epoch: Epoch) {
        Task(executorPreference: executor) { [confirming, inbox] in
            if let error = await confirming?.value {
                inbox.give(.failed("coordinator: \(error.reason)", isRetriable: error.isRetriable, of: epoch))
            } else {
                inbox.give(.confirmed(epoch))
            }
        }
    }

    private func serve(_ epoch: Epoch) {
        isMaster = true
        reported = nil
        lease = machine.grant?.lease
        core.partition.becameMaster(of: id, epoch: epoch)
        environment.report(
            Report(.info, "partition serves", [("partition", id.description), ("epoch", epoch.description)]))
        progress = (Position([]), environment.clock.monotonic)
        say(.serving)
        onServe()
        armTimer()
        watchLog()
    }

    /// Lets go of the log, and of whoever still waits.
    private func release(reason: String) async {
        await stopFollowing()
        generation += 1
        admission.refuseAll(AskError(.notApplied, .notReady, reason))
        let (state, log) = (state, log)
        (self.state, self.log, lease, levelAt) = (nil, nil, nil, nil)
        let hasServed = isMaster || known != nil
        if isMaster {
            isMaster = false
            core.partition.becameStandby(of: id)
        }
        if let state {
            if state.isShared, state.applied.log != 0, hasServed {
                known = KnownLog(number: state.applied.log, position: state.position)
            }
            if state.broken != nil || state.damage != nil { isMemStoreSound = false }
            proofs.fail(AskError(.notApplied, .notReady, reason))
            state.abandon(reason)
        }
        await log?.close()
        if !isMemStoreSound { await closeMemStore() }
    }

    /// Closes the memstore, if it is open.
    func closeMemStore() async {
        isMemStoreSound = true
        guard let memstore else { return }
        self.memstore = nil
        // A flush that fails costs a longer replay, nothing else.
        do throws(MemStoreError) { try await memstore.flush() } catch {
            environment.report(
                Report(
                    .warning, "memstore not flushed", [("partition", id.description), ("reason", error.reason)]))
        }
        await memstore.close()
    }

    private func drain() {
        admission.refuseAll(AskError(.notApplied, .draining, machine.refusal))
        guard let state else { return give(.drained) }
        if state.isIdle { finishDraining(state) }
        // A log that does not answer must not keep the node from stopping.
        let generation = generation
        executor.schedule(at: environment.clock.monotonic.advanced(by: environment.deadline)) { [weak self] in
            self?.assumeIsolated { $0.giveUpDraining(generation) }
        }
    }

    /// On a shared log a last settled covers the last commands: then the next master has nothing to rewrite.
    private func finishDraining(_ state: StateStore) {
        if state.owesCover { state.appendSettled { _ in } } else { give(.drained) }
    }

    private func giveUpDraining(_ generation: Int) {
        guard machine.isFinishing, generation == self.generation, let state, !state.isIdle else { return }
        self.generation += 1
        state.abandon("the partition stopped before the log acknowledged")
        give(.drained)
    }

    // MARK: - The log's word

    /// Takes acknowledgements. Called on the executor, once a batch.
    func acknowledge(_ acks: [LogAck], of generation: Int) {
        guard generation == self.generation, let state else { return }
        follow(state.acknowledge(acks), state)
    }

    /// Does what the log's word asks for.
    func follow(_ verdict: StateStore.Verdict, _ state: StateStore) {
        switch verdict {
        case .good: break
        case .read(let gap): read(gap, state)
        case .stepDown(let stepDown): return self.stepDown(stepDown, state)
        }
        if admission.hasWaiting { admission.admit(state.pendingCount, state.pendingBytes) }
        if machine.isFinishing, state.isIdle { finishDraining(state) }
    }

    /// Gives the mastership up if the memstore has turned out to be damaged: it is made anew on the way back.
    @usableFromInline func lookForDamage() {
        guard isServing, let state, let damage = state.damage else { return }
        stepDown(StateStore.StepDown(reason: "the memstore is damaged: \(damage)", isRetriable: true), state)
    }

    func stepDown(_ stepDown: StateStore.StepDown, _ state: StateStore) {
        if let damage = state.damage { self.damage = damage }
        let epoch = machine.epoch
        generation += 1
        machine.suspend(stepDown.reason)
        proofs.fail(AskError(.notApplied, .notReady, stepDown.reason))
        state.abandon(stepDown.reason)
        admission.refuseAll(AskError(.notApplied, .notReady, stepDown.reason))
        give(
            machine.isFinishing
                ? .drained : .failed(stepDown.reason, isRetriable: stepDown.isRetriable, of: epoch))
    }

    // MARK: - Time

    /// Makes sure that the replica wakes up at `deadline` or before.
    @usableFromInline func arm(_ deadline: MonotonicTime) {
        guard deadline < timer else { return }
        timer = deadline
        executor.schedule(at: deadline) { [weak self] in self?.assumeIsolated { $0.timerFired() } }
    }

    private func timerFired() {
        let now = environment.clock.monotonic
        guard timer <= now else { return }
        timer = .never
        admission.expire(at: now)
        if let state {
            state.expire(at: now)
            proofs.expire(at: now)
            if isServing, let expiry = state.answered.nextExpiry, expiry <= environment.clock.now,
                admission.hasPlace(state.pendingCount, state.pendingBytes)
            {
                core.expireAnswered(state)
            }
        }
        armTimer()
    }

    /// Arms for what is next, but not for less than a millisecond: each waking looks at everything that waits, and
    /// deadlines that lie close together must not cost that once each.
    func armTimer() {
        guard let state else { return }
        let soonest = environment.clock.monotonic.advanced(by: .milliseconds(1))
        let next = min(state.earliestDeadline, admission.earliestDeadline, proofs.earliestDeadline)
        if next != .never { arm(max(next, soonest)) }
        armExpiry()
    }

    /// Arms for the next outcome that has had its time (§9).
    @usableFromInline func armExpiry() {
        guard let expiry = state?.answered.nextExpiry else { return }
        let wait = expiry.milliseconds.subtractingReportingOverflow(environment.clock.now.milliseconds)
        let milliseconds = wait.overflow ? (expiry.milliseconds < 0 ? 1 : .max) : max(1, wait.partialValue)
        arm(environment.clock.monotonic.advanced(by: .milliseconds(milliseconds)))
    }

    // MARK: - Seen from outside

    /// Whether the replica is about to serve.
    var isBecomingMaster: Bool { machine.isBecomingMaster }

    /// What the replica is doing.
    func status() -> ReplicaStatus {
        let position = state?.position ?? Position(core.stores.map { _ in .zero })
        var status = ReplicaStatus(
            partition: id, role: machine.role, state: machine.statusState, reason: machine.failure,
            epoch: machine.epoch, position: position, end: state?.end ?? position,
            inFlight: state?.pendingCount ?? 0)
        if machine.state == .standby, let log {
            status.end = Position(core.stores.indices.map { log.end($0) })
            status.level = levelTime()
        }
        status.lease = lease?.expiry
        status.commands = meter.counts.commands
        status.queries = meter.counts.queries
        return status
    }

    /// What the replica is doing, holds, and has counted.
    func figures() -> ReplicaFigures {
        ReplicaFigures(
            status: status(), counts: meter.counts, inFlightBytes: state?.pendingBytes ?? 0,
            waiting: admission.waitingCount, observers: feed.observers, size: memstore?.size ?? MemStoreSize())
    }
}
