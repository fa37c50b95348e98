internal import AffinityCore
internal import AffinityNet

extension WebSocketCloseCode {
    /// How a WebSocket is closed for an error of what was to be sent over it, and the reason for its client.
    static func closing(_ error: any Error, _ report: Reporter) -> (code: WebSocketCloseCode, reason: String) {
        switch error {
        case let error as HTTPError: return (error.status < 500 ? .policyViolation : .internalError, error.detail)
        case let error as Rejected: return (.policyViolation, error.reason)
        case let error as AskError: return (WebSocketCloseCode(error), error.reason)
        case is CancellationError: return (.goingAway, "")
        default:
            report(Report(.error, "a WebSocket's handler failed", [("error", "\(error)")]))
            return (.internalError, "the server failed")
        }
    }

    /// What an error of a service means to a client: 1013 if it can try again.
    private init(_ error: AskError) {
        switch error.outcome {
        case .rejected: self = .policyViolation
        case .notApplied: self = error.code == .failed ? .internalError : .tryAgainLater
        case .unknown: self = .internalError
        }
    }

    /// What the end of a watch means to a client: where it can resume, 1013, or 1001 on another node.
    init(_ code: WatchError.Code) {
        switch code {
        case .draining: self = .goingAway
        case .tooSlow, .notReady, .overloaded: self = .tryAgainLater
        case .refused: self = .policyViolation
        default: self = .internalError
        }
    }
}
