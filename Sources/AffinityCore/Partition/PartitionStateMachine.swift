/// The life of a replica, as a value: what happened goes in, what is to be done comes out. Does nothing itself.
///
///     starting → catchingUp → claiming → serving → draining → stopped
///                    ↑____________________________|  failed, and tried again under a higher epoch
struct PartitionStateMachine {
    enum State: Equatable {
        case starting
        case standby(master: NodeID?)
        case catchingUp(Epoch)
        case claiming(Epoch)
        case serving(Epoch)
        case failed(String)
        case draining
        case stopped
    }

    enum Event: Sendable {
        case mastership(Mastership)
        /// The log is read to its end; the highest epoch that stands in it.
        case caughtUp(highest: Epoch)
        /// The claim and the settled are acknowledged.
        case settled
        /// Whatever was under way could not be done.
        case failed(String, isRetriable: Bool)
        case retry
        case drain
        case drained
    }

    enum Action: Equatable {
        case none
        /// Open memstore and log, read the log to its end.
        case catchUp(Epoch)
        /// Append claim and settled, wait for their acks.
        case claim(Epoch)
        case serve(Epoch)
        /// Ask the coordinator for a grant above this one.
        case renew(above: UInt64)
        /// Let go of memstore and log.
        case release
        /// Let go of them, and send `retry` after a while.
        case releaseAndRetry
        /// Wait for what is in flight, then send `drained`.
        case drain
    }

    private(set) var state = State.starting
    /// The last grant, and the last run under it: an epoch is never used twice.
    private var grant: Grant?
    private var run: UInt16 = 0

    var isServing: Bool { if case .serving = state { true } else { false } }

    var epoch: Epoch {
        switch state {
        case .catchingUp(let epoch), .claiming(let epoch), .serving(let epoch): epoch
        default: .none
        }
    }

    mutating func handle(_ event: Event) -> Action {
        switch (state, event) {
        case (.draining, .drained):
            state = .stopped
            return .release
        case (.draining, _), (.stopped, _): return .none
        case (_, .drain):
            state = .draining
            return .drain
        case (_, .mastership(.standby(let master))):
            grant = nil
            state = .standby(master: master)
            return .release
        case (_, .mastership(.master(let newer))):
            if let grant, newer.number <= grant.number { return .none }
            grant = newer
            run = 0
            return catchUp()
        case (.catchingUp(let epoch), .caughtUp(let highest)):
            guard epoch > highest else { return .renew(above: highest.grant) }
            state = .claiming(epoch)
            return .claim(epoch)
        case (.claiming(let epoch), .settled):
            state = .serving(epoch)
            return .serve(epoch)
        case (_, .failed(let reason, let isRetriable)):
            state = .failed(reason)
            return isRetriable ? .releaseAndRetry : .release
        case (.failed, .retry):
            guard let grant else { return .none }
            // An epoch that failed may have left records; the next one must be higher (W1).
            guard run < .max else { return .renew(above: grant.number) }
            run += 1
            return catchUp()
        case (_, .caughtUp), (_, .settled), (_, .retry), (_, .drained):
            // Word of something that was given up meanwhile.
            return .none
        }
    }

    private mutating func catchUp() -> Action {
        guard let grant else { return .none }
        let epoch = Epoch(grant: grant.number, run: run)
        state = .catchingUp(epoch)
        return .catchUp(epoch)
    }

    /// A master that must step down stops serving at once; the event that says so follows.
    mutating func suspendServing(_ reason: String) {
        if case .serving = state { state = .failed(reason) }
    }

    // MARK: - In words

    var role: ReplicaStatus.Role {
        switch state {
        case .claiming, .serving: .master
        case .standby: .standby
        default: .none
        }
    }

    var statusState: ReplicaStatus.State {
        switch state {
        case .starting: .starting
        case .standby: .standby
        case .catchingUp: .catchingUp
        case .claiming: .claiming
        case .serving: .serving
        case .failed: .failed
        case .draining: .handingOver
        case .stopped: .stopped
        }
    }

    var failure: String? { if case .failed(let reason) = state { reason } else { nil } }

    /// What a caller is told who comes while the replica does not serve.
    var refusal: String {
        switch state {
        case .failed(let reason): "the partition failed: \(reason)"
        case .draining, .stopped: "the partition is stopping"
        default: "the partition is not ready: \(statusState.rawValue)"
        }
    }
}
