/// The life of a replica, as a value: what happened goes in, what is to be done comes out. Does nothing itself.
///
///     starting → standby → catchingUp → claiming → repairing → serving → retiring → standby
///        absent                 ↑___________ failed, and tried again under a higher epoch
///                                                                 any of them → draining → stopped
struct PartitionStateMachine {
    enum State: Equatable {
        case starting
        case absent
        case standby
        case catchingUp(Epoch)
        case claiming(Epoch)
        case repairing(Epoch)
        case serving(Epoch)
        /// Answers what is in flight, to hand over.
        case retiring(Epoch)
        case failed(String)
        /// Answers what is in flight, to end.
        case draining(Epoch)
        case stopped
    }

    /// Word of what a replica did names the epoch that it did it for: what comes late is told from what counts.
    enum Event: Sendable {
        case mastership(Mastership)
        /// The log is read to its end, or nearly; the highest epoch that was read.
        case caughtUp(Epoch, highest: Epoch)
        /// The claim is acknowledged in every changelog.
        case claimed(Epoch)
        /// The log is read to the claims, and what was in doubt is rewritten.
        case repaired(Epoch)
        /// A higher epoch stands in the log, before the claims or behind them.
        case overtaken(Epoch, by: Epoch)
        /// The settled is acknowledged in every changelog.
        case settled(Epoch)
        /// No former master can answer from its lease any more (Q2).
        case confirmed(Epoch)
        /// What was under way could not be done. A standby has no epoch; without any it is the coordinator that could
        /// not be joined.
        case failed(String, isRetriable: Bool, of: Epoch?)
        case retry
        case drain
        /// What was in flight is answered.
        case drained
    }

    enum Action: Equatable {
        case none
        /// Enter the replica with the coordinator.
        case join
        /// Let go of log and memstore.
        case release
        /// Open memstore and log, and read on for ever.
        case follow
        /// Open memstore and log if they are not, read the log to its end unless little stands there.
        case catchUp(Epoch)
        /// Append a claim (C1).
        case claim(Epoch)
        /// Read the log to the claims (C2), rewrite what is in doubt (C3).
        case repair(Epoch)
        /// Append a settled (C4).
        case settle(Epoch)
        /// Wait for the end of former leases (Q2).
        case confirm(Epoch)
        case serve(Epoch)
        /// Ask the coordinator for a grant above this one.
        case renew(above: UInt64)
        /// Let go of the log, and send `retry` after a while.
        case releaseAndRetry
        /// Wait for what is in flight, then send `drained`.
        case drain
        /// Let go of the log, give the mastership back, and follow.
        case handBack(UInt64)
    }

    private(set) var state = State.starting
    /// The coordinator's newest word.
    private var word: Mastership?
    /// The last grant, and the last run under it: an epoch is never used twice.
    private(set) var grant: Grant?
    private var run: UInt16 = 0

    var isServing: Bool { if case .serving = state { true } else { false } }

    /// The epoch of the mastership that is being gained, held or given up.
    var epoch: Epoch {
        switch state {
        case .catchingUp(let epoch), .claiming(let epoch), .repairing(let epoch), .serving(let epoch),
            .retiring(let epoch), .draining(let epoch):
            epoch
        default: .none
        }
    }

    /// Whether the replica is about to serve: whoever asks it may wait here.
    var isBecomingMaster: Bool {
        switch state {
        case .catchingUp, .claiming, .repairing: true
        default: false
        }
    }

    /// Whether it takes nothing new, and finishes what it has.
    var isFinishing: Bool {
        switch state {
        case .retiring, .draining: true
        default: false
        }
    }

    /// The last epoch that was begun, whatever became of it; `.none` for a standby.
    private var latest: Epoch { grant.map { Epoch(grant: $0.number, run: run) } ?? .none }

