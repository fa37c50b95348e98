/// All that a node lends to its replicas: executors aside, everything that the core must not make itself.
public struct PartitionEnvironment: Sendable {
    /// The node's own name.
    public var node: NodeID
    /// What time it is.
    public var clock: any NodeClock
    /// Where randomness comes from. Called on any thread.
    public var random: @Sendable () -> UInt64
    /// Opens memstores.
    public var memstores: any MemStoreEngine
    /// Holds the changelogs.
    public var log: any ChangeLog
    /// Decides who is master.
    public var coordinator: any Coordinator
    /// Where reports go.
    public var report: Reporter
    /// What bounds the work of one partition.
    public var limits: StateLimits
    /// How long callers wait who give no deadline.
    public var deadline: Duration
    /// How long the log keeps tombstones; a memstore that missed half of it is made anew (PROTOCOL §7).
    public var deleteRetention: Duration
    /// How long the log keeps every record before compaction may take it (PROTOCOL §5).
    public var compactionLag: Duration
    /// How often a master looks whether others have written to its changelogs (PROTOCOL W6).
    public var poll: Duration
    /// Whether a query waits for the log's proof that no other master could have acknowledged a write before it read
    /// (PROTOCOL Q3). Without, the coordinator is trusted.
    public var provesReads: Bool
    /// How long a replica that failed waits before it tries again.
    public var retry: Duration
    /// How messages reach the masters on other nodes; `nil` if there are none.
    package var routing: Routing?
    /// Who reads changelogs for those who watch: as many at a time as the limits say.
    let replays: Turns

    /// What a node of a cluster routes by.
    package struct Routing: Sendable {
        /// Where the masters are.
        package var table: RoutingTable
        /// How other nodes are asked.
        package var link: any PeerLink
        /// How many requests of a keyspace may wait for a master, and how many bytes of messages.
        package var heldRequests = 10_000
        package var heldBytes = 64 << 20

        package init(table: RoutingTable, link: any PeerLink) {
            self.table = table
            self.link = link
        }
    }

    /// An environment of those parts.
    public init(
        node: NodeID, clock: any NodeClock, random: @escaping @Sendable () -> UInt64,
        memstores: any MemStoreEngine, log: any ChangeLog, coordinator: any Coordinator, report: @escaping Reporter,
        limits: StateLimits = StateLimits(), deadline: Duration = .seconds(10),
        deleteRetention: Duration = .seconds(86_400), compactionLag: Duration = .seconds(86_400),
        poll: Duration = .milliseconds(100), provesReads: Bool = false, retry: Duration = .seconds(1)
    ) {
        self.node = node
        self.clock = clock
        self.random = random
        self.memstores = memstores
        self.log = log
        self.coordinator = coordinator
        self.report = report
        self.limits = limits
        self.deadline = deadline
        self.deleteRetention = deleteRetention
        self.compactionLag = compactionLag
        self.poll = poll
        self.provesReads = provesReads
        self.retry = retry
        replays = Turns(limits.watches.replays)
    }
}
