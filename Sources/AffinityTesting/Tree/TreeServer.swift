internal import AffinityCore

/// The state of an `InMemoryTree`: what its servers know, and what its clients wait for. Does nothing itself; what is
/// to be done without the lock is returned.
struct TreeServer {
    /// What a session is told, or has to be done on the way between it and the servers.
    enum Effect: Sendable {
        case execute(TreeRequest)
        case deliver(TreeRequest, TreeRequest.Outcome)
        case answer(TreeRequest, TreeRequest.Outcome)
        case notify(session: Int64, watch: UInt64)
        case call(@Sendable () -> Void)
        case resume(CheckedContinuation<Void, Never>)
    }

    struct Session {
        /// Whether the servers know it.
        var isAlive = true
        /// Whether the client knows that it has ended.
        var isOver = false
        var isConnected = true
        var waiting: [TreeRequest] = []
        var inFlight: [UInt64: TreeRequest] = [:]
        /// Of those that wait for a change, by the number of their request.
        var watches: [UInt64: @Sendable () -> Void] = [:]
        /// The watches that the servers keep, by path.
        var nodeWatches: [String: [UInt64]] = [:]
        var childWatches: [String: [UInt64]] = [:]
        /// Watches that have fired while there was no connection.
        var missed: [UInt64] = []
        var endWaiters: [CheckedContinuation<Void, Never>] = []
        /// What its server knows, if that lags behind, and what it will hear of.
        var view: TreeContents?
        var backlog: [Transaction] = []

        /// The servers no longer keep a watch.
        mutating func forget(_ watch: UInt64) {
            nodeWatches = nodeWatches.mapValues { $0.filter { $0 != watch } }
            childWatches = childWatches.mapValues { $0.filter { $0 != watch } }
        }
    }

    struct Transaction {
        var changes: [TreeChange]
        var session: Int64
        var events: TreeContents.Events
    }

    private(set) var contents = TreeContents()
    private(set) var sessions: [Int64: Session] = [:]
    private(set) var isServing = true
    private var openers: [(number: UInt64, continuation: CheckedContinuation<Void, Never>)] = []
    private var lastNumber: UInt64 = 0
    private var lastSession: Int64 = 0x1000
    /// Of how many further commits the answers get lost, and whether they are done.
    var lostAnswers = (count: 0, areDone: false)

    mutating func nextNumber() -> UInt64 {
        lastNumber += 1
        return lastNumber
    }

    // MARK: - Requests

    mutating func submit(_ request: TreeRequest, _ onChange: (@Sendable () -> Void)?) -> [Effect] {
        guard var session = sessions[request.session], !session.isOver else { return [.answer(request, ended)] }
        if request.isWatching { session.watches[request.number] = onChange }
        if session.isConnected { session.inFlight[request.number] = request } else { session.waiting.append(request) }
        sessions[request.session] = session
        return session.isConnected ? [.execute(request)] : []
    }

    /// A request has reached the servers.
    mutating func execute(_ request: TreeRequest) -> [Effect] {
        guard sessions[request.session]?.isAlive == true else { return [.deliver(request, ended)] }
        // A read that was lost with its connection is asked again; the first one would set a watch that nobody knows.
        if request.isRead, sessions[request.session]?.inFlight[request.number] == nil { return [] }
        switch request.question {
        case .node(let path):
            watch(request) { $0.nodeWatches[path, default: []].append(request.number) }
            return [.deliver(request, .success(.node(view(of: request.session).node(path))))]
        case .names(let path):
            let names = view(of: request.session).children(path)
            if names != nil { watch(request) { $0.childWatches[path, default: []].append(request.number) } }
            return [.deliver(request, .success(.names(names)))]
        case .changes(let changes): return execute(changes, request)
        }
    }

    private mutating func execute(_ changes: [TreeChange], _ request: TreeRequest) -> [Effect] {
        let isLost = lostAnswers.count > 0
        if isLost { lostAnswers.count -= 1 }
        if isLost, !lostAnswers.areDone { return [.deliver(request, unknown)] }
        // A change that does not fit is put into the order of all changes too.
        let seen = catchUp(request.session, by: .max)
        do throws(TreeError) {
            let effects = try commit(changes, by: request.session)
            return seen + effects + [.deliver(request, isLost ? unknown : .success(.done))]
        } catch {
            return seen + [.deliver(request, isLost ? unknown : .failure(error))]
        }
    }

    private mutating func watch(_ request: TreeRequest, _ set: (inout Session) -> Void) {
        guard var session = sessions[request.session], session.watches[request.number] != nil else { return }
        set(&session)
        sessions[request.session] = session
    }

    /// An answer has reached the session.
    mutating func deliver(_ request: TreeRequest, _ outcome: TreeRequest.Outcome) -> [Effect] {
        // Lost with the connection, if nobody waits for it.
        guard sessions[request.session]?.inFlight.removeValue(forKey: request.number) != nil else { return [] }
        if case .failure(let error) = outcome, error.code == .ended {
            return [.answer(request, outcome)] + notice(request.session)
        }
        if case .success(.names(nil)) = outcome { sessions[request.session]?.watches[request.number] = nil }
        return [.answer(request, outcome)]
    }

    /// Makes changes, and tells those who watch.
    mutating func commit(_ changes: [TreeChange], by session: Int64) throws(TreeError) -> [Effect] {
        let events = try contents.apply(changes, by: session)
        var effects: [Effect] = []
        for id in sessions.keys.sorted() {
            if sessions[id]?.view == nil {
                effects += fire(events, id)
            } else {
                sessions[id]?.backlog.append(Transaction(changes: changes, session: session, events: events))
            }
        }
        return effects
    }

    private func view(of session: Int64) -> TreeContents { sessions[session]?.view ?? contents }

