/// What a replica is doing, for those who look from outside.
public struct ReplicaStatus: Sendable {
    /// What the replica is to its partition.
    public enum Role: String, Sendable {
        /// It runs commands.
        case master
        /// It follows the log.
        case standby
        /// Neither, for now.
        case none
    }

    /// What the replica is busy with.
    public enum State: String, Sendable {
        /// It has not heard from the coordinator yet.
        case starting
        /// It reads the log to its end.
        case catchingUp = "catching-up"
        /// It follows the log.
        case standby
        /// It announces its epoch in the log.
        case claiming
        /// It rewrites what a former master left in doubt.
        case repairing
        /// It runs commands and queries.
        case serving
        /// It finishes what is in flight and runs nothing new.
        case handingOver = "handing-over"
        /// It has ended.
        case stopped
        /// It could not go on; see `reason`.
        case failed
    }

    /// The partition.
    public var partition: PartitionID
    /// What the replica is to its partition.
    public var role: Role
    /// What it is busy with.
    public var state: State
    /// Why it failed.
    public var reason: String?
    /// The epoch of its mastership.
    public var epoch: Epoch
    /// How far it has applied the log.
    public var position: Position
    /// The end of the log as far as it knows.
    public var end: Position
    /// How many commands are on their way to the log.
    public var inFlight: Int
    /// A standby: when it was last known to be level with the log.
    public var level: MonotonicTime?
    /// A master: when the lease ends under which it answers without asking the log.
    public var lease: MonotonicTime?
    /// How many commands it has run since the process began.
    public var commands: UInt64 = 0
    /// How many queries it has run since the process began.
    public var queries: UInt64 = 0
}
