/// A standby: reads on for ever, and answers queries that may be a little old (PROTOCOL §3).
extension PartitionReplica {
    /// Begins to read, and goes on until `stopFollowing`.
    func follow() {
        guard following == nil, !isStopping else { return }
        following = Task(executorPreference: executor) { await self.followLog() }
    }

    /// Returns when nothing is read any more. What was read stays.
    func stopFollowing() async {
        guard let following else { return }
        following.cancel()
        await following.value
        self.following = nil
        restoring = nil
    }

    private func followLog() async {
        say(.behind)
        await giveFailures(of: .none) {
            do {
                try await readToEnd()
                say(.level)
                while !Task.isCancelled, !isStopping {
                    try await readOn()
                    try await lookAgain()
                    // It may have been made anew meanwhile.
                    if levelTime() != nil { say(.level) }
                }
            } catch  where Task.isCancelled || isStopping {
                // Whoever ended it knows.
            }
        }
    }

    /// If something that was read has waited for very long, finds out where the log ends: compaction may have taken what
    /// it waits for (R1).
    private func lookAgain() async throws {
        let now = environment.clock.monotonic
        guard let state, state.isWaiting else { return waitingSince = nil }
        guard let since = waitingSince else { return waitingSince = now }
        if now.since(since) < environment.deadline { return }
        waitingSince = nil
        try await readToEnd()
    }

    /// Waits until something is written, and reads it.
    private func readOn() async throws {
        guard let state, let log else { return }
        let next = core.stores.indices.map(state.readNext)
        let grown = try await Self.grown(log, beyond: next, executor)
        let seen = core.stores.indices.reduce(environment.clock.monotonic) { min($0, log.endSeen($1)) }
        var ends = core.stores.indices.map { max(next[$0], log.end($0)) }
        ends[grown] = max(ends[grown], next[grown].next)
        try await read(to: ends, seen: seen == .notYet ? nil : seen)
    }

    /// The first changelog that goes beyond `next`.
    private static func grown(
        _ log: any PartitionLog, beyond next: [Offset], _ executor: any EventExecutor
    ) async throws -> Int {
        try await withThrowingTaskGroup(of: Int.self) { group in
            for (changelog, offset) in next.enumerated() {
                group.addTask(executorPreference: executor) {
                    try await log.waitForRecords(changelog, beyond: offset)
                    return changelog
                }
            }
            defer { group.cancelAll() }
            guard let grown = try await group.next() else { throw LogError(.shape, "a partition without changelogs") }
            return grown
        }
    }

    // MARK: - How old its knowledge is

    /// When the standby was last known to have applied everything that stood in the log; `nil` if it never has.
    func levelTime() -> MonotonicTime? {
        guard let state, let log else { return nil }
        var seen = environment.clock.monotonic
        for changelog in core.stores.indices {
            // In this order: an end that is heard of in between is only further.
            let asked = log.endSeen(changelog)
            // An end that nobody has asked for yet says nothing.
            guard asked != .notYet else { return levelAt }
            seen = min(seen, asked)
            guard state.position.offsets[changelog] >= log.end(changelog) else { return levelAt }
        }
        state.isLevel(asOf: seen)
        levelAt = max(levelAt ?? seen, seen)
        return levelAt
    }

    /// Whether a claim may stand before the rest of the log is read: nothing that was read waits for what comes next, and
    /// little can have been written since.
    var keepsUp: Bool {
        guard let state, state.isShared, !state.isWaiting, let level = levelTime() else { return false }
        return environment.clock.monotonic.since(level) <= .seconds(1)
    }

    /// Runs a query on what a standby knows, if that is not older than `maxLag`.
    ///
    /// - Returns: `nil` if it cannot answer, and the master has to.
    @usableFromInline func readStale<Q: Query>(
        _ query: Q, _ maxLag: Duration, _ envelope: Envelope
    ) async throws(AskError) -> Answer<Q.Reply>? {
        guard isYounger(than: maxLag) else { return nil }
        if let position = envelope.positions[id.number] { try await awaitPosition(position, envelope) }
        guard isYounger(than: maxLag), let state, let level = levelTime() else { return nil }
        var answer = try answer(query, envelope, state)
        answer.age = max(.zero, environment.clock.monotonic.since(level))
        return answer
    }

    private func isYounger(than maxLag: Duration) -> Bool {
        guard machine.state == .standby, let level = levelTime() else { return false }
        return environment.clock.monotonic.since(level) <= maxLag
    }

    // MARK: - How it is doing

    /// Looks every second, for as long as the log is open, whether the replica comes on.
    func lookAfter(_ generation: Int) {
        guard generation == self.generation, state != nil else { return }
        let now = environment.clock.monotonic
        if isServing || machine.isBecomingMaster { lookAfterMaster(now) } else { lookAfterStandby(now) }
        keepLevel()
        executor.schedule(at: now.advanced(by: .seconds(1))) { [weak self] in
            self?.assumeIsolated { $0.lookAfter(generation) }
        }
    }

    /// A master whose log takes nothing any more is none that others should wait for.
    private func lookAfterMaster(_ now: MonotonicTime) {
        guard let state, state.isShared else { return }
        let acknowledged = state.position
        if acknowledged != progress.position || (isServing && state.isIdle) { progress = (acknowledged, now) }
        let isStuck = now.since(progress.at) > environment.deadline
        if isStuck { say(.failed) } else if isServing { say(.serving) }
    }

    /// A standby that hears nothing of the log's ends any more is not level, whatever it was.
    private func lookAfterStandby(_ now: MonotonicTime) {
        guard machine.state == .standby, let level = levelTime() else { return }
        say(now.since(level) > environment.deadline ? .behind : .level)
    }

    /// Keeps it in the memstore that it is level, so that a quiet time does not look like an absence (§7).
    private func keepLevel() {
        guard let state, damage == nil, state.broken == nil else { return }
        let age = environment.clock.now.milliseconds.subtractingReportingOverflow(state.kept.milliseconds)
        let isOld = age.overflow || age.partialValue > environment.deleteRetention.wholeMilliseconds / 16
        guard isOld, isServing || levelTime() != nil else { return }
        do throws(MemStoreError) { try state.keepLevel(isMaster: isServing) } catch {
            environment.report(
                Report(.warning, "memstore not written", [("partition", id.description), ("reason", error.reason)]))
        }
    }
}
