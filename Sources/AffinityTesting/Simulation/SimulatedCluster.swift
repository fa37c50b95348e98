public import AffinityCore
internal import AffinityMemStores

/// Nodes of a system, with everything between and around them, in one process and on one thread: the production code of
/// routers, replicas, coordinators and planner over models of the log, the tree, the links and the disks.
///
///     let cluster = try SimulatedCluster(Counters.self, seed: 7)
///     cluster.run(for: .seconds(3))
///     let answer = cluster.ask("n1") { service in try await service.ask(Increment(key: "visits")) }
///     cluster.crash("n2")
///     cluster.run(for: .seconds(5))
///     #expect(answer.value == 1)
///     cluster.end()
///
/// No real time passes, and nothing happens but in `run`. The same seed takes the same course every time. To be used by
/// one thread at a time.
public final class SimulatedCluster<P: Partition>: @unchecked Sendable {
    /// What the nodes share.
    final class Parts: @unchecked Sendable {
        let simulation: Simulation
        let settings: SimulationSettings
        let tree: SimulatedTree
        let log: SimulatedLog
        let network: SimulatedNetwork
        let watch = MastershipWatch()

        init(_ simulation: Simulation, _ settings: SimulationSettings) {
            self.simulation = simulation
            self.settings = settings
            tree = SimulatedTree(simulation, timeout: settings.session)
            log = SimulatedLog(simulation, settings.log)
            network = SimulatedNetwork(simulation)
        }
    }

    let parts: Parts
    private var all: [String: SimulatedNode<P>] = [:]
    /// The keyspace that the nodes serve.
    public var keyspace: String { parts.settings.keyspace }
    /// Called outside of all processes when a node has just heard that it is to be master of a partition.
    public var onMaster: ((_ node: String) -> Void)?
    /// The time, the chance and the order of everything.
    public var simulation: Simulation { parts.simulation }
    /// The changelogs.
    public var log: SimulatedLog { parts.log }

    /// A cluster whose nodes `n1`, `n2`, … have just been started.
    ///
    /// - Throws: `AssemblyError` if the `Partition` subclass has mistakes.
    public init(_ type: P.Type, settings: SimulationSettings = SimulationSettings(), seed: UInt64) throws {
        parts = Parts(Simulation(seed: seed, latency: settings.latency), settings)
        let log = parts.log
        parts.watch.onServe = { log.settleBeginning($0) }
        parts.simulation.onTime = { [unowned parts] in parts.watch.check(parts.simulation.now) }
        parts.watch.onMaster = { [weak self] process in
            self?.simulation.after(.zero) { [weak self] in self?.onMaster?(process.name) }
        }
        for number in 0..<settings.nodes { try start("n\(number + 1)") }
    }

    /// The names of the nodes that have ever been started.
    public var nodes: [String] { all.keys.sorted() }
    /// The names of the nodes whose processes run.
    public var running: [String] { all.filter { $0.value.running != nil }.keys.sorted() }

    // MARK: - Time

    /// Lets time pass, and everything happen that happens in it.
    public func run(for duration: Duration) { simulation.run(for: duration) }

    /// Lets time pass until `isDone` says so, but not more than `limit`.
    ///
    /// - Returns: whether it said so.
    @discardableResult
    public func run(atMost limit: Duration, until isDone: () -> Bool) -> Bool {
        simulation.run(until: simulation.now.advanced(by: limit), or: isDone)
        return isDone()
    }

    /// Ends everything, and lets the tasks end that wait for something. Nothing is to be done with the cluster afterwards.
    public func end() {
        simulation.trace = nil
        for node in all.values.sorted(by: { $0.name < $1.name }) { node.crash() }
        (parts.log.isAway, parts.tree.isServing) = (false, true)
        parts.network.heal()
        simulation.run(for: .seconds(120))
        for node in all.values { node.dismantle() }
        all = [:]
        parts.network.dismantle()
        parts.log.dismantle()
        parts.tree.dismantle()
        simulation.dismantle()
    }

    // MARK: - Asking

