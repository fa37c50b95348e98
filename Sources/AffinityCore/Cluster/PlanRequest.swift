/// Which nodes hold the replicas of a keyspace's partitions.
public struct Assignment: Hashable, Sendable {
    /// For each partition its nodes, in the order in which they are preferred as master.
    public var replicas: [[NodeID]]

    /// An assignment.
    public init(replicas: [[NodeID]]) { self.replicas = replicas }
}

/// What an assignment is planned for.
public struct PlanRequest: Sendable, Equatable {
    /// A node that can hold replicas.
    public struct Member: Hashable, Sendable {
        /// The node.
        public var id: NodeID
        /// How much it is to hold, in relation to the others: 1 to 65,536, and what is beyond counts as the nearest.
        public var weight: Int

        /// A node of that weight.
        public init(id: NodeID, weight: Int = 1) {
            self.id = id
            self.weight = weight
        }
    }

    /// The nodes that can hold replicas; each once.
    public var members: [Member]
    /// How many partitions there are.
    public var partitions: Int
    /// How many replicas each is to have, as far as there are nodes.
    public var replicas: Int
    /// What is now, if anything is: what can stay stays.
    public var current: Assignment?
    /// Partitions that an operator wants on certain nodes, in that order; nodes that are no members are passed over,
    /// and what is missing is filled up.
    public var pins: [Int: [NodeID]]
    /// How many replicas each node holds of other keyspaces: where there is a choice, those with fewer get more.
    public var elsewhere: [NodeID: Int]

    /// A request of those parts.
    public init(
        members: [Member], partitions: Int, replicas: Int, current: Assignment? = nil, pins: [Int: [NodeID]] = [:],
        elsewhere: [NodeID: Int] = [:]
    ) {
        self.members = members
        self.partitions = partitions
        self.replicas = replicas
        self.current = current
        self.pins = pins
        self.elsewhere = elsewhere
    }
}
