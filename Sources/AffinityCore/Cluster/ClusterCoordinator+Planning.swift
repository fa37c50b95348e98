/// What the planner remembers between two looks; nothing of it has to survive.
struct Planning {
    /// The session of the node that plans; unknown until it was read, `nil` inside if there is none.
    var leader: Int64??
    /// The versions of the assignments as they were read.
    var versions: [String: Int32] = [:]
    /// What could not be read.
    var unread: Set<ClusterCoordinator.Watched> = []
    /// The nodes that were there at the last look, and when the last one came.
    var present: Set<String> = []
    var lastArrival: MonotonicTime?
    /// Keyspaces whose assignment is there and cannot be read.
    var unreadable: Set<String> = []
    /// Since when nodes are gone, which of them this node has seen leaving, and what they were when they went.
    var missing: [String: MonotonicTime] = [:]
    var seenLeaving: Set<String> = []
    var weights: [String: Int] = [:]
    /// Keyspaces whose assignment is being written.
    var writing: Set<String> = []
    var isStanding = false
    /// The last plan of each keyspace, and what it was made for.
    var plans: [String: (request: PlanRequest, plan: Assignment)] = [:]
    /// When a partition's move has failed: it is not tried again at once.
    var setbacks: [PartitionID: MonotonicTime] = [:]

    init() {}

    /// Of a new session: what went away keeps its time.
    init(keeping former: Planning) {
        missing = former.missing
        seenLeaving = former.seenLeaving
        weights = former.weights
    }
}

/// The planner: one node writes which nodes hold the replicas.
///
/// A replica that moves is warmed up before the former one goes: `next` names where it is to be, and takes the place
/// of what is once everything new there is level.
extension ClusterCoordinator {
    /// How long after a node has come the planner waits for others: a system starts all at once.
    private static let settling = Duration.milliseconds(300)

    func plan(_ current: Current) {
        guard case .some(let leader) = planning.leader else { return }
        guard let leader else { return standForPlanner(current) }
        // Who stops plans nothing any more: the others may be stopping too.
        guard leader == current.session.id, view.members[name] != nil, !own.isDraining else { return }
        guard hasSettled() else { return }
        for (keyspace, declared) in configuration.keyspaces.sorted(by: { $0.key < $1.key }) {
            guard !planning.writing.contains(keyspace), !planning.unreadable.contains(keyspace),
                let view = view.keyspaces[keyspace]
            else { continue }
            let wanted = assignment(keyspace, declared, view.assignment)
            guard let wanted, wanted != view.assignment else { continue }
            planning.writing.insert(keyspace)
            Task(executorPreference: executor) { await self.write(wanted, keyspace, current) }
        }
    }

    private func standForPlanner(_ current: Current) {
        guard !planning.isStanding else { return }
        planning.isStanding = true
        Task(executorPreference: executor) { await self.becomePlanner(current) }
    }

    private func becomePlanner(_ current: Current) async {
        // Another one may be first: what is there is read next.
        var failure: TreeError?
        do throws(TreeError) {
            try await current.session.commit([.create(paths.planner, Array(name.utf8), isEphemeral: true)])
        } catch { failure = error }
        planning.isStanding = false
        touch(.planner, after: failure, current)
    }

    /// Notes who came and who went; false while more may come.
    private func hasSettled() -> Bool {
        let now = clock.monotonic
        let present = Set(view.members.keys)
        for node in present.subtracting(planning.present).sorted() {
            planning.lastArrival = now
            executor.schedule(at: now.advanced(by: Self.settling)) { [weak self] in
                self?.assumeIsolated { coordinator in
                    if let current = coordinator.current { coordinator.reconcile(current) }
                }
            }
            planning.missing[node] = nil
            planning.seenLeaving.remove(node)
        }
        planning.present = present
        for (node, record) in view.members { planning.weights[node] = record.weight }
        guard let last = planning.lastArrival else { return true }
        return now >= last.advanced(by: Self.settling)
    }

    private func write(_ wanted: AssignmentRecord, _ keyspace: String, _ current: Current) async {
        let path = paths.assignment(keyspace)
        let change: TreeChange =
            planning.versions[keyspace].map { .set(path, wanted.bytes, version: $0) }
            ?? .create(path, wanted.bytes, isEphemeral: false)
        var failure: TreeError?
        do throws(TreeError) { try await current.session.commit([change]) } catch {
            failure = error
            if error.code == .refused {
                report(Report(.error, "the assignment cannot be written", [("reason", error.reason)]))
            }
        }
        planning.writing.remove(keyspace)
        touch(.assignment(keyspace), after: failure, current)
    }

    // MARK: - What is wanted