    /// Asks a node, as a request to its gateway does: `body` runs in the node's process.
    ///
    /// - Returns: where the answer will be; an error of `body` that is no `AskError` becomes one of an unknown outcome. A
    ///   process that dies answers nothing.
    public func ask<Reply: Sendable>(
        _ node: String, _ body: @escaping @Sendable (Service<P>) async throws -> Reply
    ) -> SimulatedAnswer<Reply> {
        let answer = SimulatedAnswer<Reply>()
        guard let run = self[node].running else {
            answer.set(.failure(AskError(.notApplied, .notReady, "\(node) does not run")))
            return answer
        }
        let loop = simulation.random.pick(run.loops)
        Task(executorPreference: loop) {
            let result: Result<Reply, AskError>
            do { result = .success(try await body(run.service)) } catch {
                result = .failure(error as? AskError ?? AskError(.unknown, .failed, "\(error)"))
            }
            if !run.process.isDead { answer.set(result) }
        }
        return answer
    }

    /// Watches at a node, as a client of its gateway does: `open` begins the watch in the node's process.
    ///
    /// - Parameters:
    ///   - node: its name.
    ///   - limit: how many events are taken at a time.
    ///   - pause: how long the client takes for that; `nil` for no time.
    ///   - open: begins it.
    ///   - body: gets the events, and how far they go; and in the end why there are no more, `nil` for a process that died.
    /// - Returns: what ends it; `nil` if the node's process does not run.
    public func watch(
        _ node: String, atMost limit: Int = .max, pause: Duration? = nil,
        _ open: (Service<P>, any EventExecutor, @escaping @Sendable () -> Void) throws(WatchError) -> ByteWatch,
        _ body: @escaping (Result<[ByteWatch.Event], WatchError>?, WatchToken) -> Void
    ) -> SimulatedWatch? {
        guard let run = self[node].running else { return nil }
        let watch = SimulatedWatch(run.process, limit, pause, body)
        do throws(WatchError) {
            watch.begin(try open(run.service, simulation.random.pick(run.loops)) { [weak watch] in watch?.take() })
        } catch { return nil }
        return watch
    }

    /// The time on a node's clock, for deadlines; `nil` if its process does not run.
    public func clock(of node: String) -> (any NodeClock)? {
        self[node].running.map { SimulatedClock(process: $0.process) }
    }

    /// The service of a node's process; `nil` if that does not run.
    func service(of node: String) -> Service<P>? { self[node].running?.service }

    // MARK: - What happens to nodes

    /// Starts a node, a new one or one that has died. What is on its disk is still there.
    public func start(_ node: String) throws {
        simulation.say("start \(node)")
        if all[node] == nil { all[node] = SimulatedNode(node, parts) }
        try self[node].start()
    }

    /// Kills a node's process.
    ///
    /// - Parameters:
    ///   - node: its name.
    ///   - losesDisk: whether its disk is gone as well.
    public func crash(_ node: String, losesDisk: Bool = false) {
        simulation.say("crash \(node)\(losesDisk ? " without its disk" : "")")
        self[node].crash()
        if losesDisk { self[node].disk.wipe() }
    }

    /// Stops a node in good order: it hands over what it has, and ends.
    public func stop(_ node: String, patience: Duration = .seconds(10)) {
        simulation.say("stop \(node)")
        self[node].stop(patience)
    }

    /// Stops a node's process in its tracks, until `resume`.
    public func pause(_ node: String) {
        simulation.say("pause \(node)")
        self[node].running?.process.pause()
    }

    /// Lets a process go on.
    public func resume(_ node: String) {
        simulation.say("resume \(node)")
        self[node].running?.process.resume()
    }

    /// Lets a node's process come to a stop by itself, somewhere in its code: about once in so many looks at its clock, for
    /// a time in that range, and not more often than `count` times; not at all for a rate of 0.
    public func stall(
        _ node: String, onceIn rate: Int, atMost count: Int = 3,
        for range: ClosedRange<Duration> = .milliseconds(1)...(.seconds(6))
    ) {
        guard let process = self[node].running?.process else { return }
        (process.stallRate, process.stallsLeft, process.stallRange) = (rate, count, range)
    }

    /// Sets a node's calendar that far off.
    public func setCalendar(_ node: String, off error: Duration) {
        simulation.say("the calendar of \(node) is off by \(error)")
        self[node].running?.process.calendarError = error
    }

    /// Fills a node's disk, or makes room again.
    public func fillDisk(_ node: String, _ isFull: Bool) {
        simulation.say("the disk of \(node) is \(isFull ? "full" : "no longer full")")
        self[node].disk.isFull = isFull
    }

    /// Lets writes to a node's disk fail, about once in so many; not at all for 0.
    public func failDisk(_ node: String, onceIn rate: Int) { self[node].disk.failureRate = rate }

    /// Lets a node's producer meet an error that it does not survive.
    public func failProducer(_ node: String) {
        simulation.say("the producer of \(node) fails")
        self[node].running?.log.failProducer()
    }

