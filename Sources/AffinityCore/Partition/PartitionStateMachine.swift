/// The life of a replica, as a value: what happened goes in, what is to be done comes out. Does nothing itself.
///
///     starting → catchingUp → claiming → repairing → serving → draining → stopped
///                    ↑_________________________________________|  failed, and tried again under a higher epoch
struct PartitionStateMachine {
    enum State: Equatable {
        case starting
        case standby(master: NodeID?)
        case catchingUp(Epoch)
        case claiming(Epoch)
        case repairing(Epoch)
        case serving(Epoch)
        case failed(String)
        case draining
        case stopped
    }

    /// Word of what a replica did names the epoch that it did it for: what comes late is told from what counts.
    enum Event: Sendable {
        case mastership(Mastership)
        /// The log is read to its end; the highest epoch that stands in it.
        case caughtUp(Epoch, highest: Epoch)
        /// The claim is acknowledged in every changelog.
        case claimed(Epoch)
        /// The log is read to the claims, and what was in doubt is rewritten.
        case repaired(Epoch)
        /// A higher epoch stands in the log, before the claims or behind them.
        case overtaken(Epoch, by: Epoch)
        /// The settled is acknowledged in every changelog.
        case settled(Epoch)
        /// What was under way could not be done; without an epoch it is the coordinator that could not be joined.
        case failed(String, isRetriable: Bool, of: Epoch?)
        case retry
        case drain
        case drained
    }

    enum Action: Equatable {
        case none
        /// Enter the replica with the coordinator.
        case join
        /// Open memstore and log, read the log to its end.
        case catchUp(Epoch)
        /// Append a claim (C1).
        case claim(Epoch)
        /// Read the log to the claims (C2), rewrite what is in doubt (C3).
        case repair(Epoch)
        /// Append a settled (C4).
        case settle(Epoch)
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

    /// The epoch of the mastership that is being gained or held.
    var epoch: Epoch {
        switch state {
        case .catchingUp(let epoch), .claiming(let epoch), .repairing(let epoch), .serving(let epoch): epoch
        default: .none
        }
    }

    /// The last epoch that was begun, whatever became of it.
    private var latest: Epoch { grant.map { Epoch(grant: $0.number, run: run) } ?? .none }

    mutating func handle(_ event: Event) -> Action {
        switch (state, event) {
        case (.draining, .drained):
            state = .stopped
            return .release
        case (.draining, _), (.stopped, _): return .none
        case (.serving, .drain):
            state = .draining
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
        case (.repairing(let epoch), .settled(epoch)):
            state = .serving(epoch)
            return .serve(epoch)
        case (_, .failed(let reason, let isRetriable, let epoch)):
            guard epoch == nil || epoch == latest else { return .none }
            state = .failed(reason)
            return isRetriable ? .releaseAndRetry : .release
        case (.failed, .retry): return retry()
        case (_, .caughtUp), (_, .claimed), (_, .overtaken), (_, .repaired), (_, .settled), (_, .retry), (_, .drained):
            // Word of something that was given up meanwhile.
            return .none
        }
    }

    private mutating func follow(_ mastership: Mastership) -> Action {
        switch mastership {
        case .standby(let master):
            grant = nil
            state = .standby(master: master)
            return .release
        case .master(let newer):
            if let grant, newer.number <= grant.number { return .none }
            guard newer.number < 1 << 48 else {
                // Only a damaged log or coordinator leads here; an epoch has no room for it.
                state = .failed("grant \(newer.number) has more than 48 bits")
                return .release
            }
            grant = newer
            run = 0
            return catchUp()
        }
    }

    private mutating func retry() -> Action {
        guard let grant else {
            state = .starting
            return .join
        }
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
        case .claiming, .repairing, .serving: state = .failed(reason)
        default: break
        }
    }

    // MARK: - In words

    var role: ReplicaStatus.Role {
        switch state {
        case .claiming, .repairing, .serving: .master
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
