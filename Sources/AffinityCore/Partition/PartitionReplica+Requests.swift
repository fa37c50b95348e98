/// Commands and queries on their way through a replica.
extension PartitionReplica {
    /// Runs a command and returns when it is durable and applied.
    ///
    /// - Parameter tries: how often it may run again because it was told a version that turned out to be another one.
    @inlinable func commit<C: Command>(
        _ command: C, _ envelope: Envelope, tries: Int = 3
    ) async throws(AskError) -> Commit<C.Reply> {
        var execution: PartitionCore<P>.Execution<C.Reply>?
        var settlement = StateStore.Settlement(position: Position([]))
        var isCalled = false
        while true {
            // Unsafe, because a checked one costs as much as the rest: the state store resumes it exactly once, when the
            // command is settled or given up, and `start` does where nothing is submitted.
            settlement = await withUnsafeContinuation { continuation in
                // Looked at here: whatever is awaited between the look and the command, a return too, lets others run.
                guard isCalled || hasPlace else { return continuation.resume(returning: settlement) }
                if isCalled { admission.arrived() }
                execution = start(command, envelope, continuation)
            }
            if execution != nil { break }
            try await waitInLine(envelope)
            isCalled = true
        }
        if settlement.isOutdated {
            // Not for ever: others may write without a pause.
            guard tries > 0 else { throw Self.overtaken }
            return try await commit(command, envelope, tries: tries - 1)
        }
        // What wrote nothing rests on what was read, as a query does.
        if settlement.failure == nil, settlement.isEmpty, needsProof { try await prove(envelope, of: execution) }
        return try answer(execution, settlement)
    }

    /// The same for a caller that already runs on the replica's executor: no hop, in either direction.
    @inlinable nonisolated(nonsending) func commitHere<C: Command>(
        _ command: C, _ envelope: Envelope
    ) async throws(AskError) -> Commit<C.Reply> {
        guard hasPlaceHere else { return try await commit(command, envelope) }
        var execution: PartitionCore<P>.Execution<C.Reply>?
        let settlement = await withUnsafeContinuation { continuation in
            execution = startHere(command, envelope, continuation)
        }
        if settlement.isOutdated { return try await commit(command, envelope) }
        if settlement.failure == nil, settlement.isEmpty, needsProofHere { try await prove(envelope, of: execution) }
        return try answer(execution, settlement)
    }

    /// Runs the handler and hands over what it did; `continuation` hears how that ended.
    @inlinable func start<C: Command>(
        _ command: C, _ envelope: Envelope, _ continuation: UnsafeContinuation<StateStore.Settlement, Never>?
    ) -> PartitionCore<P>.Execution<C.Reply> {
        var execution: PartitionCore<P>.Execution<C.Reply>
        do throws(AskError) {
            let state = try serving()
            let begin = environment.clock.monotonic
            let deadline = deadline(envelope, at: begin)
            guard begin < deadline else { throw Self.late }
            execution = core.execute(command, envelope, state)
            count(execution)
            reportSlow(C.name, envelope, since: begin)
            if case .refused(let refusal) = execution {
                let error = reached(refusal, state)
                // Another request under a key that was used rests on the former one, and waits for it as a repeat does.
                guard error.code == .repeated else { throw error }
                execution = .refused(meter.refused(error))
            }
            state.submit(
                deadline: deadline, traceparent: envelope.traceparent, isReplay: execution.isReplay, continuation)
            if continuation != nil { arm(deadline) }
            if envelope.idempotency != nil { armExpiry() }
        } catch {
            let error = meter.refused(error)
            continuation?.resume(returning: StateStore.Settlement(position: Position([]), failure: error))
            lookForDamage()
            letNextIn()
            return .refused(error)
        }
        letNextIn()
        return execution
    }

