internal import AffinityCore

/// The course of one session: what it waits for, and who waits for it. Does nothing itself.
///
/// `opening → connected ⇄ away → (closing →) ended`. Called by `ZooKeeperClient`, which has the lock and does what
/// the returned effects say without it.
struct SessionState {
    enum Phase {
        /// It has never been connected.
        case opening
        case connected
        /// The connection is lost; only a server can tell whether the session still is.
        case away
        /// Somebody has no use for it any more; what is on its way may still be answered.
        case closing
        case ended
    }

    /// Who is to be told of a change.
    private struct Watch {
        var question: ZooKeeperRequest.Question
        var onChange: @Sendable () -> Void
    }

    /// What is to be done when the lock has been given back.
    struct Effects {
        var answers: [(request: ZooKeeperRequest, outcome: ZooKeeperRequest.Outcome)] = []
        var watches: [@Sendable () -> Void] = []
        var waiters: [CheckedContinuation<Void, Never>] = []
        /// Whether the thread that keeps the session has to look what there is to do.
        var wakesKeeper = false
    }

    /// How many requests C may have at a time. It must stay far below the 65,536 for which there is room in the pipe
    /// that wakes its thread: C breaks the connection when that is full.
    static let capacity = 1_024

    private(set) var phase = Phase.opening
    private(set) var id: Int64 = 0
    private(set) var timeout = Duration.zero
    /// Why it ended.
    private(set) var ending: TreeError?
    private var line = RequestLine()
    /// What C has, and somebody waits for.
    private var sent: [ObjectIdentifier: ZooKeeperRequest] = [:]
    /// What C may have, and nobody waits for any more.
    private var abandoned: [ObjectIdentifier: ZooKeeperRequest] = [:]
    /// Reads whose answers got lost with the connection.
    private var lost: [ZooKeeperRequest] = []
    private var watches: [UInt: Watch] = [:]
    private var lastWatch: UInt = 0
    private var openWaiters: [CheckedContinuation<Void, Never>] = []
    private var endWaiters: [CheckedContinuation<Void, Never>] = []
    private var closeWaiters: [CheckedContinuation<Void, Never>] = []
    private var isReleased = false

    var isOver: Bool { phase == .closing || phase == .ended }
    var hasUnanswered: Bool { !sent.isEmpty || !abandoned.isEmpty }

    // MARK: - Requests

    /// The number under which the watch of a request is known to C; 0 if it has none.
    mutating func register(_ question: ZooKeeperRequest.Question, _ onChange: (@Sendable () -> Void)?) -> UInt {
        guard let onChange, !isOver else { return 0 }
        lastWatch += 1
        watches[lastWatch] = Watch(question: question, onChange: onChange)
        return lastWatch
    }

    mutating func submit(_ request: ZooKeeperRequest) -> Effects {
        var effects = Effects()
        if isOver { effects.answers.append((request, .failure(overError(request)))) } else { line.append(request) }
        return effects
    }

    /// The next request to hand to C; from then on the session keeps it.
    mutating func nextToSend() -> ZooKeeperRequest? {
        guard phase == .connected, sent.count < Self.capacity, let request = line.popFirst() else { return nil }
        sent[ObjectIdentifier(request)] = request
        return request
    }

    /// C did not take it because the connection is gone: it waits for the next one.
    mutating func putBack(_ request: ZooKeeperRequest) {
        sent[ObjectIdentifier(request)] = nil
        line.prepend([request])
        phase = .away
    }

    /// The answer has come. Ignored if nobody waits for it any more.
    mutating func finish(_ request: ZooKeeperRequest, _ outcome: ZooKeeperRequest.Outcome, keepsWatch: Bool) -> Effects
    {
        var effects = Effects()
        if sent.removeValue(forKey: ObjectIdentifier(request)) != nil {
            if !keepsWatch { watches[request.watch] = nil }
            effects.answers.append((request, outcome))
        }
        forget(request, &effects)
        return effects
    }

