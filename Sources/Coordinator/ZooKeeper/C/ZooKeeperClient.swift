internal import AffinityCore
internal import AffinityThreads
internal import CZooKeeper
internal import Synchronization

/// One session with ZooKeeper: hands requests to the C client, and what comes back to who waits for it.
///
/// A thread of its own keeps it: it connects, waits for the end, and closes, which all block. Called by
/// `ZooKeeperSession` on any thread, and by C's completion thread through `ZooKeeperCallbacks`.
final class ZooKeeperClient: Sendable {
    private struct Guarded {
        var session = SessionState()
        /// Lent by the keeper; C must not be called with it once it is closed, so it is used with the lock held. C
        /// only puts requests into a queue then.
        var pointer: ZooKeeperPointer?
        var isAuthenticated = false
    }

    private let servers: ServerList
    private let configuration: ZooKeeperConfiguration
    private let report: Reporter
    private let lines: ZooKeeperLogLines
    private let guarded = Mutex(Guarded())
    /// Signalled when there may be something to do for the keeper.
    private let wake = Semaphore()

    init(_ configuration: ZooKeeperConfiguration, _ servers: ServerList, report: @escaping Reporter) {
        self.configuration = configuration
        self.servers = servers
        self.report = report
        lines = ZooKeeperLogLines(report)
    }

    var id: Int64 { guarded.withLock { $0.session.id } }
    var timeout: Duration { guarded.withLock { $0.session.timeout } }
    /// Why there is no session any more, or will not be soon.
    var ending: TreeError? { guarded.withLock { $0.session.ending } }

    // MARK: - Its course

    /// Connects, however long it takes. Called once.
    func open() async throws(TreeError) {
        await withCheckedContinuation { continuation in
            let waits = guarded.withLock { $0.session.waitUntilOpen(continuation) }
            if !waits { continuation.resume() }
            // It ends by itself, and holds the client until then.
            _ = ServiceThread { self.keep() }
        }
        if let ending { throw ending }
    }

    /// Gives the session up; what was sent may still be answered. Returns at once.
    func leave(_ reason: String = "the session with ZooKeeper is closed") {
        perform(guarded.withLock { $0.session.close(TreeError(.ended, reason)) })
    }

    /// Returns when the session is closed and C's threads have ended. Only after `open` was called.
    func released() async {
        await withCheckedContinuation { continuation in
            if !guarded.withLock({ $0.session.waitUntilReleased(continuation) }) { continuation.resume() }
        }
    }

    func ended() async {
        await withCheckedContinuation { continuation in
            if !guarded.withLock({ $0.session.waitUntilEnded(continuation) }) { continuation.resume() }
        }
    }

    // MARK: - The keeper's thread

    private func keep() {
        if let handle = dial() {
            awaitConnection()
            while !isOver { wake.wait() }
            awaitAnswers()
            guarded.withLock { $0.pointer = nil }
            handle.close()
        }
        lines.end()
        perform(guarded.withLock { $0.session.end(TreeError(.ended, "the session with ZooKeeper is closed")) })
        perform(guarded.withLock { $0.session.release() })
    }

    private var isOver: Bool { guarded.withLock { $0.session.isOver } }
    private var isOpening: Bool { guarded.withLock { $0.session.phase == .opening } }

    /// Begins to connect; tries again while not even the names of the servers are known.
    private func dial() -> ZooKeeperHandle? {
        // Not retained for C: the keeper, which ends C's threads, holds the object.
        let context = Unmanaged.passUnretained(self).toOpaque()
        var isFirst = true
        while isOpening {
            if let handle = ZooKeeperHandle(servers.hosts, configuration.sessionTimeout, context: context, lines) {
                let pointer = handle.pointer
                guarded.withLock { $0.pointer = pointer }
                return handle
            }
            if isFirst { reportWaiting() }
            isFirst = false
            wake.wait(atMost: .seconds(1))
        }
        return nil
    }

    private func awaitConnection() {
        var patience = Duration.seconds(1)
        while isOpening {
            wake.wait(atMost: patience)
            if isOpening { reportWaiting() }
            patience = .seconds(10)
        }
    }

    /// What was sent before the end is answered soon, or never.
    private func awaitAnswers() {
        let end = ContinuousClock.now + .seconds(1)
        while guarded.withLock({ $0.session.hasUnanswered }), ContinuousClock.now < end {
            wake.wait(atMost: .milliseconds(100))
        }
    }

    private func reportWaiting() {
        report(
            Report(
                .warning, "waiting for ZooKeeper", [("servers", configuration.servers), ("reason", lines.failure)]))
    }

    // MARK: - Requests

    /// Asks, and returns the answer; in the order of the calls.
    ///
    /// - Parameter onChange: called once if what is asked sets a watch, and the answer says so.
    func ask(
        _ question: ZooKeeperRequest.Question, onChange: (@Sendable () -> Void)? = nil
    ) async throws(TreeError) -> ZooKeeperRequest.Answer {
        let outcome = await withCheckedContinuation { continuation in
            let effects = guarded.withLock { guarded in
                let watch = guarded.session.register(question, onChange)
                let request = ZooKeeperRequest(question, self, watch: watch, continuation)
                var effects = guarded.session.submit(request)
                send(&guarded, &effects)
                return effects
            }
            perform(effects)
        }
        return try outcome.get()
    }

