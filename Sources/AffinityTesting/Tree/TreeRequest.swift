internal import AffinityCore

/// What a session asks the tree, and who waits for the answer.
final class TreeRequest: Sendable {
    enum Question: Sendable {
        case node(String)
        case names(String)
        case changes([TreeChange])
    }

    enum Answer: Sendable {
        case node(TreeNode?)
        case names([String]?)
        case done
    }

    typealias Outcome = Result<Answer, TreeError>

    let question: Question
    let session: Int64
    /// Its place among all requests.
    let number: UInt64
    /// Whether a watch of that number is wanted.
    let isWatching: Bool
    private let continuation: CheckedContinuation<Outcome, Never>

    init(
        _ question: Question, session: Int64, number: UInt64, isWatching: Bool,
        _ continuation: CheckedContinuation<Outcome, Never>
    ) {
        self.question = question
        self.session = session
        self.number = number
        self.isWatching = isWatching
        self.continuation = continuation
    }

    var isRead: Bool {
        if case .changes = question { false } else { true }
    }

    func answer(_ outcome: Outcome) { continuation.resume(returning: outcome) }
}
