internal import AffinityCore

/// The servers of the tree in a simulation: sessions of processes that are not heard of end, and everything takes time.
final class SimulatedTree: @unchecked Sendable {
    let simulation: Simulation
    let tree: InMemoryTree
    let timeout: Duration
    private(set) var sessions: [Int64: Session] = [:]

    final class Session {
        let connection: SimulatedTreeConnection
        var heard: MonotonicTime
        var isConnected = true
        var hasExpired = false
        /// When the last request, and the last word to the session, arrive: none overtakes another.
        var requests = MonotonicTime.notYet
        var answers = MonotonicTime.notYet

        init(_ connection: SimulatedTreeConnection, heard: MonotonicTime) {
            self.connection = connection
            self.heard = heard
        }
    }

    init(_ simulation: Simulation, timeout: Duration) {
        self.simulation = simulation
        self.timeout = timeout
        tree = InMemoryTree(timeout: timeout)
        tree.schedule = { [unowned self] session, step, take in schedule(session, step, take) }
    }

    private var latency: Duration { simulation.way(.microseconds(200)...(.milliseconds(8))) }

    private func schedule(_ id: Int64, _ step: InMemoryTree.Step, _ take: @escaping @Sendable () -> Void) {
        guard let session = sessions[id] else { return take() }
        let time = simulation.now.advanced(by: latency + session.connection.delay(of: step))
        switch step {
        case .request:
            session.requests = max(session.requests, time)
            simulation.at(session.requests) { [weak self] in self?.arrive(id, take) }
        case .answer, .watch:
            // Word of a change may be very late, and what comes after it with it.
            let isLate = step == .watch && simulation.happens(onceIn: 50)
            session.answers = max(session.answers, isLate ? time.advanced(by: .milliseconds(300)) : time)
            simulation.at(session.answers, take)
        }
    }

    /// What a process sends that is cut off is sent again and again, as long as its connection lasts.
    private func arrive(_ id: Int64, _ take: @escaping @Sendable () -> Void) {
        guard let session = sessions[id], session.connection.isCut else { return take() }
        guard session.isConnected else { return }
        session.requests = simulation.now.advanced(by: .milliseconds(50))
        simulation.at(session.requests) { [weak self] in self?.arrive(id, take) }
    }

    func dismantle() {
        sessions = [:]
        tree.schedule = nil
    }

    func register(_ id: Int64, _ connection: SimulatedTreeConnection) {
        sessions[id] = Session(connection, heard: simulation.now)
        look(id)
    }

    /// Looks whether a session is heard of, until it has ended.
    private func look(_ id: Int64) {
        guard let session = sessions[id] else { return }
        if session.connection.isHeard && tree.isServing {
            if session.hasExpired || simulation.now < session.heard.advanced(by: timeout) { connect(id, session) }
            if !session.hasExpired { session.heard = simulation.now }
        } else if tree.isServing {
            let silence = simulation.now.since(session.heard)
            if silence > timeout / 3 || session.connection.process.isDead { disconnect(id, session) }
            if silence > timeout { expire(id, session) }
        } else {
            // Servers that come back give everybody a new chance.
            session.heard = simulation.now
        }
        if session.hasExpired && (session.isConnected || session.connection.process.isDead) {
            // A process that is gone hears of it too, so that its tasks can end.
            tree.reconnect(id)
            sessions[id] = nil
            return
        }
        simulation.after(timeout / 16) { [weak self] in self?.look(id) }
    }

    private func connect(_ id: Int64, _ session: Session) {
        guard !session.isConnected else { return }
        session.isConnected = true
        tree.reconnect(id)
    }

    private func disconnect(_ id: Int64, _ session: Session) {
        guard session.isConnected else { return }
        session.isConnected = false
        tree.disconnect(id)
    }

    private func expire(_ id: Int64, _ session: Session) {
        guard !session.hasExpired else { return }
        simulation.say("the session of \(session.connection.process.name) has expired")
        session.hasExpired = true
        tree.expire(id)
    }

    func expireSessions(of process: SimulatedProcess) {
        for id in sessions(of: process) {
            guard let session = sessions[id] else { continue }
            disconnect(id, session)
            expire(id, session)
        }
    }

    /// The connections of a process break; it has others a moment later.
    func resetSessions(of process: SimulatedProcess) {
        for id in sessions(of: process) {
            guard let session = sessions[id], session.isConnected else { continue }
            disconnect(id, session)
            simulation.after(.milliseconds(20)) { [weak self] in
                guard let self, let session = sessions[id], session.connection.isHeard, tree.isServing else { return }
                connect(id, session)
            }
        }
    }

    /// All servers go, or come back.
    var isServing: Bool {
        get { tree.isServing }
        set {
            guard newValue != tree.isServing else { return }
            tree.isServing = newValue
            for session in sessions.values where !session.hasExpired {
                session.isConnected = newValue
                session.heard = simulation.now
            }
        }
    }

    /// The sessions of a process, the oldest first.
    func sessions(of process: SimulatedProcess) -> [Int64] {
        sessions.filter { $0.value.connection.process === process }.keys.sorted()
    }
}

/// The tree as one process sees it.
final class SimulatedTreeConnection: CoordinationTree, @unchecked Sendable {
    let servers: SimulatedTree
    let process: SimulatedProcess
    var isCut = false
    /// How much longer its requests take than others, and the words that it gets.
    var requestDelay = Duration.zero
    var answerDelay = Duration.zero

    init(_ servers: SimulatedTree, _ process: SimulatedProcess) {
        self.servers = servers
        self.process = process
    }

    func delay(of step: InMemoryTree.Step) -> Duration { step == .request ? requestDelay : answerDelay }

    var isHeard: Bool { !isCut && !process.isStopped && !process.isDead }

    func open() async throws(TreeError) -> any TreeSession {
        while true {
            if process.isDead || Task.isCancelled { throw TreeError(.ended, "the process ends") }
            if !isCut {
                let session = try await servers.tree.open()
                servers.register(session.id, self)
                return SimulatedTreeSession(base: session, process: process)
            }
            await process.sleep(.milliseconds(100))
        }
    }
}

/// A session that takes nothing from a process that has died.
private struct SimulatedTreeSession: TreeSession {
    let base: any TreeSession
    let process: SimulatedProcess

    var id: Int64 { base.id }
    var timeout: Duration { base.timeout }

    private func check() throws(TreeError) {
        if process.isDead { throw TreeError(.ended, "the process has died") }
    }

    func ended() async { await base.ended() }

    func read(_ path: String, onChange: (@Sendable () -> Void)?) async throws(TreeError) -> TreeNode? {
        try check()
        return try await base.read(path, onChange: onChange)
    }

    func children(of path: String, onChange: (@Sendable () -> Void)?) async throws(TreeError) -> [String]? {
        try check()
        return try await base.children(of: path, onChange: onChange)
    }

    func commit(_ changes: [TreeChange]) async throws(TreeError) {
        try check()
        try await base.commit(changes)
    }

    /// The process may have no time left to say goodbye.
    func close() async { if !process.isDead { await base.close() } }
}