    @inlinable func count<Reply>(_ execution: PartitionCore<P>.Execution<Reply>) {
        switch execution {
        case .reply: break
        case .rejected: meter.counts.rejections &+= 1
        case .replay: meter.counts.replays &+= 1
        case .refused: return
        }
        meter.counts.commands &+= 1
    }

    @inlinable nonisolated func answer<Reply>(
        _ execution: PartitionCore<P>.Execution<Reply>?, _ settlement: StateStore.Settlement
    ) throws(AskError) -> Commit<Reply> {
        if let failure = settlement.failure { throw failure }
        let reached = AskError.Reached(id, settlement.position)
        switch execution {
        case .reply(let reply):
            return Commit(reply: reply, version: settlement.version, reached: reached, isReplay: false)
        case .rejected(let rejection): throw AskError(rejected: rejection, reached: reached)
        case .replay(.success(let reply), let version):
            // The former request may have been on its way still, and its version foretold.
            let version = settlement.version == .none ? version : settlement.version
            return Commit(reply: reply, version: version, reached: reached, isReplay: true)
        case .replay(.failure(let rejection), _):
            throw AskError(rejected: rejection, reached: reached, isReplay: true)
        case .refused(let error): throw error
        case nil: preconditionFailure("a command is started before it is waited for")
        }
    }

    /// Runs a command and returns when its records are handed to the log.
    func tell<C: Command>(_ command: C, _ envelope: Envelope) async throws(AskError) {
        if !hasPlace {
            try await waitInLine(envelope)
            admission.arrived()
        }
        switch start(command, envelope, nil) {
        case .refused(let error): throw error
        case .rejected(let rejection):
            throw AskError(rejected: rejection, reached: state.map { AskError.Reached(id, $0.position) })
        case .reply, .replay: break
        }
    }

    /// Runs a query on the committed state.
    @inlinable func read<Q: Query>(_ query: Q, _ envelope: Envelope) async throws(AskError) -> Answer<Q.Reply> {
        if !envelope.positions.isEmpty, let position = envelope.positions[id.number] {
            try await awaitPosition(position, envelope)
        }
        let answer = Result { () throws(AskError) in try readNow(query, envelope) }
        if needsProof { try await prove(envelope) }
        return try answer.get()
    }

    /// Whether what was read may be of a time when another node served already.
    ///
    /// Looked at after the read, so that a pause of the process in between, however long, cannot make it stale (Q1).
    @inlinable var needsProof: Bool {
        // Who does not serve any more cannot know.
        if provesReads || !isServing { return true }
        guard let lease else { return false }
        return !lease.covers(environment.clock.monotonic)
    }

    /// The same for what a command that wrote nothing rests on. The request that it repeats may have been applied.
    @usableFromInline func prove<Reply>(
        _ envelope: Envelope, of execution: PartitionCore<P>.Execution<Reply>?
    ) async throws(AskError) {
        do throws(AskError) { try await prove(envelope) } catch {
            guard execution?.isReplay == true else { throw error }
            throw AskError(.unknown, error.code, error.reason, reached: error.reached)
        }
    }

    /// Returns once the log has shown that nobody else was master when this was called (Q3).
    @usableFromInline func prove(_ envelope: Envelope) async throws(AskError) {
        let deadline = deadline(envelope, at: environment.clock.monotonic)
        guard proofs.count < environment.limits.waiting else {
            throw meter.refused(
                AskError(.notApplied, .overloaded, "too many queries wait for the log's proof of mastership"))
        }
        arm(deadline)
        let failure: AskError? = await withUnsafeContinuation { continuation in
            guard isServing else { return continuation.resume(returning: notServing()) }
            if proofs.wait(deadline, continuation) { appendProof() }
        }
        if let failure { throw meter.refused(failure) }
    }

    private func appendProof() {
        let generation = generation
        state?.appendSettled { [weak self] settlement in
            guard settlement.failure == nil else { return }
            self?.assumeIsolated { replica in
                guard generation == replica.generation, replica.proofs.proved() else { return }
                // Not in the turn that settles the one before.
                replica.executor.post { replica.assumeIsolated { $0.appendProof() } }
            }
        }
    }

