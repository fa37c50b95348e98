internal import Synchronization

/// Takes a request to a peer back, from wherever it is known that its answer is not worth waiting for.
///
/// Given to `PeerLink.ask`. It costs less than a task of its own that could be cancelled. Every method can be called on
/// any thread.
public final class Withdrawal: Sendable {
    private enum State {
        case idle
        case armed(@Sendable () -> Void)
        case withdrawn
    }

    private let state = Mutex(State.idle)

    /// Takes nothing back yet.
    public init() {}

    /// Whether the request was taken back.
    public var isWithdrawn: Bool {
        state.withLock { state in
            if case .withdrawn = state { return true }
            return false
        }
    }

    /// Ends the wait for the answer as the end of its task does; nothing happens if it has come.
    public func withdraw() {
        let body = state.withLock { state -> (@Sendable () -> Void)? in
            defer { state = .withdrawn }
            guard case .armed(let body) = state else { return nil }
            return body
        }
        body?()
    }

    /// Says what ends the wait; for the link. `body` is called once at most: at once, if the request was taken back.
    public func onWithdraw(_ body: @escaping @Sendable () -> Void) {
        let isLate = state.withLock { state in
            if case .withdrawn = state { return true }
            state = .armed(body)
            return false
        }
        if isLate { body() }
    }
}
