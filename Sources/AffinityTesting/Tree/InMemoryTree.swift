public import AffinityCore
internal import Synchronization

/// A model of ZooKeeper in memory, for tests: it keeps every promise of a real one and does nothing by itself.
///
/// No time passes: a session ends when `expire` or `close` is called. What a test does to it: sessions that expire or
/// lose their connection, servers that are away, a server that lags behind, answers that get lost. Without `schedule`
/// every request is carried out and answered inside its call, and watches are called inside the call that makes the
/// change; with it, the test decides when. Every method can be called on any thread; what happens depends on the order
/// of the calls only.
public final class InMemoryTree: CoordinationTree {
    /// A part of the way of a request, between a session and the servers.
    public enum Step: Sendable {
        /// A request is on its way to the servers.
        case request
        /// An answer is on its way to the session.
        case answer
        /// Word of a change is on its way to the session.
        case watch
    }

    /// Who decides when a step is taken: called with the session, the step, and what takes it.
    ///
    /// The requests of one session have to be taken in their order, and so have its answers and watches together. A
    /// request that is never taken got lost; one that is taken after the session was disconnected is still carried
    /// out, as by a server that had it already.
    public typealias Schedule =
        @Sendable (_ session: Int64, _ step: Step, _ take: @escaping @Sendable () -> Void) -> Void

    private let timeout: Duration
    private let server = Mutex(TreeServer())
    /// In a structure: a bare closure would get another wrapping with each look at it.
    private struct Scheduled { var body: Schedule? }
    private let scheduled = Mutex(Scheduled())

    /// An empty tree.
    ///
    /// - Parameter timeout: what sessions say of themselves.
    public init(timeout: Duration = .seconds(10)) { self.timeout = timeout }

    /// Opens a session; waits while the tree does not serve.
    ///
    /// - Throws: `.ended` if the task is cancelled meanwhile.
    public func open() async throws(TreeError) -> any TreeSession {
        let number = server.withLock { $0.nextNumber() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // Looked at with the lock held, which the handler takes too: a cancellation is not missed.
                let waits = server.withLock { Task.isCancelled ? false : $0.waitUntilServing(number, continuation) }
                if !waits { continuation.resume() }
            }
        } onCancel: {
            perform { $0.cancelOpening(number) }
        }
        if Task.isCancelled { throw TreeError(.ended, "opening a session was cancelled") }
        return InMemoryTreeSession(self, id: server.withLock { $0.open() }, timeout: timeout)
    }

    // MARK: - What is there

    /// A node as it is now; `nil` if there is none.
    public func node(_ path: String) -> TreeNode? { server.withLock { $0.contents.node(path) } }

    /// The names of a node's children, sorted; `nil` if there is no such node.
    public func children(of path: String) -> [String]? { server.withLock { $0.contents.children(path) } }

    /// The sessions that the servers know, the oldest first.
    public var sessions: [Int64] { server.withLock { $0.sessions.filter(\.value.isAlive).keys.sorted() } }

    /// Makes changes at once, as an operator does with a tool of ZooKeeper's: all, or none.
    public func change(_ changes: [TreeChange]) throws(TreeError) {
        let outcome = server.withLock { server -> Result<[TreeServer.Effect], TreeError> in
            do throws(TreeError) { return .success(try server.commit(changes, by: 0)) } catch { return .failure(error) }
        }
        for effect in try outcome.get() { take(effect) }
    }

    // MARK: - What happens to it

    /// Decides when steps are taken; `nil`, as at first, for at once.
    public var schedule: Schedule? {
        get { scheduled.withLock { $0.body } }
        set { scheduled.withLock { $0.body = newValue } }
    }

    /// Ends a session: its ephemeral nodes are deleted. It hears of it now, or when it is connected again.
    public func expire(_ session: Int64) { perform { $0.expire(session) } }

    /// Cuts a session's connection: changes that were not answered are unknown, everything else waits.
    public func disconnect(_ session: Int64) { perform { $0.disconnect(session) } }

    /// Gives a session its connection again, unless no server serves.
    public func reconnect(_ session: Int64) { perform { $0.reconnect(session) } }

    /// Whether there are servers. Without, all sessions are disconnected and none can be opened; but none ends.
    public var isServing: Bool {
        get { server.withLock { $0.isServing } }
        set { perform { $0.serve(newValue) } }
    }

    /// Lets the server that a session is connected to lag behind: the session reads what is there now, and hears of
    /// nothing else, until `catchUp`; or until it commits, for it sees what it has done.
    public func lag(_ session: Int64) { server.withLock { $0.lag(session) } }

    /// Lets a server that lags behind hear of some commits more; of all, and no longer lag, if `count` is not given.
    public func catchUp(_ session: Int64, by count: Int? = nil) {
        perform { server in
            if let count { return server.catchUp(session, by: count) }
            return server.stopLagging(session)
        }
    }

    /// The answers to the next `count` commits get lost, so that they are `.unknown`.
    ///
    /// - Parameters:
    ///   - count: how many.
    ///   - areDone: whether the changes are made nevertheless, if they fit.
    public func loseAnswers(_ count: Int, areDone: Bool) {
        server.withLock { $0.lostAnswers = (count, areDone) }
    }

    // MARK: - For the sessions

    func ask(
        _ question: TreeRequest.Question, session: Int64, _ onChange: (@Sendable () -> Void)?
    ) async throws(TreeError) -> TreeRequest.Answer {
        try await withCheckedContinuation { continuation in
            perform { server in
                let request = TreeRequest(
                    question, session: session, number: server.nextNumber(), isWatching: onChange != nil, continuation)
                return server.submit(request, onChange)
            }
        }.get()
    }

    func ended(_ session: Int64) async {
        await withCheckedContinuation { continuation in
            if !server.withLock({ $0.waitUntilEnded(session, continuation) }) { continuation.resume() }
        }
    }

    func close(_ session: Int64) { perform { $0.close(session) } }

    private func perform(_ body: (inout TreeServer) -> [TreeServer.Effect]) {
        for effect in server.withLock({ body(&$0) }) { take(effect) }
    }

    private func take(_ effect: TreeServer.Effect) {
        switch effect {
        case .execute(let request):
            step(request.session, .request) { self.perform { $0.execute(request) } }
        case .deliver(let request, let outcome):
            step(request.session, .answer) { self.perform { $0.deliver(request, outcome) } }
        case .notify(let session, let watch):
            step(session, .watch) { self.perform { $0.notify(session, watch) } }
        case .answer(let request, let outcome): request.answer(outcome)
        case .call(let body): body()
        case .resume(let continuation): continuation.resume()
        }
    }

    private func step(_ session: Int64, _ step: Step, _ take: @escaping @Sendable () -> Void) {
        if let schedule { schedule(session, step, take) } else { take() }
    }
}
