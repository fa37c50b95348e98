/// What a node tells the cluster of itself.
public struct ClusterConfiguration: Sendable {
    /// A keyspace, as every node of the system has to declare it.
    public struct Keyspace: Sendable {
        /// How many partitions it has.
        public var partitions: Int
        /// How many replicas each is to have, as far as there are nodes.
        public var replicas: Int

        /// A keyspace of so many partitions.
        public init(partitions: Int, replicas: Int) {
            self.partitions = partitions
            self.replicas = replicas
        }
    }

    /// The name of the system: the tree's topmost node.
    public var system: String
    /// The node, and where its peers reach it.
    public var address: PeerAddress
    /// How much of the data the node is to hold, in relation to others.
    public var weight = 1
    /// The keyspaces that the node serves.
    public var keyspaces: [String: Keyspace]
    /// How long a node that went away keeps its replicas: a restart moves nothing.
    public var grace: Duration = .seconds(60)
    /// How many partitions a node hands over at a time; four times as many replicas are warmed up at a time.
    public var concurrency = 16

    /// A node of a system.
    public init(system: String, address: PeerAddress, keyspaces: [String: Keyspace]) {
        self.system = system
        self.address = address
        self.keyspaces = keyspaces
    }
}