    /// Hands C as many of the requests that wait as it may have.
    private func send(_ guarded: inout Guarded, _ effects: inout SessionState.Effects) {
        while let pointer = guarded.pointer, let request = guarded.session.nextToSend() {
            let code = pointer.isConnected ? pointer.send(request, acl) : ZINVALIDSTATE
            // Not connected any more: an event that says so is on its way.
            if code == ZINVALIDSTATE { return guarded.session.putBack(request) }
            if code != ZOK {
                effects += guarded.session.finish(request, request.failure(code), keepsWatch: false)
            }
        }
    }

    private var acl: UnsafePointer<ACL_vector> {
        configuration.credentials == nil ? czookeeper_acl_of_all() : czookeeper_acl_of_creator()
    }

    private func perform(_ effects: SessionState.Effects) {
        for (request, outcome) in effects.answers { request.answer(outcome) }
        for watch in effects.watches { watch() }
        for waiter in effects.waiters { waiter.resume() }
        if effects.wakesKeeper { wake.signal() }
    }

    // MARK: - Called by C's completion thread

    /// The answer to a request. `keepsWatch`: C has set the watch that was asked for.
    func finish(_ request: ZooKeeperRequest, _ outcome: ZooKeeperRequest.Outcome, keepsWatch: Bool = false) {
        step { $0.finish(request, outcome, keepsWatch: keepsWatch) }
    }

    /// There is no answer.
    func fail(_ request: ZooKeeperRequest, _ code: ZOO_ERRORS) {
        guard ZooKeeperErrors.isLoss(code) else { return finish(request, request.failure(code)) }
        step { $0.lose(request, ZooKeeperErrors.error(code, request.subject)) }
    }

    func fire(_ watch: UInt) { guarded.withLock { $0.session.fire(watch) }?() }

    /// The state of the connection has changed.
    func take(_ state: Int32, _ pointer: OpaquePointer) {
        switch state {
        case ZOO_CONNECTED_STATE: connect(ZooKeeperPointer(pointer))
        case ZOO_EXPIRED_SESSION_STATE: end(TreeError(.ended, "the session with ZooKeeper has expired"))
        case ZOO_AUTH_FAILED_STATE: end(TreeError(.refused, "ZooKeeper does not accept the credentials"))
        default: disconnect()
        }
    }

    private func connect(_ pointer: ZooKeeperPointer) {
        let (id, timeout) = (pointer.sessionID, pointer.negotiatedTimeout)
        report(Report(.info, "connected to ZooKeeper", [("session", hex(id)), ("timeout", "\(timeout)")]))
        // Before any request. It fails only if the connection is gone again; then it is done on the next one.
        guard authenticate(pointer) else { return }
        let watched = guarded.withLock { $0.session.watchedBytes }
        guard watched <= configuration.maxRequestBytes else { return giveUp(watched) }
        step(lending: pointer) { $0.connect(id: id, timeout: timeout) }
    }

    private func authenticate(_ pointer: ZooKeeperPointer) -> Bool {
        guard let credentials = configuration.credentials, !guarded.withLock({ $0.isAuthenticated }) else {
            return true
        }
        let isAuthenticated = pointer.authenticate(credentials)
        guarded.withLock { $0.isAuthenticated = isAuthenticated }
        return isAuthenticated
    }

    /// The server will drop the connection, and so again on every new one, each of which keeps the session alive.
    private func giveUp(_ watched: Int) {
        end(
            TreeError(
                .ended,
                "the session with ZooKeeper has too many watches for a new connection: \(watched) bytes of paths, "
                    + "\(configuration.maxRequestBytes) are possible"))
    }

    private func disconnect() {
        let wasConnected = guarded.withLock { guarded in
            defer { guarded.session.disconnect() }
            return guarded.session.phase == .connected || guarded.session.phase == .away
        }
        guard wasConnected else { return }
        report(
            Report(.warning, "the connection to ZooKeeper is lost", [("session", hex(id)), ("reason", lines.failure)]))
    }

    private func end(_ error: TreeError) {
        if !isOver { report(Report(.warning, "\(error.reason)", [("session", hex(id))])) }
        step { $0.end(error) }
    }

    private func hex(_ id: Int64) -> String { "0x" + String(UInt64(bitPattern: id), radix: 16) }

    /// Takes a step, sends what can be sent behind it, and does the rest without the lock.
    private func step(
        lending pointer: ZooKeeperPointer? = nil, _ body: (inout SessionState) -> SessionState.Effects
    ) {
        let effects = guarded.withLock { guarded in
            // An event can come before the keeper has got the handle out of the call that makes it.
            if let pointer, !guarded.session.isOver { guarded.pointer = pointer }
            var effects = body(&guarded.session)
            send(&guarded, &effects)
            return effects
        }
        perform(effects)
    }
}

extension SessionState.Effects {
    static func += (all: inout SessionState.Effects, more: SessionState.Effects) {
        all.answers += more.answers
        all.watches += more.watches
        all.waiters += more.waiters
        all.wakesKeeper = all.wakesKeeper || more.wakesKeeper
    }
}

extension ZooKeeperRequest {
    func failure(_ code: ZOO_ERRORS) -> Outcome { .failure(ZooKeeperErrors.error(code, subject)) }
}
