/// The cluster as a node sees it, for those who look from outside.
package struct ClusterStatus: Sendable {
    package struct Member: Sendable {
        package var id: String
        package var address: String
        package var isDraining: Bool
    }

    package struct Partition: Sendable {
        package var master: String?
        package var grant: UInt64
        /// The nodes that hold a replica, but for the master's.
        package var standbys: [String]
        /// The nodes that it is moving to, if it is.
        package var next: [String]?
    }

    package var members: [Member]
    package var partitions: [PartitionID: Partition]
    /// The session, as ZooKeeper's own tools show it; `nil` while there is none.
    package var session: String?
    package var timeout: Duration?
    /// How long the lease still runs.
    package var lease: Duration?
    package var settings: SettingsRecord
    /// Whether this node plans.
    package var isPlanner: Bool
}

extension ClusterCoordinator {
    /// What this node has read last.
    package func status() -> ClusterStatus {
        var partitions: [PartitionID: ClusterStatus.Partition] = [:]
        for (keyspace, declared) in configuration.keyspaces {
            for number in 0..<declared.partitions {
                let partition = PartitionID(keyspace: keyspace, number: number)
                let master = view.master(partition)?.record
                partitions[partition] = ClusterStatus.Partition(
                    master: master?.node, grant: master?.grant ?? 0,
                    standbys: view.hosts(partition).filter { $0 != master?.node },
                    next: view.keyspaces[keyspace]?.assignment?.next[number])
            }
        }
        return ClusterStatus(
            members: view.members.sorted { $0.key < $1.key }.map {
                ClusterStatus.Member(
                    id: $0.key, address: "\($0.value.host):\($0.value.port)", isDraining: $0.value.isDraining)
            },
            partitions: partitions, session: current.map { "0x" + String($0.session.id, radix: 16) },
            timeout: current?.session.timeout,
            lease: current.map { max(.zero, $0.lease.expiry.since(clock.monotonic)) },
            settings: view.settings, isPlanner: current != nil && planning.leader == .some(current?.session.id))
    }
}
