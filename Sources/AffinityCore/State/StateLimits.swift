/// What bounds the work of one partition.
public struct StateLimits: Sendable {
    /// How many commands may be on their way to the log; more wait.
    public var commands: Int
    /// How many bytes of records may be on their way to the log; more wait. No command may write more than that.
    public var bytes: Int
    /// How many callers may wait for a place among the commands, and how many for a position; more are refused as
    /// overloaded.
    public var waiting: Int
    /// How many bytes key, value and tags of one record may have; the log has to take somewhat more, for the headers.
    public var record: Int
    /// How long outcomes of requests with an idempotency key are kept.
    public var idempotency: Duration
    /// A handler that runs longer is reported.
    public var handler: Duration
    /// What is kept for those who watch.
    public var watches: WatchLimits

    /// Limits of those values.
    public init(
        commands: Int = 4096, bytes: Int = 16 << 20, waiting: Int = 8192, record: Int = (1 << 20) + (64 << 10),
        idempotency: Duration = .seconds(600), handler: Duration = .milliseconds(100),
        watches: WatchLimits = WatchLimits()
    ) {
        self.commands = commands
        self.bytes = bytes
        self.waiting = waiting
        self.record = record
        self.idempotency = idempotency
        self.handler = handler
        self.watches = watches
    }
}

/// What bounds the work of a partition for those who watch it.
public struct WatchLimits: Sendable {
    /// How many of the newest changes are kept in memory, so that whoever comes back can go on from there.
    public var changes: Int
    /// How many bytes of them.
    public var bytes: Int
    /// How many watches of a partition may wait to go on from the changelog; more are tried again a moment later.
    public var waiting: Int
    /// How many passes over changelogs a node makes at a time for those of one keyspace who go on from there; others wait.
    public var replays: Int
    /// How many bytes of changelogs one of them reads, about, before it is the next one's turn.
    public var replay: Int
    /// How many bytes one of them may hold of what is not decided; who would need more starts over.
    public var undecided: Int
    /// How many bytes of missed changes a watch is handed at once, about; the next ones are read when these were taken.
    public var piece: Int
    /// How many entries of a scan are handed over at once.
    public var page: Int
    /// How many places are remembered from which the changelog can be read.
    public var checkpoints: Int
    /// How many records lie between two of them to begin with.
    public var checkpointSpacing: Int64
    /// How many watches a node may have open on one keyspace, its own and those of other nodes; more are refused.
    public var watches: Int

    /// Limits of those values.
    public init(
        changes: Int = 2048, bytes: Int = 1 << 20, waiting: Int = 1024, replays: Int = 4, replay: Int = 16 << 20,
        undecided: Int = 16 << 20, piece: Int = 256 << 10, page: Int = 128, checkpoints: Int = 64,
        checkpointSpacing: Int64 = 1024,
        watches: Int = 1_000_000
    ) {
        self.changes = changes
        self.bytes = bytes
        self.waiting = waiting
        self.replays = replays
        self.replay = replay
        self.undecided = undecided
        self.piece = piece
        self.page = page
        self.checkpoints = checkpoints
        self.checkpointSpacing = checkpointSpacing
        self.watches = watches
    }
}
