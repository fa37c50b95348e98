internal import Synchronization

/// The watches of one node on one keyspace: finds each of their parts the master that fills it, here or on another node,
/// and another one when that is over, from where the part is.
///
/// Called by `Service`, by those who watch (on any thread), and by replicas that do not serve any longer; calls
/// `PartitionReplica` and `WatchLink`. Its executor is the service's first.
actor WatchRouter: WatchOwner {
    /// Where a part is on its way.
    private enum Place {
        /// It waits until there is a master, or until it is tried again.
        case waiting
        /// The replica of this node is being asked.
        case opening
        /// The replica of this node fills it.
        case here
        /// It is another node's.
        case there(WatchLink)
    }

    private struct Entry {
        let part: WatchPart
        let patience: Duration
        var place = Place.waiting
        /// Counts the tries: word of a former one is ignored.
        var attempt: UInt64 = 0
        /// Whether the replica has let go of it while it was being asked.
        var isLost = false
        /// Since when nobody has filled it.
        var since: MonotonicTime
    }

    nonisolated let executor: any EventExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private let keyspace: String
    private let node: NodeID
    private let clock: any NodeClock
    private let random: @Sendable () -> UInt64
    private let limit: Int
    private let routing: PartitionEnvironment.Routing?
    /// Where the masters of this node are; set once, before anything else happens.
    private nonisolated let replicas = Mutex<[any WatchedReplica]>([])
    private nonisolated let lastNumber = Atomic<UInt64>(0)
    private nonisolated let isDraining = Flag()
    private var entries: [UInt64: Entry] = [:]
    /// Those that wait, by partition.
    private var waiting: [Int: Set<UInt64>] = [:]
    private var isRetrying = false
    /// When it is looked at next how long each has waited.
    private var nextLook = MonotonicTime.notYet
    /// One for each node that has a master of some part.
    private var links: [NodeID: WatchLink] = [:]

    /// How long a part waits before it is tried again, if nobody says that something has changed.
    private static let retry = Duration.milliseconds(50)

    init(_ keyspace: String, _ environment: PartitionEnvironment, on executor: any EventExecutor) {
        self.keyspace = keyspace
        self.executor = executor
        node = environment.node
        clock = environment.clock
        random = environment.random
        limit = environment.limits.watches.watches
        routing = environment.routing
    }

    /// Names the replicas of this node.
    nonisolated func begin(_ replicas: [any WatchedReplica]) { self.replicas.withLock { $0 = replicas } }

    // MARK: - Called from outside, on any thread

    /// Begins a watch.
    nonisolated func open(
        _ buffer: WatchBuffer, _ store: Int, _ name: String, _ scope: WatchScope, _ partitions: [Int]
    ) -> ByteWatch {
        let parts = partitions.enumerated().map { index, partition in
            let number = lastNumber.wrappingAdd(1, ordering: .relaxed).newValue
            return WatchPart(
                number, partition: partition, store: store, name, scope, buffer, index, owner: self)
        }
        executor.post { [self] in assumeIsolated { $0.add(parts) } }
        return ByteWatch(buffer, parts, self)
    }

    /// The watch is over.
    nonisolated func remove(_ parts: [WatchPart]) {
        executor.post { [self] in assumeIsolated { router in for part in parts { router.remove(part) } } }
    }

    /// These partitions may have another master.
    nonisolated func wake(_ partitions: [Int]) {
        executor.post { [self] in assumeIsolated { $0.look(at: partitions) } }
    }

    /// Ends all watches: the node stops.
    nonisolated func drain() {
        isDraining.set(true)
        executor.post { [self] in assumeIsolated { $0.endAll() } }
    }

    nonisolated func lost(_ parts: [WatchPart]) {
        executor.post { [self] in assumeIsolated { router in for part in parts { router.lose(part) } } }
    }

    nonisolated func more(_ part: WatchPart) {
        executor.post { [self] in assumeIsolated { $0.wantMore(part) } }
    }

    // MARK: - The parts

    private func add(_ parts: [WatchPart]) {
        for part in parts {
            if isDraining.isSet { return end(part, .draining, "the node stops") }
            if entries.count >= limit { return end(part, .overloaded, "the node has too many watches") }
            // It may have been given up already.
            if part.buffer.hasEnded { continue }
            entries[part.number] = Entry(part: part, patience: part.buffer.options.patience, since: clock.monotonic)
            place(part.number)
        }
    }

    private func end(_ part: WatchPart, _ code: WatchError.Code, _ reason: String) {
        if part.buffer.end(WatchError(code, reason)) { part.buffer.signal() }
    }

    private func remove(_ part: WatchPart) {
        guard let entry = entries.removeValue(forKey: part.number) else { return }
        leave(entry)
    }

    /// Takes a part away from whoever fills it.
    private func leave(_ entry: Entry) {
        let part = entry.part
        switch entry.place {
        case .waiting:
            waiting[part.partition]?.remove(part.number)
            if waiting[part.partition]?.isEmpty == true { waiting[part.partition] = nil }
        case .opening, .here:
            let replica = replica(part.partition)
            Task(executorPreference: executor) { await replica.close(part) }
        case .there(let link): link.remove(part)
        }
    }

    private func replica(_ partition: Int) -> any WatchedReplica { replicas.withLock { $0[partition] } }

    private func endAll() {
        for entry in entries.values.sorted(by: { $0.part.number < $1.part.number }) {
            end(entry.part, .draining, "the node stops")
            leave(entry)
        }
        (entries, waiting) = ([:], [:])
        for link in links.values { link.end() }
        links = [:]
    }

    // MARK: - Finding a master

    private func place(_ number: UInt64) {
        guard var entry = entries[number] else { return }
        let part = entry.part
        entry.attempt += 1
        entry.isLost = false
        if replica(part.partition).isServingWatches {
            entry.place = .opening
            entries[number] = entry
            return open(part, entry.attempt)
        }
        if let master = master(of: part.partition), master.node != node {
            let link = link(to: master)
            entry.place = .there(link)
            entries[number] = entry
            return link.add(part)
        }
        entries[number] = entry
        wait(number)
    }

    private func open(_ part: WatchPart, _ attempt: UInt64) {
        let replica = replica(part.partition)
        // Ends when the replica has answered, which it does within the service's deadline.
        Task(executorPreference: executor) {
            do throws(AskError) {
                try await replica.open(part)
                await self.opened(part, attempt, nil)
            } catch { await self.opened(part, attempt, error) }
        }
    }

    private func opened(_ part: WatchPart, _ attempt: UInt64, _ error: AskError?) async {
        guard let entry = entries[part.number], entry.attempt == attempt, case .opening = entry.place else {
            // It was given up meanwhile.
            if error == nil, entries[part.number] == nil { await replica(part.partition).close(part) }
            return
        }
        if error == nil, !entry.isLost {
            entries[part.number]?.place = .here
            entries[part.number]?.since = .never
        } else {
            wait(part.number)
        }
    }

    /// Whoever has filled it does not any longer.
    private func lose(_ part: WatchPart) {
        guard let entry = entries[part.number] else { return }
        switch entry.place {
        case .opening: entries[part.number]?.isLost = true
        case .here: goOn(part.number)
        case .waiting, .there: break
        }
    }

    private func goOn(_ number: UInt64) {
        if entries[number]?.since == .never { entries[number]?.since = clock.monotonic }
        place(number)
    }

    /// Waits until something has changed, or for a moment.
    private func wait(_ number: UInt64) {
        guard let entry = entries[number] else { return }
        entries[number]?.place = .waiting
        let now = clock.monotonic
        if entry.since == .never { entries[number]?.since = now }
        if entry.since != .never, now.since(entry.since) > entry.patience {
            entries[number] = nil
            return end(entry.part, .notReady, "partition \(entry.part.partition) of \(keyspace) has no master")
        }
        waiting[entry.part.partition, default: []].insert(number)
        retryLater()
    }

    private func tryAgain() {
        isRetrying = false
        let now = clock.monotonic
        // Those without a master are gone through seldom: there may be very many, and all wait for the same.
        let isAnyLate = nextLook <= now
        if isAnyLate { nextLook = now.advanced(by: .milliseconds(250)) }
        for partition in waiting.keys.sorted() where isAnyLate || hasMaster(partition) { placeWaiting(partition) }
        if !waiting.isEmpty { retryLater() }
    }

    private func hasMaster(_ partition: Int) -> Bool {
        if replica(partition).isServingWatches { return true }
        return master(of: partition).map { $0.node != node } ?? false
    }

    /// Where the master of a partition is said to be.
    private func master(of partition: Int) -> PeerAddress? {
        routing?.table[PartitionID(keyspace: keyspace, number: partition)].master
    }

    private func retryLater() {
        guard !isRetrying else { return }
        isRetrying = true
        executor.schedule(at: clock.monotonic.advanced(by: Self.retry)) { [weak self] in
            self?.assumeIsolated { $0.tryAgain() }
        }
    }

    private func placeWaiting(_ partition: Int) {
        for number in (waiting.removeValue(forKey: partition) ?? []).sorted() { place(number) }
    }

    private func look(at partitions: [Int]) {
        for partition in partitions {
            placeWaiting(partition)
            guard let master = master(of: partition) else { continue }
            for link in links.values.sorted(by: { $0.peer.node.description < $1.peer.node.description })
            where link.peer != master { for part in link.give(up: partition) { goOn(part.number) } }
        }
    }

    private func wantMore(_ part: WatchPart) {
        switch entries[part.number]?.place {
        case .opening, .here:
            // Whoever reads may have the first page before word has come that the replica is there.
            let replica = replica(part.partition)
            Task(executorPreference: executor) { await replica.more(part) }
        case .there(let link): link.more(part)
        case .waiting, nil: break
        }
    }

    // MARK: - Masters elsewhere

    private func link(to master: PeerAddress) -> WatchLink {
        if let link = links[master.node], link.peer == master { return link }
        guard let routing else { preconditionFailure("only a node of a cluster knows others") }
        let link = WatchLink(
            master, keyspace, routing.link, clock, on: executor, session: random(),
            onOpen: { [weak self] part in self?.assumeIsolated { $0.entries[part.number]?.since = .never } },
            onLoss: { [weak self] parts, link in self?.assumeIsolated { $0.lose(parts, link) } })
        links[master.node] = link
        return link
    }

    /// A link has failed as a whole, or lost some of its parts.
    private func lose(_ parts: [WatchPart], _ link: WatchLink) {
        if link.hasEnded, links[link.peer.node] === link { links[link.peer.node] = nil }
        // Not at once: whoever does not answer, or is no master, would be asked without a pause.
        for part in parts where entries[part.number] != nil { wait(part.number) }
    }

    /// How many parts there are.
    var count: Int { entries.count }
}
