/// The cluster as this node has last read it, and the rules by which every node decides from it. A value.
struct ClusterView: Sendable {
    struct Master: Sendable, Equatable {
        var record: MasterRecord
        /// The session that it lives in.
        var owner: Int64
    }

    struct Keyspace: Sendable {
        var assignment: AssignmentRecord?
        var masters: [Int: Master] = [:]
    }

    var members: [String: NodeRecord] = [:]
    var settings = SettingsRecord()
    var keyspaces: [String: Keyspace] = [:]

    // MARK: - Who holds what

    /// The nodes that hold a replica, or are about to: the preferred ones first.
    func hosts(_ partition: PartitionID) -> [String] {
        guard let assignment = keyspaces[partition.keyspace]?.assignment,
            assignment.partitions.indices.contains(partition.number)
        else { return [] }
        let now = assignment.partitions[partition.number]
        return now + (assignment.next[partition.number] ?? []).filter { !now.contains($0) }
    }

    func master(_ partition: PartitionID) -> Master? { keyspaces[partition.keyspace]?.masters[partition.number] }

    func isLevel(_ node: String, _ partition: PartitionID) -> Bool {
        members[node]?.level[partition.keyspace]?.contains(partition.number) ?? false
    }

    func hasFailed(_ node: String, _ partition: PartitionID) -> Bool {
        members[node]?.failed[partition.keyspace]?.contains(partition.number) ?? false
    }

    // MARK: - Election

    /// Who may become master while there is none, the first before all others.
    ///
    /// Whom the former master has named; then the level replicas as the assignment prefers them; only if there is none
    /// the others that live. A node that stops comes last, and one whose replica has failed not at all unless all have.
    func candidates(_ partition: PartitionID, successor: String?) -> [String] {
        let live = hosts(partition).filter { members[$0] != nil }
        let able = live.filter { !hasFailed($0, partition) }
        guard !able.isEmpty else { return live }
        let level = able.filter { isLevel($0, partition) }
        let choice = level.isEmpty ? able : level
        let staying = choice.filter { !isDraining($0) }
        let ordered = staying + choice.filter(isDraining)
        guard let successor, ordered.contains(successor) else { return ordered }
        return [successor] + ordered.filter { $0 != successor }
    }

    /// The level replica on another node than `node` that comes before all others of its kind.
    func levelOther(than node: String, _ partition: PartitionID) -> String? {
        candidates(partition, successor: nil).first { $0 != node && isLevel($0, partition) }
    }

    private func isDraining(_ node: String) -> Bool { members[node]?.isDraining ?? false }

    /// Whom the master of a partition is to hand over to, if not everything is as it is preferred.
    func betterMaster(than node: String, _ partition: PartitionID) -> String? {
        let isLeaving = isDraining(node) || !hosts(partition).contains(node)
        if settings.isPaused, !isLeaving { return nil }
        // Nodes that stop come last: if the first stops, all do.
        guard let better = levelOther(than: node, partition), !isDraining(better) else { return nil }
        if isLeaving { return better }
        let order = keyspaces[partition.keyspace]?.assignment?.partitions[partition.number] ?? []
        guard let wanted = order.firstIndex(of: better) else { return nil }
        guard let own = order.firstIndex(of: node) else { return better }
        return wanted < own ? better : nil
    }
}