    /// Holds back what a node's process sends to the log from now on, or the log's word on it, until `letGo`.
    ///
    /// What is held back of a process that dies, or of a producer that fails, is still on its way.
    ///
    /// - Parameters:
    ///   - traffic: which way.
    ///   - node: whose process.
    ///   - changelog: of which changelogs; `nil` for all.
    public func hold(_ traffic: LogTraffic, of node: String, changelog: String? = nil) {
        simulation.say("\(traffic) of \(node) are held back")
        self[node].running?.log.producer.hold(traffic, of: changelog)
    }

    /// Lets everything go that is held back of a node's processes, and holds nothing back any more.
    public func letGo(_ traffic: LogTraffic, of node: String) {
        simulation.say("\(traffic) of \(node) go on")
        self[node].running?.log.producer.endHolds(traffic)
        log.letGo(traffic, of: node)
    }

    // MARK: - What happens between them

    /// Keeps what one node sends from reaching another.
    public func cut(from sender: String, to receiver: String) {
        simulation.say("\(sender) does not reach \(receiver)")
        parts.network.cut(from: NodeID(sender), to: NodeID(receiver))
    }

    /// Cuts a node off from the log's brokers, or connects it again.
    public func cutFromLog(_ node: String, _ isCut: Bool) {
        simulation.say("\(node) \(isCut ? "does not reach" : "reaches") the log")
        self[node].running?.log.isCut = isCut
    }

    /// Cuts a node off from the tree's servers, or connects it again: nothing of what it sends arrives meanwhile. What is on
    /// its way to it still comes.
    public func cutFromTree(_ node: String, _ isCut: Bool) {
        simulation.say("\(node) \(isCut ? "does not reach" : "reaches") the tree")
        self[node].running?.tree.isCut = isCut
    }

    /// Lets about one message between nodes in so many take very long; none for 0.
    public func delayMessages(onceIn rate: Int) { parts.network.delayRate = rate }

    /// Compacts the log a moment later, as far as a master has been there to overwrite what should not count.
    public func compact() {
        let before = (0..<parts.settings.partitions).map { number in
            let partition = PartitionID(keyspace: keyspace, number: number)
            return (partition, parts.watch.master(of: partition), log.quietEnds(partition))
        }
        simulation.after(.milliseconds(600)) { [self] in
            for (partition, master, ends) in before {
                guard let master, let ends, master === parts.watch.master(of: partition),
                    log.quietEnds(partition) != nil, all[master.name]?.running?.log.isReachable == true
                else { continue }
                log.settle(partition, at: ends)
            }
            log.compact()
        }
    }

    /// Lets the tree's servers go, or come back.
    public func setTree(isServing: Bool) {
        simulation.say("the tree \(isServing ? "serves" : "is away")")
        parts.tree.isServing = isServing
    }

    /// Lets the server that a node is connected to lag behind the others, or catch up.
    public func lagTree(_ node: String, _ isLagging: Bool) {
        guard let process = self[node].running?.process else { return }
        simulation.say("the tree's server of \(node) \(isLagging ? "lags" : "has caught up")")
        for session in parts.tree.sessions(of: process) {
            if isLagging { parts.tree.tree.lag(session) } else { parts.tree.tree.catchUp(session) }
        }
    }

    /// Lets what a node asks the tree, or what it hears from it, take that much longer.
    public func slowTree(_ node: String, requests: Duration = .zero, answers: Duration = .zero) {
        simulation.say(
            "the tree gets the requests of \(node) \(requests) later, and its answers take \(answers) longer")
        guard let tree = self[node].running?.tree else { return }
        (tree.requestDelay, tree.answerDelay) = (requests, answers)
    }

    /// Breaks a node's connection with the tree, which it has again a moment later: what it has not been answered yet is
    /// unknown.
    public func resetTree(_ node: String) {
        guard let process = self[node].running?.process else { return }
        simulation.say("the connection of \(node) with the tree breaks")
        parts.tree.resetSessions(of: process)
    }

    /// Ends a node's session with the tree, although the node is there.
    public func expireSession(of node: String) {
        guard let process = self[node].running?.process else { return }
        parts.tree.expireSessions(of: process)
    }

