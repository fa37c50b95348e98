/// What others write to the log of a partition that is served here (PROTOCOL W3, W6).
extension PartitionReplica {
    /// Reads a gap and folds it; acks that come meanwhile wait for that.
    func read(_ gap: StateStore.Gap, _ state: StateStore) {
        guard let log else { return }
        let generation = generation
        Task(executorPreference: executor) {
            do {
                let page = try await self.page(of: log, gap.changelog, from: gap.range.lowerBound)
                await self.fold(page, of: gap, generation)
            } catch {
                await self.fail(gap, error, generation)
            }
        }
    }

    private func fold(_ page: LogPage, of gap: StateStore.Gap, _ generation: Int) {
        guard generation == self.generation, let state else { return }
        follow(state.fold(page, of: gap, lag: environment.compactionLag), state)
        // Another changelog may have one too.
        if generation == self.generation, isServing, let next = state.idleGap() { read(next, state) }
    }

    private func fail(_ gap: StateStore.Gap, _ error: any Error, _ generation: Int) {
        guard generation == self.generation, let state else { return }
        let reason = (error as? LogError)?.reason ?? "\(error)"
        stepDown(
            StateStore.StepDown(
                reason: "what others wrote at \(gap.range) cannot be read: \(reason)", isRetriable: true), state)
    }

    // MARK: - W6

    /// Looks, for as long as this mastership lasts, whether others have written while nothing was on its way, and
    /// covers the last records once it has been quiet for a second.
    func watchLog() {
        guard let state, state.isShared else { return }
        look(generation, quietSince: environment.clock.monotonic)
    }

    private func look(_ generation: Int, quietSince: MonotonicTime) {
        guard generation == self.generation, let state, isServing else { return }
        let now = environment.clock.monotonic
        if let broken = state.broken { return stepDown(broken, state) }
        if let gap = state.idleGap() { read(gap, state) }
        var quietSince = state.isIdle ? quietSince : now
        if state.owesCover, now >= quietSince.advanced(by: .seconds(1)) {
            state.appendSettled { _ in }
            quietSince = now
        }
        executor.schedule(at: now.advanced(by: environment.poll)) { [weak self, quietSince] in
            self?.assumeIsolated { $0.look(generation, quietSince: quietSince) }
        }
    }
}