    /// Runs a query that waits for nothing.
    @inlinable func readNow<Q: Query>(_ query: Q, _ envelope: Envelope) throws(AskError) -> Answer<Q.Reply> {
        guard isServing, let state else { throw meter.refused(notServing()) }
        return try answer(query, envelope, state)
    }

    @inlinable func answer<Q: Query>(
        _ query: Q, _ envelope: Envelope, _ state: StateStore
    ) throws(AskError) -> Answer<Q.Reply> {
        let begin = environment.clock.monotonic
        let result: Result<Q.Reply, Rejected>
        do throws(AskError) { result = try core.read(query, state) } catch {
            lookForDamage()
            throw meter.refused(error)
        }
        meter.counts.queries &+= 1
        reportSlow(Q.name, envelope, since: begin)
        let reached = AskError.Reached(id, state.position)
        switch result {
        case .success(let reply): return Answer(reply: reply, reached: reached)
        case .failure(let rejection):
            meter.counts.rejections &+= 1
            throw AskError(rejected: rejection, reached: reached)
        }
    }

    /// Returns when the replica, master or standby, has applied the log so far.
    @usableFromInline func awaitPosition(_ position: Position, _ envelope: Envelope) async throws(AskError) {
        let state = try reading()
        guard !state.position.covers(position) else { return }
        let now = environment.clock.monotonic
        let deadline = deadline(envelope, at: now)
        guard now < deadline else { throw meter.refused(Self.late) }
        arm(deadline)
        let settlement = await withUnsafeContinuation { continuation in
            // Looked at again: others may have run since, and nobody wakes whoever comes too late.
            guard let state = self.state, !state.position.covers(position) else {
                return continuation.resume(returning: StateStore.Settlement(position: Position([]), failure: nil))
            }
            state.wait(for: position, deadline: deadline, continuation)
        }
        if let failure = settlement.failure { throw failure }
    }

    // MARK: - Callers on the replica's executor

    /// Runs `body` isolated to the replica, whose executor the caller runs on: `assumeIsolated` without its allocations.
    ///
    /// - Parameter input: what `body` needs: it captures nothing, so that it has no context to be put on the heap.
    @inlinable nonisolated func here<Input, Output, Failure: Error>(
        _ input: Input, _ body: @escaping (isolated PartitionReplica, Input) throws(Failure) -> Output
    ) throws(Failure) -> Output {
        preconditionIsolated()
        // As in `assumeIsolated`: an isolated parameter is passed as any other.
        let plain = unsafeBitCast(IsolatedBody(run: body), to: PlainBody<Input, Output, Failure>.self)
        return try plain.run(self, input)
    }

    // Functions are cast inside of these: cast by itself, a function is wrapped into another one, on the heap.
    @usableFromInline struct IsolatedBody<Input, Output, Failure: Error> {
        @usableFromInline let run: (isolated PartitionReplica, Input) throws(Failure) -> Output

        @inlinable init(run: @escaping (isolated PartitionReplica, Input) throws(Failure) -> Output) { self.run = run }
    }

    @usableFromInline struct PlainBody<Input, Output, Failure: Error> {
        @usableFromInline let run: (PartitionReplica, Input) throws(Failure) -> Output
    }

    @inlinable nonisolated var hasPlaceHere: Bool { here(()) { replica, _ in replica.hasPlace } }

    @inlinable nonisolated func startHere<C: Command>(
        _ command: C, _ envelope: Envelope, _ continuation: UnsafeContinuation<StateStore.Settlement, Never>
    ) -> PartitionCore<P>.Execution<C.Reply> {
        here((command, envelope, continuation)) { replica, input in replica.start(input.0, input.1, input.2) }
    }