    /// Writes a record as somebody else does who knows nothing of masters.
    ///
    /// - Parameters:
    ///   - key: what routes it, too.
    ///   - value: `nil` for a removal.
    ///   - store: whose changelog it goes to.
    ///   - isOpen: whether it belongs to a transaction that has yet to end (`SimulatedLog.endForeign`).
    public func writeForeign(_ key: String, _ value: [UInt8]?, to store: String, isOpen: Bool = false) {
        let record = Record(key: Array(key.utf8), value: value, headers: RecordHeaders())
        let partition = PartitionID(
            keyspace: keyspace, number: Partitioner.partition(bytes: record.key, of: parts.settings.partitions))
        let place = SimulatedLog.Place(partition: partition, name: store)
        if isOpen { log.beginForeign(record, place) } else { log.writeForeign(record, place) }
    }

    /// Loses the answers to the next changes of the tree.
    public func loseTreeAnswers(_ count: Int, areDone: Bool) {
        simulation.say("\(count) answers of the tree get lost")
        parts.tree.tree.loseAnswers(count, areDone: areDone)
    }

    /// Ends everything that was done to nodes and between them; processes that died stay dead.
    public func heal() {
        simulation.say("heal")
        parts.network.heal()
        parts.network.delayRate = 0
        setTree(isServing: true)
        parts.tree.tree.loseAnswers(0, areDone: false)
        log.isAway = false
        log.endForeign(commits: false)
        log.starve(false)
        for node in all.values.sorted(by: { $0.name < $1.name }) {
            (node.disk.isFull, node.disk.failureRate) = (false, 0)
            guard let run = node.running else { continue }
            (run.process.stallRate, run.process.calendarError) = (0, .zero)
            run.process.resume()
            (run.log.isCut, run.tree.isCut) = (false, false)
            (run.tree.requestDelay, run.tree.answerDelay) = (.zero, .zero)
            lagTree(node.name, false)
        }
    }

    // MARK: - Looking

    /// Whether a node's process takes itself for the master of a partition, and serves it.
    public func serves(_ node: String, _ partition: Int) -> Bool {
        self[node].running.map { parts.watch.serves($0.process, self.partition(partition)) } ?? false
    }

    /// What must not be and was seen: two leases for one partition at the same moment.
    public var violation: String? { parts.watch.violation }

    /// What the replicas of a node are doing, in the order of the partitions; runs the simulation until they have said so.
    public func status(of node: String) -> [ReplicaStatus] {
        let answer = ask(node) { service throws(AskError) in await service.status() }
        run(atMost: .seconds(1)) { !answer.isWaiting }
        return answer.value ?? []
    }

    /// Whether each partition has one master, which serves, and all its other replicas are level; runs the simulation
    /// until the nodes have said so.
    public func isSettled() -> Bool {
        let statuses = running.map { status(of: $0) }
        guard !statuses.isEmpty, statuses.allSatisfy({ $0.count == parts.settings.partitions }) else { return false }
        for number in 0..<parts.settings.partitions {
            let states = statuses.map { $0[number] }
            let masters = states.filter { $0.state == .serving }
            guard masters.count == 1, let master = masters.first else { return false }
            let standbys = states.filter { $0.state == .standby && $0.position == master.position }
            guard standbys.count == min(parts.settings.replicas, running.count) - 1 else { return false }
        }
        return true
    }

    /// Takes it that every record which should not count has been overwritten: compaction may go that far.
    public func settleLog() { for number in 0..<parts.settings.partitions { log.settle(partition(number)) } }

    private func partition(_ number: Int) -> PartitionID { PartitionID(keyspace: keyspace, number: number) }

    /// Which commands of a partition's newest epoch nobody has said to be acknowledged: `nil` if all are, as they have to
    /// be once it has been quiet for more than a second.
    public func uncovered(_ number: Int) -> String? { log.uncovered(partition(number)) }

    /// What a node of the tree says; `nil` if there is none.
    public func tree(_ path: String) -> String? {
        parts.tree.tree.node(path).map { String(decoding: $0.data, as: UTF8.self) }
    }

    /// What can be read of a changelog, in order.
    public func records(of partition: Int, _ changelog: String) -> [LoggedRecord] {
        log.records(PartitionID(keyspace: keyspace, number: partition), changelog)
    }

    /// What could be read of a changelog if nothing had ever been compacted, in order.
    public func history(of partition: Int, _ changelog: String) -> [LoggedRecord] {
        let place = SimulatedLog.Place(
            partition: PartitionID(keyspace: keyspace, number: partition), name: changelog)
        return log.changelog(place).history.compactMap { $0 }
    }

