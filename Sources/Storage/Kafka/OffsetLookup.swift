internal import AffinityCore
internal import Synchronization

/// Looks up where changelogs end, or begin and end, for all who ask at the same time with one request to each broker: a
/// node that starts asks for thousands.
///
/// `find` runs in the pool, and waits for the brokers. Every method can be called on any thread.
final class OffsetLookup<Found: Sendable>: Sendable {
    typealias Answer = Result<[Found], LogError>

    private struct Question: Sendable {
        var streams: [ChangelogStream]
        var answer: CheckedContinuation<Answer, Never>
    }

    private struct State {
        var waiting: [Question] = []
        var isAsking = false
    }

    private let state = Mutex(State())
    private let pool: BlockingPool

    /// How many changelogs are asked for at a time.
    private let most = 1_000

    init(_ pool: BlockingPool) { self.pool = pool }

    /// Asks the brokers; patiently, for those who ask alone.
    typealias Find = @Sendable (_ streams: [ChangelogStream], _ isAlone: Bool) throws(LogError) -> [Found]

    func offsets(of streams: [ChangelogStream], _ find: @escaping Find) async throws(LogError) -> [Found] {
        try await withCheckedContinuation { answer in
            let isFirst = state.withLock { state in
                state.waiting.append(Question(streams: streams, answer: answer))
                defer { state.isAsking = true }
                return !state.isAsking
            }
            if isFirst { pool.start { [self] in work(find) } }
        }.get()
    }

    private func work(_ find: @escaping Find) {
        while let questions = next() {
            do throws(LogError) {
                var found = try find(questions.flatMap(\.streams), false)[...]
                for question in questions {
                    question.answer.resume(returning: .success(Array(found.prefix(question.streams.count))))
                    found = found.dropFirst(question.streams.count)
                }
            } catch {
                // One partition without a leader is reason enough for all to fail: then each is asked for alone, and
                // those who come meanwhile do not wait for it.
                for question in questions { pool.start { [self] in answer(question, find) } }
            }
        }
    }

    private func answer(_ question: Question, _ find: Find) {
        question.answer.resume(returning: Result { () throws(LogError) in try find(question.streams, true) })
    }

    private func next() -> [Question]? {
        state.withLock { state in
            guard !state.waiting.isEmpty else {
                state.isAsking = false
                return nil
            }
            var count = 0
            let taken = state.waiting.prefix { question in
                defer { count += question.streams.count }
                return count == 0 || count + question.streams.count <= most
            }
            state.waiting.removeFirst(taken.count)
            return Array(taken)
        }
    }
}
