/// Why a message got no reply. It always tells which of three things is true.
public struct AskError: Error, Sendable, CustomStringConvertible {
    /// What became of the message.
    public enum Outcome: String, Sendable {
        /// The handler said no. Nothing was written.
        case rejected
        /// It is certain that nothing was, and will be, written; the message can be sent again.
        case notApplied
        /// The command may or may not be written, now or later.
        case unknown
    }

    /// What the cause was.
    public struct Code: Hashable, Sendable {
        private enum Kind: String { case rejected, overloaded, notReady, moved, draining, deadline, failed, repeated }
        private let kind: Kind

        private init(kind: Kind) { self.kind = kind }

        /// The code's name between nodes.
        package var name: String { kind.rawValue }

        /// The code of that name.
        package init?(name: String) {
            guard let kind = Kind(rawValue: name) else { return nil }
            self.kind = kind
        }

        /// The handler said no; see `rejection`.
        public static let rejected = Code(kind: .rejected)
        /// Too many commands are in flight and waiting.
        public static let overloaded = Code(kind: .overloaded)
        /// The partition has no master, or is not ready yet.
        public static let notReady = Code(kind: .notReady)
        /// Another node is master of the partition.
        public static let moved = Code(kind: .moved)
        /// The partition is being handed over or the node is stopping.
        public static let draining = Code(kind: .draining)
        /// The deadline passed.
        public static let deadline = Code(kind: .deadline)
        /// The handler did what it must not, or what it reads is damaged; the reason says which.
        public static let failed = Code(kind: .failed)
        /// Another request was made under the same idempotency key.
        public static let repeated = Code(kind: .repeated)
    }

    /// Behind one reference, because every answer has room for an error and few have one.
    private var parts: Parts

    private final class Parts: Sendable {
        let outcome: Outcome
        let code: Code
        let reason: String
        let rejection: Rejected?
        let reached: Reached?
        let isReplay: Bool

        init(
            _ outcome: Outcome, _ code: Code, _ reason: String, _ rejection: Rejected?, _ reached: Reached?,
            isReplay: Bool
        ) {
            self.outcome = outcome
            self.code = code
            self.reason = reason
            self.rejection = rejection
            self.reached = reached
            self.isReplay = isReplay
        }
    }

    /// What became of the message.
    public var outcome: Outcome { parts.outcome }
    /// What the cause was.
    public var code: Code { parts.code }
    /// What happened, in words.
    public var reason: String { parts.reason }
    /// The handler's no.
    public var rejection: Rejected? { parts.rejection }
    /// Whether this is the repeated answer of a former request with the same idempotency key.
    public var isReplay: Bool { parts.isReplay }
    /// The partition that answered, and how far it was applied; `nil` if the message did not reach one.
    public package(set) var reached: Reached? {
        get { parts.reached }
        set {
            parts = Parts(outcome, code, reason, rejection, newValue, isReplay: isReplay)
        }
    }

    /// Where a message was answered.
    public struct Reached: Hashable, Sendable {
        /// The partition.
        public let partition: PartitionID
        /// How far it was applied.
        public let position: Position

        @usableFromInline init(_ partition: PartitionID, _ position: Position) {
            self.partition = partition
            self.position = position
        }
    }

    package init(
        _ outcome: Outcome, _ code: Code, _ reason: String, reached: Reached? = nil, isReplay: Bool = false
    ) {
        parts = Parts(outcome, code, reason, nil, reached, isReplay: isReplay)
    }

    @usableFromInline package init(rejected rejection: Rejected, reached: Reached?, isReplay: Bool = false) {
        parts = Parts(.rejected, .rejected, rejection.reason, rejection, reached, isReplay: isReplay)
    }

    /// Whether sending the message again may help: it was not applied, for a cause that passes.
    public var isRetriable: Bool {
        outcome == .notApplied && [.overloaded, .notReady, .moved, .draining].contains(code)
    }

    /// Whether another node, or this one a little later, may do what this replica did not.
    var isElsewhere: Bool { outcome == .notApplied && [.notReady, .moved, .draining].contains(code) }

    /// The outcome and the reason.
    public var description: String {
        switch outcome {
        case .rejected: "rejected: \(reason)"
        case .notApplied: "not applied: \(reason)"
        case .unknown: "unknown whether applied: \(reason)"
        }
    }
}
