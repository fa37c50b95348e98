/// Those who wait: for a command, for a position; and what they are told when that does not come.
extension StateStore {
    /// The earliest deadline of what waits here, `never` if nothing does.
    var earliestDeadline: MonotonicTime {
        var earliest = MonotonicTime.never
        for place in 0..<pending.count {
            if case .continuation = pending[place].waiter { earliest = min(earliest, pending[place].deadline) }
        }
        for waiting in positionWaiters { earliest = min(earliest, waiting.deadline) }
        return earliest
    }

    /// Tells those whose deadline has passed that the outcome is unknown; their commands go on (W5).
    func expire(at time: MonotonicTime) {
        for place in 0..<pending.count where pending[place].deadline <= time {
            let waiter = pending[place].waiter
            pending[place].waiter = .nobody
            fail(waiter, pending[place].lost, .deadline, "the deadline passed before the log acknowledged")
        }
        let late = positionWaiters.filter { $0.deadline <= time }
        guard !late.isEmpty else { return }
        positionWaiters.removeAll { $0.deadline <= time }
        for waiting in late {
            fail(waiting.waiter, .notApplied, .deadline, "the replica has not come to the position asked for")
        }
    }

    /// Ends the mastership: nothing that is on its way is waited for any longer (W5).
    func abandon(_ reason: String) {
        while let command = pending.popFirst() {
            fail(command.waiter, command.lost, .notReady, reason)
        }
        for waiting in positionWaiters { fail(waiting.waiter, .notApplied, .notReady, reason) }
        positionWaiters.removeAll()
        for index in overlays.indices { overlays[index].removeAll() }
        pendingBytes = 0
    }

    /// Answers `continuation` when the partition has been applied up to `position`; at once if too many wait already.
    func wait(
        for position: Position, deadline: MonotonicTime, _ continuation: UnsafeContinuation<Settlement, Never>
    ) {
        guard positionWaiters.count < limits.waiting else {
            return fail(
                .continuation(continuation), .notApplied, .overloaded, "too many queries wait for a position")
        }
        positionWaiters.append((position, deadline, .continuation(continuation)))
    }

    func releasePositionWaiters() {
        guard !positionWaiters.isEmpty else { return }
        let reached = positionWaiters.filter { position.covers($0.position) }
        guard !reached.isEmpty else { return }
        positionWaiters.removeAll { position.covers($0.position) }
        for waiting in reached { waiting.waiter.release(Settlement(position: position)) }
    }

    func fail(_ waiter: Waiter, _ outcome: AskError.Outcome, _ code: AskError.Code, _ reason: String) {
        let settlement = failed(outcome, code, reason)
        if waiter.isCaller, let failure = settlement.failure { _ = meter.refused(failure) }
        waiter.release(settlement)
    }

    private func failed(_ outcome: AskError.Outcome, _ code: AskError.Code, _ reason: String) -> Settlement {
        Settlement(
            position: position,
            failure: AskError(outcome, code, reason, reached: AskError.Reached(partition, position)))
    }
}
