/// What a replica has counted since the process began: only ever more.
///
/// Plain numbers, because everything of a replica runs on its one executor; whoever looks from outside gets a copy.
@usableFromInline package struct ReplicaCounts: Sendable {
    /// Commands whose handler ran, and those that got the outcome of a former request.
    @usableFromInline package var commands: UInt64 = 0
    /// Queries whose handler ran.
    @usableFromInline package var queries: UInt64 = 0
    /// Commands and queries to which the handler said no.
    @usableFromInline package var rejections: UInt64 = 0
    /// Commands that got the outcome of a former request.
    @usableFromInline package var replays: UInt64 = 0
    /// Commands and queries that the replica did not run, or did not answer in time; by the name of the cause.
    package var refusals: [String: UInt64] = [:]
    /// Records handed to the log by commands, and the bytes of their keys and values.
    package var records: UInt64 = 0
    package var recordBytes: UInt64 = 0
    /// How long it took from handing a command's records to the log until all were acknowledged.
    package var acknowledged = DurationCounts()
    /// How long the memstore took for a batch.
    package var applied = DurationCounts()
    /// Changes of entries that were applied, those that were read from the log included.
    package var changes: UInt64 = 0

    package init() {}

    /// Counts all those of another one too.
    package mutating func add(_ other: ReplicaCounts) {
        commands &+= other.commands
        queries &+= other.queries
        rejections &+= other.rejections
        replays &+= other.replays
        refusals.merge(other.refusals) { $0 &+ $1 }
        records &+= other.records
        recordBytes &+= other.recordBytes
        acknowledged.add(other.acknowledged)
        applied.add(other.applied)
        changes &+= other.changes
    }
}

/// Where a replica and its state store, which is another one for each mastership, count together.
///
/// Confined to the replica's executor.
@usableFromInline final class ReplicaMeter {
    // Exclusive access is not checked at run time, as in `StateStore`: it is one number after the other.
    @exclusivity(unchecked) @usableFromInline var counts = ReplicaCounts()

    init() {}

    /// Counts a message that is not answered as it should be, and hands its error on.
    @usableFromInline func refused(_ error: AskError) -> AskError {
        counts.refusals[error.code.name, default: 0] &+= 1
        return error
    }
}
