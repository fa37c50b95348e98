internal import AffinityCore
internal import CZooKeeper

/// What the servers are asked, and who waits for the answer.
///
/// C is given a plain pointer to it. It stays valid because the session keeps each request that C knows of until the
/// answer has come, or C's threads have ended: C does not promise to call back for each.
/// Unchecked: `results` is touched by C's thread only, between the call and the answer, and by whoever answers.
final class ZooKeeperRequest: @unchecked Sendable {
    enum Question: Sendable {
        case node(String)
        case existence(String)
        case names(String)
        case changes([TreeChange])
    }

    enum Answer: Sendable {
        case node(TreeNode?)
        case existence(Bool)
        case names([String]?)
        case done
    }

    typealias Outcome = Result<Answer, TreeError>

    let question: Question
    let client: ZooKeeperClient
    /// The number of the watch that is set with it; 0 if there is none.
    let watch: UInt
    private let continuation: CheckedContinuation<Outcome, Never>
    /// What became of each of several changes: written by C until the answer has come.
    let results: UnsafeMutablePointer<zoo_op_result_t>?

    init(
        _ question: Question, _ client: ZooKeeperClient, watch: UInt,
        _ continuation: CheckedContinuation<Outcome, Never>
    ) {
        self.question = question
        self.client = client
        self.watch = watch
        self.continuation = continuation
        let count = question.operations
        results = count > 0 ? .allocate(capacity: count) : nil
        results?.initialize(repeating: zoo_op_result_t(), count: count)
    }

    deinit { results?.deallocate() }

    /// Lets the caller go on. Called once.
    func answer(_ outcome: Outcome) { continuation.resume(returning: outcome) }

    /// Whether it may be asked again after its answer was lost.
    var isRead: Bool {
        if case .changes = question { false } else { true }
    }

    /// What it is about, for the reason of an error: the change that did not fit, if it is known.
    var subject: String {
        switch question {
        case .node(let path), .existence(let path), .names(let path): path
        case .changes(let changes): Self.path(changes[failed(of: changes.count)])
        }
    }

    private func failed(of count: Int) -> Int {
        guard let results else { return 0 }
        // Those before the failed one have no error, those behind it the one of an inconsistency.
        return (0..<count).first { results[$0].err != 0 && results[$0].err != ZRUNTIMEINCONSISTENCY.rawValue } ?? 0
    }

    static func path(_ change: TreeChange) -> String {
        switch change {
        case .create(let path, _, _), .set(let path, _, _), .delete(let path, _), .check(let path, _): path
        }
    }

    /// The pointer that C gives back with the answer. Who calls keeps the object alive.
    var context: UnsafeRawPointer { UnsafeRawPointer(Unmanaged.passUnretained(self).toOpaque()) }

    /// The request that C was given as `context`.
    static func from(_ context: UnsafeRawPointer?) -> ZooKeeperRequest? {
        context.map { Unmanaged<ZooKeeperRequest>.fromOpaque($0).takeUnretainedValue() }
    }
}

extension ZooKeeperRequest.Question {
    /// How many operations C has to do together; 0 if it has a call for what is asked.
    var operations: Int {
        guard case .changes(let changes) = self else { return 0 }
        if changes.count == 1, case .check = changes[0] { return 1 }
        return changes.count == 1 ? 0 : changes.count
    }
}
