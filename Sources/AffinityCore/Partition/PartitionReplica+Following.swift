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
                while !Task.isCancelled, !isStopping { try await readOn() }
            } catch  where Task.isCancelled || isStopping {
                // Whoever ended it knows.
            }
        }
    }

    /// Waits until something is written, and reads it.
    private func readOn() async throws {
        guard let state, let log else { return }
        let next = core.stores.indices.map(state.readNext)
        guard let grown = await Self.grown(log, beyond: next, executor) else { return }
        var ends = core.stores.indices.map { max(next[$0], log.end($0)) }
        ends[grown] = max(ends[grown], next[grown].next)
        try await read(to: ends)
        _ = levelTime()
    }

    /// The first changelog that goes beyond `next`; `nil` if the log is closed or the task cancelled.
    private static func grown(
        _ log: any PartitionLog, beyond next: [Offset], _ executor: any EventExecutor
    ) async -> Int? {
        await withTaskGroup(of: Int?.self) { group in
            for (changelog, offset) in next.enumerated() {
                group.addTask(executorPreference: executor) {
                    do { try await log.waitForRecords(changelog, beyond: offset) } catch { return nil }
                    return changelog
                }
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
    }

    // MARK: - How old its knowledge is

    /// When the standby was last known to have applied everything that stood in the log; `nil` if it never has.
    func levelTime() -> MonotonicTime? {
        guard let state, let log else { return nil }
        var seen = environment.clock.monotonic
        for changelog in core.stores.indices {
            // In this order: an end that is heard of in between is only further.
            seen = min(seen, log.endSeen(changelog))
            guard state.position.offsets[changelog] >= log.end(changelog) else { return levelAt }
        }
        state.isLevel()
        levelAt = max(levelAt ?? seen, seen)
        return levelAt
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
        var answer = try answer(query, state)
        answer.age = environment.clock.monotonic.since(level)
        return answer
    }

    private func isYounger(than maxLag: Duration) -> Bool {
        guard machine.state == .standby, let level = levelTime() else { return false }
        return environment.clock.monotonic.since(level) <= maxLag
    }
}
