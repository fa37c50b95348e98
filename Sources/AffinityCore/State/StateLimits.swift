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

    /// Limits of those values.
    public init(
        commands: Int = 4096, bytes: Int = 16 << 20, waiting: Int = 8192, record: Int = (1 << 20) + (64 << 10),
        idempotency: Duration = .seconds(600), handler: Duration = .milliseconds(100)
    ) {
        self.commands = commands
        self.bytes = bytes
        self.waiting = waiting
        self.record = record
        self.idempotency = idempotency
        self.handler = handler
    }
}