    /// What the assignment of a keyspace is to be; `nil` if nothing is to change.
    private func assignment(
        _ keyspace: String, _ declared: ClusterConfiguration.Keyspace, _ now: AssignmentRecord?
    ) -> AssignmentRecord? {
        let able = view.members.filter {
            $0.value.keyspaces.contains(keyspace) && !view.settings.drained.contains($0.key)
        }
        guard !able.isEmpty else { return nil }
        var members = able.map { PlanRequest.Member(id: NodeID($0.key), weight: $0.value.weight) }
        guard let now, now.partitions.count == declared.partitions else {
            let plan = plan(keyspace, declared, members, nil)
            return AssignmentRecord(partitions: names(plan))
        }
        let intended = Assignment(
            replicas: now.partitions.indices.map { (now.next[$0] ?? now.partitions[$0]).map(NodeID.init) })
        let orphans = now.partitions.indices.filter { isOrphaned(PartitionID(keyspace: keyspace, number: $0)) }
        if !orphans.isEmpty {
            // Whatever else is wanted: these have nobody, and get what the nodes that are there can give.
            let plan = names(plan(keyspace, declared, members, intended))
            var wanted = now
            for number in orphans { (wanted.partitions[number], wanted.next[number]) = (plan[number], nil) }
            return wanted
        }
        if view.settings.isPaused { return nil }
        members += absent(from: now).map { PlanRequest.Member(id: NodeID($0), weight: planning.weights[$0] ?? 1) }
        return step(keyspace, from: now, to: names(plan(keyspace, declared, members, intended)))
    }

    /// Whether nobody is left who holds a partition. Nodes that this one has not seen leaving may be about to come, as
    /// when a whole system starts.
    private func isOrphaned(_ partition: PartitionID) -> Bool {
        view.hosts(partition).allSatisfy { node in
            guard view.members[node] == nil else { return false }
            return planning.seenLeaving.contains(node) || isGone(node, for: Self.patience)
        }
    }

    /// Whether a node that is not there has been away for so long. The planner may have become it only now: then it
    /// counts from here.
    private func isGone(_ node: String, for duration: Duration) -> Bool {
        let now = clock.monotonic
        let since = planning.missing[node] ?? now
        planning.missing[node] = since
        return now >= since.advanced(by: duration)
    }

    /// How long nodes that hold the only replicas of a partition are waited for when the system starts.
    private static let patience = Duration.seconds(10)

    /// The nodes that went away a short while ago: they keep what they have, for they are likely to come back.
    private func absent(from assignment: AssignmentRecord) -> Set<String> {
        Set(assignment.partitions.joined()).filter { node in
            view.members[node] == nil && !view.settings.drained.contains(node)
                && !isGone(node, for: configuration.grace)
        }
    }

    private func plan(
        _ keyspace: String, _ declared: ClusterConfiguration.Keyspace, _ members: [PlanRequest.Member],
        _ current: Assignment?
    ) -> Assignment {
        let request = PlanRequest(
            members: members.sorted { $0.id.description < $1.id.description }, partitions: declared.partitions,
            replicas: declared.replicas, current: current,
            pins: (view.settings.pins[keyspace] ?? [:]).mapValues { $0.map(NodeID.init) },
            elsewhere: elsewhere(keyspace))
        if let known = planning.plans[keyspace], known.request == request { return known.plan }
        let plan = Assignment.planned(for: request)
        planning.plans[keyspace] = (request, plan)
        return plan
    }

    private func elsewhere(_ keyspace: String) -> [NodeID: Int] {
        var counts: [NodeID: Int] = [:]
        for (other, view) in view.keyspaces where other != keyspace {
            for node in (view.assignment?.partitions ?? []).joined() { counts[NodeID(node), default: 0] += 1 }
        }
        return counts
    }

    private func names(_ plan: Assignment) -> [[String]] { plan.replicas.map { $0.map(\.description) } }

    /// Whether a move has failed so lately that it is not tried again yet.
    private func hadSetback(_ partition: PartitionID) -> Bool {
        guard let setback = planning.setbacks[partition] else { return false }
        return clock.monotonic < setback.advanced(by: Self.patience)
    }

    /// The next step from what is to what is planned: what is new warms up first, a bounded number at a time.
    private func step(_ keyspace: String, from now: AssignmentRecord, to plan: [[String]]) -> AssignmentRecord {
        var wanted = now
        wanted.next = [:]
        var fresh: [Int] = []
        for (number, target) in plan.enumerated() {
            let held = now.partitions[number]
            let added = target.filter { !held.contains($0) }
            let partition = PartitionID(keyspace: keyspace, number: number)
            let isWarm = added.allSatisfy { view.isLevel($0, partition) }
            if added.isEmpty || isWarm {
                wanted.partitions[number] = target
            } else if added.contains(where: { view.members[$0] == nil || view.hasFailed($0, partition) }) {
                // Nothing warms up there; it stays where it is, and holds up no other move.
                if now.next[number] != nil { planning.setbacks[partition] = clock.monotonic }
            } else if now.next[number] != nil {
                wanted.next[number] = target
            } else if !hadSetback(partition) {
                fresh.append(number)
            }
        }
        for number in fresh.prefix(max(0, configuration.concurrency * 4 - wanted.next.count)) {
            wanted.next[number] = plan[number]
        }
        return wanted
    }
}