    /// Whether somebody who knows a store of a partition up to `version` cannot be told all that came after it: nobody was
    /// given that version, or some offset behind it has no record (compaction took it, or it never was one). The other
    /// changelogs of the partition count too, from the time of the version on: they may have said what counts in this one;
    /// and everything that is gone counts where another master has served since.
    public func hasHole(in partition: Int, _ store: String, behind version: UInt64) -> Bool {
        let id = PartitionID(keyspace: keyspace, number: partition)
        let own = log.changelog(SimulatedLog.Place(partition: id, name: store))
        guard version <= own.slots.count else { return true }
        let known = Int(version)
        if own.slots[known...].contains(where: { $0 == nil }) { return true }
        // What a master has left incomplete when another one took over cannot be told from what compaction has taken a part
        // of, wherever something is gone.
        if Self.epoch(own.history[known...]) > Self.epoch(own.history[..<known]) { return hasHole(id) }
        guard let time = own.history[..<known].last(where: { $0 != nil })??.appended else { return hasHole(id) }
        return log.names(id).contains { name in
            let changelog = log.changelog(SimulatedLog.Place(partition: id, name: name))
            return name != store
                && changelog.slots.indices.contains { place in
                    changelog.slots[place] == nil && changelog.history[place].map { $0.appended >= time } ?? true
                }
        }
    }

    private static func epoch(_ records: ArraySlice<LoggedRecord?>) -> Epoch {
        records.reduce(.none) { max($0, $1?.record.headers.stamp?.epoch ?? .none) }
    }

    private func hasHole(_ partition: PartitionID) -> Bool {
        log.names(partition).contains { name in
            log.changelog(SimulatedLog.Place(partition: partition, name: name)).slots.contains { $0 == nil }
        }
    }

    /// What stands in the memstores of a partition's replicas, by node: the entries of each store in the order of their
    /// keys.
    public func entries(of partition: Int) -> [String: [[(key: [UInt8], entry: StoredEntry)]]] {
        let id = PartitionID(keyspace: keyspace, number: partition)
        return all.compactMapValues { $0.running.flatMap { $0.memstores[id]?.entries } }
    }

    private subscript(name: String) -> SimulatedNode<P> {
        guard let node = all[name] else { preconditionFailure("there is no node \(name)") }
        return node
    }
}

/// What a simulated cluster is made of.
public struct SimulationSettings: Sendable {
    /// What the memstores of the nodes are.
    public enum MemStore: Sendable, CaseIterable {
        /// They are lost with their process.
        case memory
        /// They are on disk, and a crash loses the newest batches at most.
        case disk
    }

    /// The name of the keyspace.
    public var keyspace = "kv"
    /// How many nodes are started.
    public var nodes = 3
    /// How many partitions the keyspace has.
    public var partitions = 2
    /// How many replicas each partition has.
    public var replicas = 2
    /// How many loops a node has.
    public var loops = 2
    /// What the memstores are.
    public var memstore = MemStore.disk
    /// How long the tree waits for word of a node.
    public var session = Duration.seconds(4)
    /// How long a node that went away keeps its replicas.
    public var grace = Duration.seconds(20)
    /// How long callers wait who give no deadline.
    public var deadline = Duration.seconds(5)
    /// What bounds the work of a partition.
    public var limits = StateLimits()
    /// How long every way takes, to the log, the tree and other nodes, where nothing is to be left to chance: neither
    /// that, nor what runs first, nor what goes together, nor what a crash loses. `nil` leaves all of it to chance.
    public var latency: Duration?
    /// How the log behaves.
    public var log = SimulatedLog.Settings()

    /// Three nodes, two partitions, two replicas.
    public init() {}
}

/// The answer of a node, once it is there.
public final class SimulatedAnswer<Reply: Sendable>: @unchecked Sendable {
    /// How it ended; `nil` while it has not.
    public private(set) var result: Result<Reply, AskError>?
    private var onAnswer: ((Result<Reply, AskError>) -> Void)?

    /// Whether there is no answer yet.
    public var isWaiting: Bool { result == nil }
    /// The reply, if that is the answer.
    public var value: Reply? { try? result?.get() }
    /// The error, if that is the answer.
    public var error: AskError? {
        if case .failure(let error) = result { error } else { nil }
    }

    func set(_ result: Result<Reply, AskError>) {
        self.result = result
        onAnswer?(result)
    }

    /// Has `body` called when the answer is there; at once if it is.
    public func then(_ body: @escaping (Result<Reply, AskError>) -> Void) {
        if let result { body(result) } else { onAnswer = body }
    }
}