    /// The answer got lost with the connection: a read is asked again on the next one.
    mutating func lose(_ request: ZooKeeperRequest, _ error: TreeError) -> Effects {
        guard request.isRead, sent[ObjectIdentifier(request)] != nil else {
            return finish(request, .failure(error), keepsWatch: false)
        }
        if isOver { return finish(request, .failure(overError(request)), keepsWatch: false) }
        sent[ObjectIdentifier(request)] = nil
        if phase == .connected { line.prepend([request]) } else { lost.append(request) }
        return Effects()
    }

    private mutating func forget(_ request: ZooKeeperRequest, _ effects: inout Effects) {
        abandoned[ObjectIdentifier(request)] = nil
        effects.wakesKeeper = isOver && !hasUnanswered
    }

    private func overError(_ request: ZooKeeperRequest) -> TreeError {
        TreeError(.ended, "\(request.subject): \(ending?.reason ?? "the session is closed")")
    }

    // MARK: - Watches

    mutating func fire(_ watch: UInt) -> (@Sendable () -> Void)? { watches.removeValue(forKey: watch)?.onChange }

    /// How long the request is with which C sets all watches again: it names each path once for its node and once for
    /// its children.
    var watchedBytes: Int {
        var (nodes, parents) = (Set<String>(), Set<String>())
        for watch in watches.values {
            switch watch.question {
            case .node(let path), .existence(let path): nodes.insert(path)
            case .names(let path): parents.insert(path)
            case .changes: break
            }
        }
        return nodes.reduce(0) { $0 + $1.utf8.count + 4 } + parents.reduce(0) { $0 + $1.utf8.count + 4 }
    }

    // MARK: - The course of the session

    mutating func connect(id: Int64, timeout: Duration) -> Effects {
        guard !isOver else { return Effects() }
        (self.id, self.timeout) = (id, timeout)
        line.prepend(lost)
        lost = []
        phase = .connected
        defer { openWaiters = [] }
        return Effects(waiters: openWaiters, wakesKeeper: true)
    }

    mutating func disconnect() { if phase == .connected { phase = .away } }

    /// Takes no more requests; those that were not sent fail.
    mutating func close(_ error: TreeError) -> Effects {
        guard !isOver else { return Effects() }
        if phase == .opening { return end(error) }
        phase = .closing
        ending = error
        var effects = Effects(wakesKeeper: true)
        failUnsent(&effects)
        return effects
    }

    /// There is no session any more. What was sent may have been done or not.
    mutating func end(_ error: TreeError) -> Effects {
        guard phase != .ended else { return Effects() }
        phase = .ended
        if ending == nil { ending = error }
        var effects = Effects(watches: watches.sorted { $0.key < $1.key }.map(\.value.onChange), wakesKeeper: true)
        watches = [:]
        failUnsent(&effects)
        for request in sent.values {
            let error = overError(request)
            effects.answers.append((request, .failure(request.isRead ? error : TreeError(.unknown, error.reason))))
        }
        abandoned.merge(sent) { $1 }
        sent = [:]
        effects.waiters = openWaiters + endWaiters
        (openWaiters, endWaiters) = ([], [])
        return effects
    }

    /// C's threads have ended: nothing that it was given is needed any more.
    mutating func release() -> Effects {
        isReleased = true
        abandoned = [:]
        defer { closeWaiters = [] }
        return Effects(waiters: closeWaiters)
    }

    private mutating func failUnsent(_ effects: inout Effects) {
        for request in lost + line.removeAll() {
            watches[request.watch] = nil
            effects.answers.append((request, .failure(overError(request))))
        }
        lost = []
    }

    // MARK: - Waiting

    /// Keeps who waits for the first connection, or the end; `false` if there is nothing to wait for.
    mutating func waitUntilOpen(_ continuation: CheckedContinuation<Void, Never>) -> Bool {
        if phase == .opening { openWaiters.append(continuation) }
        return phase == .opening
    }

    mutating func waitUntilEnded(_ continuation: CheckedContinuation<Void, Never>) -> Bool {
        if phase != .ended { endWaiters.append(continuation) }
        return phase != .ended
    }

    mutating func waitUntilReleased(_ continuation: CheckedContinuation<Void, Never>) -> Bool {
        if !isReleased { closeWaiters.append(continuation) }
        return !isReleased
    }
}
