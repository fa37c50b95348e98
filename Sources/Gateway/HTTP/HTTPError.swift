public import AffinityCore

/// An answer that is an error: becomes a problem document (RFC 9457) of that status.
///
/// Handlers and middleware throw it; `AskError` and `Rejected` become one by themselves.
public struct HTTPError: Error, Sendable, CustomStringConvertible {
    /// The status, 400…599.
    public let status: Int
    /// What is wrong, in words for the caller.
    public let detail: String
    /// Further headers of the answer.
    public var headers: [(name: String, value: String)]
    /// Further members of the problem document.
    public var members: [String: String]

    /// An error of that status.
    public init(
        _ status: Int, _ detail: String, headers: [(name: String, value: String)] = [], members: [String: String] = [:]
    ) {
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members
    }

    /// The status and the detail.
    public var description: String { "\(status) \(detail)" }

    /// What an error of a service means to an HTTP client: what became of the request decides the status.
    public init(_ error: AskError) {
        var headers: [(name: String, value: String)] = []
        let status = error.outcome == .unknown ? 504 : Self.status(of: error)
        if status == 429 || status == 503 { headers.append(("Retry-After", "1")) }
        if let reached = error.reached { headers.append(("Affinity-Position", reached.token)) }
        if error.isReplay { headers.append(("Idempotency-Replayed", "true")) }
        self.init(status, error.reason, headers: headers, members: error.rejection?.details ?? [:])
    }

    /// What a handler's no means to an HTTP client.
    public init(_ rejection: Rejected) {
        self.init(Self.status(of: rejection.kind), rejection.reason, members: rejection.details)
    }

    /// The status of an error whose request has certainly written nothing.
    private static func status(of error: AskError) -> Int {
        switch error.code {
        case .rejected: status(of: error.rejection?.kind ?? .refused)
        case .overloaded: 429
        case .notReady, .moved, .draining, .deadline: 503
        case .repeated: 422
        default: 500
        }
    }

    private static func status(of kind: Rejected.Kind) -> Int {
        switch kind {
        case .invalid: 400
        case .notFound: 404
        case .conflict: 409
        case .precondition: 412
        default: 422
        }
    }
}

extension AskError.Reached {
    /// As it stands in the header `Affinity-Position`: the partition, and how far it was applied.
    public var token: String {
        // Every answer has one, so it is put together where it costs nothing.
        DigitText.text(numbers: position.offsets.count + 1, others: position.offsets.count) { text in
            text.append(Int64(partition.number))
            var separator = UInt8(ascii: ":")
            for offset in position.offsets {
                text.append(byte: separator)
                text.append(offset.rawValue)
                separator = UInt8(ascii: ".")
            }
        }
    }
}
