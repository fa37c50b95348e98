internal import AffinityCore

/// The links between the processes of a simulation: requests and answers that take their time, or get lost.
final class SimulatedNetwork: @unchecked Sendable {
    typealias Handler = @Sendable ([UInt8], MonotonicTime) async throws(PeerError) -> [UInt8]

    let simulation: Simulation
    var latency: ClosedRange<Duration> = .microseconds(100)...(.milliseconds(5))
    /// Of how many messages one takes much longer; 0 for none.
    var delayRate = 0
    private var links: [NodeID: SimulatedLink] = [:]
    /// Who hears nothing of whom.
    private var cuts: Set<[NodeID]> = []

    init(_ simulation: Simulation) { self.simulation = simulation }

    /// The link of a process that has just begun; a former one of the node is gone.
    func link(of node: NodeID, _ process: SimulatedProcess, _ executor: SimulatedExecutor) -> SimulatedLink {
        let link = SimulatedLink(self, node, process, executor)
        links[node] = link
        return link
    }

    func cut(from sender: NodeID, to receiver: NodeID) { cuts.insert([sender, receiver]) }
    func heal() { cuts = [] }
    func isCut(from sender: NodeID, to receiver: NodeID) -> Bool { cuts.contains([sender, receiver]) }
    func link(of node: NodeID) -> SimulatedLink? { links[node].flatMap { $0.process.isDead ? nil : $0 } }

    func dismantle() { links = [:] }

    func way() -> Duration {
        if delayRate > 0, simulation.random.once(in: delayRate) {
            return simulation.duration(.milliseconds(10)...(.seconds(3)))
        }
        return simulation.way(latency)
    }
}

/// What one process sends to others, and answers.
final class SimulatedLink: PeerLink, @unchecked Sendable {
    let network: SimulatedNetwork
    let node: NodeID
    let process: SimulatedProcess
    let executor: SimulatedExecutor
    private var handlers: [String: SimulatedNetwork.Handler] = [:]
    private var calls: [UInt64: Call] = [:]
    private var lastCall: UInt64 = 0

    private final class Call: @unchecked Sendable {
        var continuation: CheckedContinuation<Result<[UInt8], PeerError>, Never>?
        /// The handler's task on the other side.
        var task: Task<Void, Never>?
    }

    init(_ network: SimulatedNetwork, _ node: NodeID, _ process: SimulatedProcess, _ executor: SimulatedExecutor) {
        self.network = network
        self.node = node
        self.process = process
        self.executor = executor
    }

    private var simulation: Simulation { network.simulation }

    func answer(_ type: String, _ body: @escaping SimulatedNetwork.Handler) { handlers[type] = body }

    func ask(
        _ peer: PeerAddress, _ type: String, _ body: [UInt8], deadline: MonotonicTime, withdrawal: Withdrawal?
    ) async throws(PeerError) -> [UInt8] {
        lastCall += 1
        let number = lastCall
        let call = Call()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                call.continuation = continuation
                calls[number] = call
                send(number, call, peer, type, body, process.global(deadline))
                withdrawal?.onWithdraw { [self] in
                    finish(number, .failure(PeerError(.lost, isNotSent: false, "withdrawn")))
                }
            }
        } onCancel: {
            executor.post { [self] in finish(number, .failure(PeerError(.lost, isNotSent: false, "cancelled"))) }
        }
        return try result.get()
    }

    func dismantle() { (handlers, calls) = ([:], [:]) }

    private func send(
        _ number: UInt64, _ call: Call, _ peer: PeerAddress, _ type: String, _ body: [UInt8], _ deadline: MonotonicTime
    ) {
        let fail = { @Sendable [self] (code: PeerError.Code, isNotSent: Bool) in
            finish(number, .failure(PeerError(code, isNotSent: isNotSent, "\(peer)")))
        }
        guard !process.isDead, network.link(of: peer.node) != nil else {
            return simulation.after(network.way()) { fail(.unreachable, true) }
        }
        if deadline != .never { simulation.at(deadline) { fail(.deadline, false) } }
        if network.isCut(from: node, to: peer.node) {
            // It takes a while to know that nobody answers, and whether anything was sent at all is by chance.
            let isNotSent = simulation.happens(onceIn: 2)
            return simulation.after(.milliseconds(isNotSent ? 500 : 3000)) {
                fail(isNotSent ? .unreachable : .lost, isNotSent)
            }
        }
        simulation.after(network.way()) { [self] in
            guard let link = network.link(of: peer.node), let handler = link.handlers[type] else {
                return fail(.lost, false)
            }
            let local = deadline == .never ? deadline : link.process.local(deadline)
            // Whoever waits is told when the other side is gone.
            link.process.onDeath { fail(.lost, false) }
            call.task = Task(executorPreference: link.executor) { [self] in
                let result: Result<[UInt8], PeerError>
                do throws(PeerError) { result = .success(try await handler(body, local)) } catch {
                    result = .failure(error)
                }
                guard !link.process.isDead else { return }
                if network.isCut(from: peer.node, to: node) {
                    return simulation.after(.seconds(3)) { fail(.lost, false) }
                }
                simulation.after(network.way()) { [self] in finish(number, result) }
            }
        }
    }

    private func finish(_ number: UInt64, _ result: Result<[UInt8], PeerError>) {
        guard let call = calls.removeValue(forKey: number) else { return }
        if case .failure = result { call.task?.cancel() }
        call.continuation?.resume(returning: result)
    }
}
