/// The coordinator of many nodes: elects masters through a tree that all of them share.
///
/// Whatever it decides on was read from the tree in this session, and every write is by compare-and-set: an event only
/// says what to read again. Pinned to one executor. Called by the replicas and the node; calls `CoordinationTree`, and
/// `ClusterView` for every rule. Sessions are in `+Session`, masterships in `+Mastership`, the planner in `+Planning`.
public actor ClusterCoordinator: Coordinator {
    /// Where the coordinator runs.
    nonisolated let executor: any EventExecutor
    /// The executor that the actor is pinned to.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    /// Where the masters are.
    package nonisolated let routes: RoutingTable

    let configuration: ClusterConfiguration
    let tree: any CoordinationTree
    let clock: any NodeClock
    let report: Reporter
    let paths: ClusterPaths
    var name: String { configuration.address.node.description }

    /// The session that the node is registered in.
    final class Current: Sendable {
        let session: any TreeSession
        let lease = Lease()
        /// When the node was registered: every former session of it had ended.
        let since: MonotonicTime
        /// How often beats are written and read, and how long a lease runs from the sending of one (Q1). The others are
        /// told so, and the servers may agree to another time-out with each new connection: these stay.
        let interval: Duration
        let leaseLength: Duration

        init(_ session: any TreeSession, since: MonotonicTime) {
            self.session = session
            self.since = since
            interval = session.timeout / 8
            leaseLength = session.timeout / 4
        }
    }

    /// A replica of this node.
    struct Slot {
        let notify: @Sendable (Mastership) -> Void
        var told: Mastership?
    }

    /// What is read, and read again when it changes.
    enum Watched: Hashable, Sendable {
        case members
        case member(String)
        case settings
        case planner
        case assignment(String)
        case master(PartitionID)
    }

    /// What a node's beats say (Q2).
    struct Pulse {
        var record: BeatRecord
        /// Since when the record is known, and since when that any of its session is.
        var since: MonotonicTime
        var sessionSince: MonotonicTime
    }

    /// A partition without a master.
    struct Vacancy {
        var since: MonotonicTime
        /// Whom the former master named; unknown until the grant was read.
        var successor: String??
    }

    var current: Current?
    /// The session that the cluster is being entered with.
    var entering: (any TreeSession)?
    var view = ClusterView()
    var slots: [PartitionID: Slot] = [:] {
        didSet { if slots.count != partitions.count { partitions = slots.keys.sorted() } }
    }
    /// The partitions of these, in an order that every process has: what happens does not hang on how they are hashed.
    private(set) var partitions: [PartitionID] = []
    var dirty: Set<Watched> = []
    private var isRefreshing = false
    /// Sessions of this process that have ended: what they own is about to go.
    var formerSessions: Set<Int64> = []
    var pulses: [String: Pulse] = [:]
    var vacancies: [PartitionID: Vacancy] = [:]
    /// Partitions that a claim, or a release, is under way for.
    var claiming: Set<PartitionID> = []
    var releasing: Set<PartitionID> = []
    /// Partitions that are being handed over, and whom it did not help to hand over to lately.
    var retiring: Set<PartitionID> = []
    var distrusted: [PartitionID: (node: String, until: MonotonicTime)] = [:]
    /// Since when a master of this node cannot serve, and which ones do.
    var failing: [PartitionID: MonotonicTime] = [:]
    var serving: Set<PartitionID> = []
    /// What this node says of itself, and whether the tree has yet to hear it.
    var own: NodeRecord
    var owesPublishing = false
    var isPublishing = false
    /// Why the keyspaces cannot be served, and who waits to hear whether they can.
    var mistake: CoordinatorError?
    var hasEntered = false
    private var entrants: [CheckedContinuation<Void, Never>] = []
    var departures: [CheckedContinuation<Void, Never>] = []
    var isClosed = false
    var planning = Planning()

    /// A coordinator that does nothing before `run`.
    ///
    /// - Parameters:
    ///   - routes: hears where the masters are.
    ///   - tree: where the cluster's state is.
    ///   - executor: where the coordinator runs.
    ///   - report: where reports go.
    package init(
        _ configuration: ClusterConfiguration, tree: any CoordinationTree, routes: RoutingTable,
        on executor: any EventExecutor, clock: any NodeClock, report: @escaping Reporter
    ) {
        self.routes = routes
        self.configuration = configuration
        self.tree = tree
        self.executor = executor
        self.clock = clock
        self.report = report
        paths = ClusterPaths(system: configuration.system)
        own = NodeRecord(
            host: configuration.address.host, port: configuration.address.port, weight: configuration.weight,
            keyspaces: configuration.keyspaces.keys.sorted())
    }

    /// Stays in the cluster, with one session after the other, until `close`.
    public func run() async {
        while !isClosed {
            do throws(TreeError) {
                await live(try await tree.open())
            } catch {
                if isClosed { break }
                report(Report(.error, "no session with the coordinator", [("reason", error.reason)]))
                await executor.sleep(until: clock.monotonic.advanced(by: .seconds(1)))
            }
        }
        admitEntrants()
    }

    /// Leaves the cluster. The caller has stopped its replicas, and cancels `run`.
    public func close() async {
        isClosed = true
        current?.lease.finish()
        await (current?.session ?? entering)?.close()
        admitEntrants()
    }

    // MARK: - Replicas

    /// Enters a replica; returns when it is known that the cluster has the keyspace as this node declares it.
    public func join(
        _ partition: PartitionID, notify: @escaping @Sendable (Mastership) -> Void
    ) async throws(CoordinatorError) {
        while !hasEntered, !isClosed, mistake == nil { await withCheckedContinuation { entrants.append($0) } }
        if isClosed { throw CoordinatorError(.closed, "the node stops") }
        if let mistake { throw mistake }
        slots[partition] = Slot(notify: notify)
        if let current { reconcile(current) }
    }

    func admitEntrants() {
        let waiting = entrants
        entrants = []
        for continuation in waiting { continuation.resume() }
    }

    /// Says how far a replica is; the other nodes hear of it soon.
    public nonisolated func report(_ partition: PartitionID, _ readiness: Readiness) {
        executor.post { [self] in assumeIsolated { $0.note(partition, readiness) } }
    }

    func note(_ partition: PartitionID, _ readiness: Readiness) {
        let (name, number) = (partition.keyspace, partition.number)
        let before = own
        own.level[name, default: PartitionSet()].set(number, readiness == .level || readiness == .serving)
        own.failed[name, default: PartitionSet()].set(number, readiness == .failed)
        if readiness == .serving { serving.insert(partition) } else { serving.remove(partition) }
        if readiness == .failed, failing[partition] == nil { failing[partition] = clock.monotonic }
        // One that begins anew has not come through yet.
        if readiness == .serving || readiness == .level { failing[partition] = nil }
        if own != before { publish() }
    }

    // MARK: - Reading

    /// Looks again at once where somebody else has changed something, and at the next tick where something is wrong:
    /// it will be wrong again.
    func touch(_ watched: Watched, after error: TreeError?, _ current: Current) {
        guard let error, error.code != .conflict else { return touch(watched, current) }
        planning.unread.insert(watched)
    }

    /// Something may have changed.
    func touch(_ watched: Watched, _ current: Current) {
        guard current === self.current else { return }
        dirty.insert(watched)
        startRefreshing()
    }

    func startRefreshing() {
        guard !isRefreshing, let current else { return }
        isRefreshing = true
        Task(executorPreference: executor) { await self.refresh(current) }
    }

    private func refresh(_ current: Current) async {
        while current === self.current, !dirty.isEmpty {
            let batch = dirty
            dirty = []
            let found = await read(batch, current)
            guard current === self.current else { break }
            for (watched, finding) in found { take(watched, finding, current) }
            reconcile(current)
        }
        isRefreshing = false
        if !dirty.isEmpty { startRefreshing() }
    }

    private enum Finding: Sendable {
        case node(TreeNode?)
        case children([String])
        case nothing
    }

    private func read(_ batch: Set<Watched>, _ current: Current) async -> [(Watched, Finding)] {
        await withTaskGroup(of: (Watched, Finding).self) { group in
            for (path, watched) in batch.map({ (path($0), $0) }).sorted(by: { $0.0 < $1.0 }) {
                let onChange: @Sendable () -> Void = { [weak self] in
                    self?.executor.post { [weak self] in self?.assumeIsolated { $0.touch(watched, current) } }
                }
                group.addTask(executorPreference: executor) {
                    await (watched, Self.read(path, isList: watched == .members, current, onChange))
                }
            }
            var found: [(Watched, Finding)] = []
            for await finding in group { found.append(finding) }
            return found
        }
    }

    private static func read(
        _ path: String, isList: Bool, _ current: Current, _ onChange: @escaping @Sendable () -> Void
    ) async -> Finding {
        do throws(TreeError) {
            guard isList else { return .node(try await current.session.read(path, onChange: onChange)) }
            return .children(try await current.session.children(of: path, onChange: onChange) ?? [])
        } catch { return .nothing }
    }

    private func path(_ watched: Watched) -> String {
        switch watched {
        case .members: paths.nodes
        case .member(let id): paths.node(id)
        case .settings: paths.settings
        case .planner: paths.planner
        case .assignment(let keyspace): paths.assignment(keyspace)
        case .master(let partition): paths.master(partition)
        }
    }

    private func take(_ watched: Watched, _ finding: Finding, _ current: Current) {
        switch (watched, finding) {
        case (.members, .children(let names)):
            for gone in view.members.keys.sorted() where !names.contains(gone) { takeMember(gone, nil) }
            for name in names where view.members[name] == nil { dirty.insert(.member(name)) }
        case (.member(let id), .node(let node)): takeMember(id, node.flatMap { NodeRecord(bytes: $0.data) })
        case (.settings, .node(let node)): takeSettings(node)
        case (.planner, .node(let node)): planning.leader = .some(node.map { $0.owner ?? 0 })
        case (.assignment(let keyspace), .node(let node)): takeAssignment(keyspace, node)
        case (.master(let partition), .node(let node)):
            view.keyspaces[partition.keyspace, default: ClusterView.Keyspace()].masters[partition.number] = node.map {
                // What cannot be read is a master nevertheless, of somebody.
                let record = MasterRecord(bytes: $0.data) ?? MasterRecord(node: "", grant: 0)
                return ClusterView.Master(record: record, owner: $0.owner ?? 0)
            }
        default:
            // It could not be read; the next tick tries again.
            planning.unread.insert(watched)
        }
    }

    private func takeMember(_ id: String, _ record: NodeRecord?) {
        if view.members[id] != nil, record == nil {
            planning.missing[id] = clock.monotonic
            planning.seenLeaving.insert(id)
        }
        view.members[id] = record
    }

    /// An assignment that cannot be read changes nothing, and nobody plans over it.
    private func takeAssignment(_ keyspace: String, _ node: TreeNode?) {
        let record = node.flatMap { AssignmentRecord(bytes: $0.data) }
        planning.versions[keyspace] = node?.version
        if (node == nil) != (record == nil) {
            planning.unreadable.insert(keyspace)
            return report(
                Report(.error, "an assignment cannot be read", [("node", paths.assignment(keyspace))]))
        }
        planning.unreadable.remove(keyspace)
        view.keyspaces[keyspace, default: ClusterView.Keyspace()].assignment = record
    }

    /// Settings that cannot be read change nothing.
    private func takeSettings(_ node: TreeNode?) {
        guard let node else { return view.settings = SettingsRecord() }
        guard let settings = SettingsRecord(bytes: node.data) else {
            return report(Report(.error, "the settings of the cluster cannot be read", [("node", paths.settings)]))
        }
        view.settings = settings
    }

    // MARK: - Deciding

    /// Does what is to be done as things are.
    func reconcile(_ current: Current) {
        publishRoutes()
        chooseHandovers(current)
        for partition in partitions {
            guard let slot = slots[partition], let word = word(on: partition, current), word != slot.told else {
                continue
            }
            slots[partition]?.told = word
            slot.notify(word)
        }
        fillVacancies(current)
        plan(current)
        letGo(current)
    }

    /// What a replica is to be; `nil` while that is not known.
    private func word(on partition: PartitionID, _ current: Current) -> Mastership? {
        guard view.keyspaces[partition.keyspace]?.assignment != nil else { return nil }
        if let master = view.master(partition), master.owner == current.session.id {
            let grant = Grant(number: master.record.grant, lease: current.lease)
            return retiring.contains(partition) ? .retiring(grant) : .master(grant)
        }
        // What a former session of this process owns is about to go: then it is seen who comes after it.
        if let master = view.master(partition), formerSessions.contains(master.owner) { return nil }
        let isVacant = view.master(partition) == nil
        guard view.hosts(partition).contains(name) else { return .absent }
        // A master whose session is over goes on until another one is chosen; it only cannot lean on its lease.
        if isVacant, case .master = slots[partition]?.told { return nil }
        return .standby
    }

    private func publishRoutes() {
        for (keyspace, declared) in configuration.keyspaces {
            var found: [Int: RoutingTable.Route] = [:]
            for number in 0..<declared.partitions {
                guard let master = view.master(PartitionID(keyspace: keyspace, number: number)) else {
                    found[number] = RoutingTable.Route.none
                    continue
                }
                let address = view.members[master.record.node].map {
                    PeerAddress(node: NodeID(master.record.node), host: $0.host, port: $0.port)
                }
                found[number] = RoutingTable.Route(master: address, grant: master.record.grant)
            }
            routes.update(keyspace, found)
        }
    }
}

extension ClusterCoordinator {
    /// Waits a little before something is tried again whose answer was lost.
    func pause() async { await executor.sleep(until: clock.monotonic.advanced(by: .milliseconds(50))) }
}

extension EventExecutor {
    /// Returns at `time` or soon after it.
    func sleep(until time: MonotonicTime) async {
        await withCheckedContinuation { continuation in schedule(at: time) { continuation.resume() } }
    }
}