    @inlinable nonisolated var needsProofHere: Bool { here(()) { replica, _ in replica.needsProof } }

    /// Runs a query that waits for nothing, as a call like any other.
    ///
    /// - Returns: `nil` if the answer would have to wait for the log's proof.
    @inlinable nonisolated func readHere<Q: Query>(
        _ query: Q, _ envelope: Envelope
    ) throws(AskError) -> Answer<Q.Reply>? {
        try here((query, envelope)) { replica, input throws(AskError) in
            let answer = try replica.readNow(input.0, input.1)
            return replica.needsProof ? nil : answer
        }
    }

    // MARK: - The door

    /// The state, if the replica serves.
    @inlinable func serving() throws(AskError) -> StateStore {
        if isServing, let state { return state }
        throw notServing()
    }

    /// The state, if the replica serves or follows the log.
    private func reading() throws(AskError) -> StateStore {
        if isServing || machine.state == .standby, let state { return state }
        throw notServing()
    }

    @usableFromInline func notServing() -> AskError {
        AskError(
            .notApplied, machine.isFinishing || machine.state == .stopped ? .draining : .notReady, machine.refusal)
    }

    /// Whether a command can run now; true as well where it will be refused.
    @inlinable var hasPlace: Bool {
        guard isServing, let state else { return true }
        return admission.hasPlace(state.pendingCount, state.pendingBytes)
    }

    /// Returns when the caller's turn has come: nobody else gets in before it says that it has `arrived`.
    @usableFromInline func waitInLine(_ envelope: Envelope) async throws(AskError) {
        guard admission.canWait else {
            throw meter.refused(AskError(.notApplied, .overloaded, "too many commands are in flight and waiting"))
        }
        let now = environment.clock.monotonic
        let deadline = deadline(envelope, at: now)
        guard now < deadline else { throw meter.refused(Self.late) }
        arm(deadline)
        let refusal: AskError? = await withUnsafeContinuation { continuation in
            guard isServing else { return continuation.resume(returning: notServing()) }
            admission.wait(deadline, continuation)
            // Others may have run since: then no acknowledgement may come that calls it in.
            letNextIn()
        }
        if let refusal { throw meter.refused(refusal) }
    }

    /// Calls the next waiter, now that a command has run: no acknowledgement may come that does it.
    @inlinable func letNextIn() {
        guard admission.hasWaiting, let state else { return }
        admission.admit(state.pendingCount, state.pendingBytes)
    }

    @usableFromInline func reached(_ error: AskError, _ state: StateStore) -> AskError {
        var error = error
        error.reached = AskError.Reached(id, state.position)
        return error
    }

    // MARK: - Time

    /// When the caller stops waiting: the service's own deadline where the envelope gives none.
    @inlinable func deadline(_ envelope: Envelope, at now: MonotonicTime) -> MonotonicTime {
        if envelope.deadline != .never { return envelope.deadline }
        return now.advanced(nanoseconds: patience)
    }

    @usableFromInline static var late: AskError {
        AskError(.notApplied, .deadline, "the deadline had passed before the message could run")
    }

    /// What the handler saw of the command's entries was never true, again and again: its answer must not be given.
    @usableFromInline static var overtaken: AskError {
        AskError(.notApplied, .overloaded, "others write to the topic so often that no version could be relied on")
    }

    /// Reports a handler that took too long. It is not killed: nothing can undo half a handler.
    @usableFromInline func reportSlow(
        _ name: @autoclosure () -> String, _ envelope: Envelope, since begin: MonotonicTime
    ) {
        let end = environment.clock.monotonic
        guard end > begin.advanced(nanoseconds: longest) else { return }
        environment.report(
            Report(
                .warning, "a handler ran long",
                [
                    ("partition", id.description), ("message", name()),
                    ("milliseconds", String(end.since(begin).wholeMilliseconds)),
                ] + envelope.traceFields))
    }
}