    private var ended: TreeRequest.Outcome { .failure(TreeError(.ended, "the session has ended")) }
    private var unknown: TreeRequest.Outcome { .failure(TreeError(.unknown, "the answer did not come")) }

    // MARK: - Watches

    private mutating func fire(_ events: TreeContents.Events, _ id: Int64) -> [Effect] {
        guard sessions[id]?.isAlive == true else { return [] }
        var fired: [UInt64] = []
        for path in events.nodes { fired += sessions[id]?.nodeWatches.removeValue(forKey: path) ?? [] }
        for path in events.children { fired += sessions[id]?.childWatches.removeValue(forKey: path) ?? [] }
        return fired.map { .notify(session: id, watch: $0) }
    }

    /// Word of a change has reached the session.
    mutating func notify(_ id: Int64, _ watch: UInt64) -> [Effect] {
        guard let session = sessions[id] else { return [] }
        if !session.isConnected, !session.isOver {
            sessions[id]?.missed.append(watch)
            return []
        }
        return (sessions[id]?.watches.removeValue(forKey: watch)).map { [.call($0)] } ?? []
    }

    // MARK: - Views

    mutating func lag(_ id: Int64) { if sessions[id]?.view == nil { sessions[id]?.view = contents } }

    mutating func catchUp(_ id: Int64, by count: Int) -> [Effect] {
        guard var view = sessions[id]?.view, let backlog = sessions[id]?.backlog else { return [] }
        var effects: [Effect] = []
        for transaction in backlog.prefix(count) {
            // It fitted the same state before.
            _ = try? view.apply(transaction.changes, by: transaction.session)
            effects += fire(transaction.events, id)
        }
        sessions[id]?.backlog.removeFirst(min(count, backlog.count))
        sessions[id]?.view = view
        return effects
    }

    mutating func stopLagging(_ id: Int64) -> [Effect] {
        let effects = catchUp(id, by: .max)
        sessions[id]?.view = nil
        return effects
    }

    // MARK: - Sessions

    mutating func open() -> Int64 {
        lastSession += 1
        sessions[lastSession] = Session()
        return lastSession
    }

    /// Keeps who waits until the tree serves; `false` if it does.
    mutating func waitUntilServing(_ number: UInt64, _ continuation: CheckedContinuation<Void, Never>) -> Bool {
        if !isServing { openers.append((number, continuation)) }
        return !isServing
    }

    mutating func cancelOpening(_ number: UInt64) -> [Effect] {
        let cancelled = openers.filter { $0.number == number }
        openers.removeAll { $0.number == number }
        return cancelled.map { .resume($0.continuation) }
    }

    /// The servers end a session; the client hears of it if it is connected, or as soon as it is.
    mutating func expire(_ id: Int64) -> [Effect] {
        guard let session = sessions[id], session.isAlive else { return [] }
        sessions[id]?.isAlive = false
        let deletions = contents.paths(ownedBy: id).map { TreeChange.delete($0, version: nil) }
        let effects = (try? commit(deletions, by: id)) ?? []
        return effects + (session.isConnected ? notice(id) : [])
    }

    /// The client learns that its session has ended.
    private mutating func notice(_ id: Int64) -> [Effect] {
        guard var session = sessions[id], !session.isOver else { return [] }
        let unanswered = session.inFlight.sorted { $0.key < $1.key }.map(\.value)
        var effects = unanswered.map { Effect.answer($0, $0.isRead ? ended : unknown) }
        effects += session.waiting.map { Effect.answer($0, ended) }
        let unsent = Set((unanswered + session.waiting).map(\.number))
        effects += session.watches.sorted { $0.key < $1.key }.filter { !unsent.contains($0.key) }.map {
            .call($0.value)
        }
        effects += session.endWaiters.map { .resume($0) }
        session = Session(isAlive: session.isAlive, isOver: true, isConnected: session.isConnected)
        sessions[id] = session
        return effects
    }

    mutating func close(_ id: Int64) -> [Effect] {
        guard let session = sessions[id] else { return [] }
        return (session.isConnected ? expire(id) : []) + notice(id)
    }

    mutating func disconnect(_ id: Int64) -> [Effect] {
        guard var session = sessions[id], session.isConnected else { return [] }
        session.isConnected = false
        let lost = session.inFlight.sorted { $0.key < $1.key }.map(\.value)
        session.waiting = lost.filter(\.isRead) + session.waiting
        session.inFlight = [:]
        for request in lost where request.isWatching { session.forget(request.number) }
        sessions[id] = session
        return lost.filter { !$0.isRead }.map { .answer($0, unknown) }
    }

    mutating func reconnect(_ id: Int64) -> [Effect] {
        guard var session = sessions[id], !session.isConnected, isServing else { return [] }
        session.isConnected = true
        let (waiting, missed) = (session.waiting, session.missed)
        guard session.isAlive else {
            sessions[id] = session
            return notice(id)
        }
        (session.waiting, session.missed) = ([], [])
        for request in waiting { session.inFlight[request.number] = request }
        sessions[id] = session
        return missed.map { .notify(session: id, watch: $0) } + waiting.map { .execute($0) }
    }

    mutating func serve(_ isServing: Bool) -> [Effect] {
        guard self.isServing != isServing else { return [] }
        self.isServing = isServing
        let ids = sessions.keys.sorted()
        if !isServing { return ids.flatMap { disconnect($0) } }
        defer { openers = [] }
        return ids.flatMap { reconnect($0) } + openers.map { .resume($0.continuation) }
    }

    mutating func waitUntilEnded(_ id: Int64, _ continuation: CheckedContinuation<Void, Never>) -> Bool {
        guard sessions[id]?.isOver == false else { return false }
        sessions[id]?.endWaiters.append(continuation)
        return true
    }
}