    mutating func handle(_ event: Event) -> Action {
        switch (state, event) {
        case (.draining, .drained):
            state = .stopped
            return .release
        case (.draining, _), (.stopped, _): return .none
        case (.serving(let epoch), .drain), (.retiring(let epoch), .drain):
            state = .draining(epoch)
            return .drain
        case (_, .drain):
            // Nobody but the replica itself waits for what is under way.
            state = .stopped
            return .release
        case (_, .mastership(let mastership)): return follow(mastership)
        case (.catchingUp(let epoch), .caughtUp(epoch, let highest)):
            guard epoch > highest else { return .renew(above: highest.grant) }
            state = .claiming(epoch)
            return .claim(epoch)
        case (.claiming(let epoch), .claimed(epoch)):
            state = .repairing(epoch)
            return .repair(epoch)
        case (.repairing, .overtaken(epoch, let other)): return .renew(above: other.grant)
        case (.repairing(let epoch), .repaired(epoch)): return .settle(epoch)
        case (.repairing(let epoch), .settled(epoch)): return .confirm(epoch)
        case (.repairing(let epoch), .confirmed(epoch)):
            state = .serving(epoch)
            return .serve(epoch)
        case (.retiring(let epoch), .drained):
            state = .standby
            grant = nil
            return .handBack(epoch.grant)
        case (_, .failed(let reason, let isRetriable, let epoch)):
            guard epoch == nil || epoch == latest else { return .none }
            if case .retiring(let retired) = word, grant != nil {
                // Another one is to serve: nothing is tried again here.
                state = .standby
                grant = nil
                return .handBack(retired.number)
            }
            state = .failed(reason)
            return isRetriable ? .releaseAndRetry : .release
        case (.failed, .retry): return retry()
        case (_, .caughtUp), (_, .claimed), (_, .overtaken), (_, .repaired), (_, .settled), (_, .confirmed),
            (_, .retry),
            (_, .drained):
            // Word of something that was given up meanwhile.
            return .none
        }
    }

    private mutating func follow(_ mastership: Mastership) -> Action {
        defer { word = mastership }
        switch mastership {
        case .absent:
            grant = nil
            state = .absent
            return .release
        case .standby:
            grant = nil
            if state == .standby { return .none }
            state = .standby
            return .follow
        case .master(let newer):
            if let grant, newer.number <= grant.number { return .none }
            // What was handed back is not taken again.
            if case .retiring(let former) = word, newer.number <= former.number { return .none }
            return take(newer)
        case .retiring(let retired): return retire(retired)
        }
    }

    private mutating func take(_ newer: Grant) -> Action {
        guard newer.number < 1 << 48 else {
            // Only a damaged log or coordinator leads here; an epoch has no room for it.
            state = .failed("grant \(newer.number) has more than 48 bits")
            return .release
        }
        grant = newer
        run = 0
        return catchUp()
    }

    private mutating func retire(_ retired: Grant) -> Action {
        if case .serving(let epoch) = state, epoch.grant == retired.number {
            state = .retiring(epoch)
            return .drain
        }
        if case .retiring = state { return .none }
        if word == .retiring(retired) { return .none }
        // It has not begun to serve: there is nothing to answer.
        state = .standby
        grant = nil
        return .handBack(retired.number)
    }

    private mutating func retry() -> Action {
        switch word {
        case nil:
            state = .starting
            return .join
        case .absent: return .none
        case .standby:
            state = .standby
            return .follow
        case .retiring(let retired):
            state = .standby
            grant = nil
            return .handBack(retired.number)
        case .master: break
        }
        guard let grant else { return .none }
        // An epoch that failed may have left records; the next one must be higher (W1).
        guard run < .max else { return .renew(above: grant.number) }
        run += 1
        return catchUp()
    }

    private mutating func catchUp() -> Action {
        state = .catchingUp(latest)
        return .catchUp(latest)
    }

    /// A master, or whoever is about to be one, that must step down does so at once; the event that says so follows.
    /// Word that waits in the inbox then finds that it comes too late.
    mutating func suspend(_ reason: String) {
        switch state {
        case .claiming, .repairing, .serving, .retiring: state = .failed(reason)
        default: break
        }
    }

    // MARK: - In words

    var role: ReplicaStatus.Role {
        switch state {
        case .claiming, .repairing, .serving, .retiring, .draining: .master
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
        case .repairing: .repairing
        case .serving: .serving
        case .failed: .failed
        case .retiring, .draining: .handingOver
        case .absent, .stopped: .stopped
        }
    }

    var failure: String? { if case .failed(let reason) = state { reason } else { nil } }

    /// What a caller is told who comes while the replica does not serve.
    var refusal: String {
        switch state {
        case .failed(let reason): "the partition failed: \(reason)"
        case .retiring: "the partition is being handed over"
        case .draining, .stopped: "the partition is stopping"
        case .absent, .standby: "another node is master of the partition"
        default: "the partition is not ready: \(statusState.rawValue)"
        }
    }
}
