/// What a replica is doing, holds, and has counted.
package struct ReplicaFigures: Sendable {
    package var status: ReplicaStatus
    package var counts: ReplicaCounts
    /// The bytes of the commands that are on their way to the log.
    package var inFlightBytes: Int
    /// How many callers wait for a place among them.
    package var waiting: Int
    /// How many observers look at it.
    package var observers: Int
    /// What its memstore holds.
    package var size: MemStoreSize
}

/// What of a keyspace's messages goes to other nodes.
package struct ForwardingFigures: Sendable {
    /// Messages that were sent to other nodes, and those of them that no answer came to.
    package var asked: UInt64
    package var failed: UInt64
    /// Those that wait for an answer and can be asked again.
    package var sent: Int
    /// Messages that wait for a master, and their bytes.
    package var held: Int
    package var heldBytes: Int
}

/// What the service of a keyspace has counted on this node.
package struct ServiceFigures: Sendable {
    /// In the order of the partitions.
    package var replicas: [ReplicaFigures] = []
    /// `nil` for a node that is alone.
    package var forwarding: ForwardingFigures?

    init(forwarding: ForwardingFigures?) { self.forwarding = forwarding }
}
