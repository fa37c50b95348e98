internal import AffinityCore

/// What `/status` shows.
public struct NodeStatus: Encodable, Sendable {
    /// A node of the system.
    public struct Member: Encodable, Sendable {
        /// The node's name.
        public var id: String
        /// Where peers reach it.
        public var address: String
        /// `up`, or `stopping` if it hands over what it has; as far as this node knows.
        public var state: String
    }

    /// A keyspace.
    public struct Keyspace: Encodable, Sendable {
        /// Its partitions, in order.
        public var partitions: [Partition]
    }

    /// A partition, as this node knows it.
    public struct Partition: Encodable, Sendable {
        /// Its number.
        public var partition: Int
        /// The node whose replica is master; `null` while there is none.
        public var master: String?
        /// The grant of the mastership.
        public var epoch: UInt64
        /// The run under that grant.
        public var run: UInt16
        /// What this node's replica is: `master`, `standby` or `none`.
        public var role: String
        /// What it is busy with.
        public var state: String
        /// Why it failed.
        public var reason: String?
        /// How far it has applied the log.
        public var position: String
        /// The end of the log as far as it knows.
        public var end: String
        /// How many records lie between the two.
        public var lag: Int64
        /// The nodes with standby replicas.
        public var standbys: [String]
        /// How many commands are on their way to the log.
        public var inFlight: Int
        /// A standby: for how many milliseconds it has not been known to be level with the log.
        public var age: Int64?
        /// How many commands this node's replica has run since the process began.
        public var commands: UInt64
        /// How many queries it has run since then.
        public var queries: UInt64
        /// The nodes that the partition moves to, if it does.
        public var next: [String]?

        private enum CodingKeys: String, CodingKey {
            case partition, master, epoch, run, role, state, reason, position, end, lag, standbys, inFlight, age, next
            case commands, queries
        }

        /// As `/status` has it: `master` is there even if it is `null`.
        public func encode(to encoder: any Encoder) throws {
            var members = encoder.container(keyedBy: CodingKeys.self)
            try members.encode(partition, forKey: .partition)
            try members.encode(master, forKey: .master)
            try members.encode(epoch, forKey: .epoch)
            try members.encode(run, forKey: .run)
            try members.encode(role, forKey: .role)
            try members.encode(state, forKey: .state)
            try members.encodeIfPresent(reason, forKey: .reason)
            try members.encode(position, forKey: .position)
            try members.encode(end, forKey: .end)
            try members.encode(lag, forKey: .lag)
            try members.encode(standbys, forKey: .standbys)
            try members.encode(inFlight, forKey: .inFlight)
            try members.encode(commands, forKey: .commands)
            try members.encode(queries, forKey: .queries)
            try members.encodeIfPresent(age, forKey: .age)
            try members.encodeIfPresent(next, forKey: .next)
        }

        /// - Parameter cluster: what the cluster says of the partition; `nil` for a node that is alone.
        init(_ replica: ReplicaStatus, node: NodeID, _ cluster: ClusterStatus.Partition?, now: MonotonicTime) {
            partition = replica.partition.number
            master = replica.role == .master ? node.description : nil
            epoch = replica.epoch.grant
            next = cluster?.next
            age = replica.level.map { now.since($0).wholeMilliseconds }
            if let cluster {
                master = cluster.master
                epoch = cluster.grant
            }
            run = replica.epoch.run
            role = replica.role.rawValue
            state = replica.state.rawValue
            reason = replica.reason
            position = replica.position.description
            end = replica.end.description
            lag = replica.position.lag(behind: replica.end)
            standbys = cluster?.standbys ?? []
            inFlight = replica.inFlight
            commands = replica.commands
            queries = replica.queries
        }
    }

    /// The name of the deployment.
    public var system: String
    /// The node that answers.
    public var node: String
    /// The nodes that it knows.
    public var nodes: [Member]
    /// The keyspaces, by name.
    public var keyspaces: [String: Keyspace]
    /// How the node stands to its cluster; absent for a node that is alone.
    public var cluster: Cluster?

    /// How a node stands to its cluster.
    public struct Cluster: Encodable, Sendable {
        /// The session with ZooKeeper, as its tools show it; absent while there is none.
        public var session: String?
        /// How long ZooKeeper waits for word of the node, in milliseconds.
        public var timeout: Int64?
        /// How long the node's lease still runs, in milliseconds.
        public var lease: Int64?
        /// Whether this node plans which nodes hold what.
        public var isPlanner: Bool
        /// Nodes that are to hold nothing.
        public var drained: [String]
        /// Whether moves are paused.
        public var isPaused: Bool

        init(_ cluster: ClusterStatus) {
            session = cluster.session
            timeout = cluster.timeout?.wholeMilliseconds
            lease = cluster.lease?.wholeMilliseconds
            isPlanner = cluster.isPlanner
            drained = cluster.settings.drained
            isPaused = cluster.settings.isPaused
        }
    }

    /// Why a request could not be answered by every partition now; empty if it could.
    public var obstacles: [String] {
        keyspaces.sorted { $0.key < $1.key }.flatMap { name, keyspace in
            keyspace.partitions.compactMap { partition in
                partition.obstacle(for: node).map { "\(name)/\(partition.partition) \($0)" }
            }
        }
    }
}

extension NodeStatus.Partition {
    /// What keeps a request that reaches `node` from being answered; `nil` if nothing is known to.
    fileprivate func obstacle(for node: String) -> String? {
        if master == nil, role == ReplicaStatus.Role.standby.rawValue || role == ReplicaStatus.Role.none.rawValue,
            reason == nil, state != ReplicaStatus.State.catchingUp.rawValue
        {
            return "has no master"
        }
        if let master, master != node { return nil }
        guard state != ReplicaStatus.State.serving.rawValue else { return nil }
        return "is \(state)" + (reason.map { ": \($0)" } ?? "")
    }
}
