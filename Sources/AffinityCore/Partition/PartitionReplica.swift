/// One copy of a partition on this node: the actor that owns its logic and its state.
///
/// Pinned to one executor; everything of it runs there. Called by `Service`; calls `PartitionCore`, which runs the
/// handlers, and `StateStore`, which orders the effects. Its life is a `PartitionStateMachine`.
public actor PartitionReplica<P: Partition> {
    /// The partition.
    public nonisolated let id: PartitionID
    /// Where the replica runs.
    @usableFromInline nonisolated let executor: any EventExecutor
    /// The executor that the actor is pinned to.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    @usableFromInline let core: PartitionCore<P>
    @usableFromInline var state: StateStore?
    var machine = PartitionStateMachine()
    let environment: PartitionEnvironment
    let partitions: Int
    let effects: EffectRunner
    private let inbox: AsyncStream<PartitionStateMachine.Event>
    nonisolated let events: AsyncStream<PartitionStateMachine.Event>.Continuation
    var log: (any PartitionLog)?
    /// Counts the openings of log and memstore: word about a former one is ignored.
    var generation = 0
    var admission: Admission
    /// Ends a restore that is under way.
    private(set) var isStopping = false
    private var timer = MonotonicTime.never

    init(
        _ id: PartitionID, of partitions: Int, on executor: any EventExecutor, _ environment: PartitionEnvironment,
        effects: EffectRunner
    ) throws(AssemblyError) {
        self.id = id
        self.partitions = partitions
        self.executor = executor
        self.environment = environment
        self.effects = effects
        core = try PartitionCore<P>()
        admission = Admission(environment.limits)
        (inbox, events) = AsyncStream.makeStream()
    }

    // MARK: - Life

    /// Joins the coordinator and follows its word until `stop` is called.
    func run() async {
        core.partition.becameStandby(of: id)
        join()
        for await event in inbox {
            await perform(machine.handle(event))
            if machine.state == .stopped { break }
        }
        core.partition.stopping()
        await environment.coordinator.leave(id)
    }

    /// Answers what is in flight, within the limit, and ends `run`.
    nonisolated func stop() {
        executor.post { [self] in assumeIsolated { $0.isStopping = true } }
        events.yield(.drain)
    }

    private func join() {
        // Beside `run`, which must hear events meanwhile; ends when the coordinator answers.
        Task { [id, events, environment] in
            do throws(CoordinatorError) {
                try await environment.coordinator.join(id) { events.yield(.mastership($0)) }
            } catch {
                events.yield(.failed("coordinator: \(error.reason)", isRetriable: false))
            }
        }
    }

    private func perform(_ action: PartitionStateMachine.Action) async {
        switch action {
        case .none: break
        case .catchUp(let epoch):
            await release(reason: "another epoch begins")
            await report(failures: { try await self.catchUp(epoch) })
        case .claim(let epoch): await report(failures: { try await self.claim(epoch) })
        case .serve(let epoch):
            core.partition.becameMaster(of: id, epoch: epoch)
            environment.report(
                Report(.info, "partition serves", [("partition", id.description), ("epoch", epoch.description)]))
            armTimer()
        case .renew(let grant):
            do throws(CoordinatorError) { try await environment.coordinator.renew(id, above: grant) } catch {
                events.yield(.failed("coordinator: \(error.reason)", isRetriable: error.isRetriable))
            }
        case .release: await release(reason: "the replica is not master")
        case .releaseAndRetry:
            reportFailure()
            await release(reason: "the replica failed")
            executor.schedule(at: environment.clock.monotonic.advanced(by: environment.retry)) { [events] in
                events.yield(.retry)
            }
        case .drain: drain()
        }
        if case .release = action, case .failed = machine.state { reportFailure() }
    }

    private func report(failures body: () async throws -> Void) async {
        do { try await body() } catch let error as LogError {
            events.yield(.failed("log: \(error.reason)", isRetriable: error.isRetriable))
        } catch let error as MemStoreError {
            events.yield(.failed("memstore: \(error.reason)", isRetriable: error.isRetriable))
        } catch {
            events.yield(.failed("\(error)", isRetriable: false))
        }
    }

    private func reportFailure() {
        guard case .failed(let reason) = machine.state else { return }
        environment.report(Report(.error, "partition failed", [("partition", id.description), ("reason", reason)]))
    }

    /// Lets go of memstore and log; whoever still waits is told so.
    private func release(reason: String) async {
        generation += 1
        admission.refuseAll(AskError(.notApplied, .notReady, reason))
        let (state, log) = (state, log)
        self.state = nil
        self.log = nil
        guard let state else { return }
        core.partition.becameStandby(of: id)
        state.abandon(reason)
        await log?.close()
        // A flush that fails costs a longer replay, nothing else.
        do throws(MemStoreError) { try await state.memstore.flush() } catch {
            environment.report(
                Report(
                    .warning, "memstore not flushed", [("partition", id.description), ("reason", error.reason)]))
        }
        await state.memstore.close()
    }

    private func drain() {
        admission.refuseAll(AskError(.notApplied, .draining, "the partition is stopping"))
        if state?.isIdle ?? true { events.yield(.drained) }
    }

    // MARK: - The log's word

    /// Takes acknowledgements. Called on the executor, once a batch.
    func acknowledge(_ acks: [LogAck], of generation: Int) {
        guard generation == self.generation, let state else { return }
        if let stepDown = state.acknowledge(acks) {
            state.abandon(stepDown.reason)
            admission.refuseAll(AskError(.notApplied, .notReady, stepDown.reason))
            self.generation += 1
            machine.suspendServing(stepDown.reason)
            let isDraining = machine.state == .draining
            events.yield(isDraining ? .drained : .failed(stepDown.reason, isRetriable: stepDown.isRetriable))
            return
        }
        admission.admit(state.pendingCount, state.pendingBytes)
        if case .draining = machine.state, state.isIdle { events.yield(.drained) }
    }

    // MARK: - Requests

    /// Runs a command and returns when it is durable and applied.
    @inlinable func commit<C: Command>(
        _ command: C, _ envelope: Envelope
    ) async throws(AskError) -> Commit<C.Reply> {
        let state = try await admitted(envelope)
        let execution = timed(C.name) { core.execute(command, envelope, state) }
        if case .refused(let error) = execution { throw reached(error, state) }
        arm(envelope.deadline)
        // Unsafe, because a checked one costs as much as the rest: the state store resumes it exactly once, when the
        // command is settled or given up.
        let settlement = await withUnsafeContinuation { state.submit(envelope, $0) }
        if let failure = settlement.failure { throw failure }
        let reached = AskError.Reached(id, settlement.position)
        switch execution {
        case .reply(let reply):
            return Commit(reply: reply, version: settlement.version, reached: reached, isReplay: false)
        case .rejected(let rejection): throw AskError(rejected: rejection, reached: reached)
        case .replay(.success(let reply), let version):
            return Commit(reply: reply, version: version, reached: reached, isReplay: true)
        case .replay(.failure(let rejection), _):
            throw AskError(rejected: rejection, reached: reached, isReplay: true)
        case .refused(let error): throw error
        }
    }

    /// Runs a command and returns when its records are handed to the log.
    func tell<C: Command>(_ command: C, _ envelope: Envelope) async throws(AskError) {
        let state = try await admitted(envelope)
        let execution = timed(C.name) { core.execute(command, envelope, state) }
        switch execution {
        case .refused(let error): throw reached(error, state)
        case .rejected(let rejection):
            state.submit(envelope, nil)
            throw AskError(rejected: rejection, reached: reached(state))
        case .reply, .replay: state.submit(envelope, nil)
        }
    }

    /// Runs a query on the committed state.
    @inlinable func read<Q: Query>(_ query: Q, _ envelope: Envelope) async throws(AskError) -> Answer<Q.Reply> {
        if !envelope.positions.isEmpty, let position = envelope.positions[id.number] {
            try await wait(for: position, envelope.deadline)
        }
        return try readNow(query)
    }

    /// Runs a query that waits for nothing.
    @inlinable func readNow<Q: Query>(_ query: Q) throws(AskError) -> Answer<Q.Reply> {
        let state = try serving()
        let result = try timed(Q.name) { () throws(AskError) in try core.read(query, state) }
        let reached = reached(state)
        switch result {
        case .success(let reply): return Answer(reply: reply, reached: reached)
        case .failure(let rejection): throw AskError(rejected: rejection, reached: reached)
        }
    }

    @usableFromInline func wait(for position: Position, _ deadline: MonotonicTime) async throws(AskError) {
        let state = try serving()
        guard !state.position.covers(position) else { return }
        arm(deadline)
        let settlement = await withUnsafeContinuation { state.wait(for: position, deadline: deadline, $0) }
        if let failure = settlement.failure { throw failure }
    }

    /// The state, if the replica serves.
    @usableFromInline func serving() throws(AskError) -> StateStore {
        if machine.isServing, let state { return state }
        throw AskError(.notApplied, machine.state == .draining ? .draining : .notReady, machine.refusal)
    }

    /// The state, once there is a place among the commands in flight.
    @usableFromInline func admitted(_ envelope: Envelope) async throws(AskError) -> StateStore {
        let state = try serving()
        if admission.hasPlace(state.pendingCount, state.pendingBytes) { return state }
        guard admission.canWait else {
            throw AskError(.notApplied, .overloaded, "too many commands are in flight and waiting")
        }
        arm(envelope.deadline)
        if let refusal = await withUnsafeContinuation({ admission.wait(envelope.deadline, $0) }) { throw refusal }
        admission.arrived()
        return try serving()
    }

    /// Runs a handler and reports one that takes too long. It is not killed: nothing can undo half a handler.
    @inlinable func timed<Result, Failure: Error>(
        _ name: String, _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let start = monotonic
        defer { reportSlow(name, since: start) }
        return try body()
    }

    @usableFromInline var monotonic: MonotonicTime { environment.clock.monotonic }

    @usableFromInline func reportSlow(_ name: String, since start: MonotonicTime) {
        let duration = monotonic.since(start)
        guard duration > environment.limits.handler else { return }
        environment.report(
            Report(
                .warning, "a handler ran long",
                [
                    ("partition", id.description), ("message", name),
                    ("milliseconds", String(duration.wholeMilliseconds)),
                ]))
    }

    @usableFromInline func reached(_ state: StateStore) -> AskError.Reached {
        AskError.Reached(id, state.position)
    }

    @usableFromInline func reached(_ error: AskError, _ state: StateStore) -> AskError {
        var error = error
        error.reached = reached(state)
        return error
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
        state?.expire(at: now)
        if machine.isServing, let state {
            while core.expireAnswered(state) {}
        }
        armTimer()
    }

    private func armTimer() {
        guard let state else { return }
        arm(min(state.earliestDeadline, admission.earliestDeadline))
        if let expiry = state.answered.nextExpiry {
            let wait = max(1, expiry.milliseconds - environment.clock.now.milliseconds)
            arm(environment.clock.monotonic.advanced(by: .milliseconds(wait)))
        }
    }

    // MARK: - Seen from outside

    /// What the replica is doing.
    func status() -> ReplicaStatus {
        let position = state?.position ?? Position(core.stores.map { _ in .zero })
        return ReplicaStatus(
            partition: id, role: machine.role, state: machine.statusState, reason: machine.failure,
            epoch: machine.epoch, position: position, end: state?.end ?? position,
            inFlight: state?.pendingCount ?? 0)
    }

    /// Registers for every change from now on, as long as the replica serves under the same epoch.
    package func observe(_ body: @escaping @Sendable (Change) -> Void) { state?.observe(body) }
}
