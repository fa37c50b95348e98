/// What comes of a command: its reply, and what is known once it is durable.
public struct Commit<Reply: Sendable>: Sendable {
    /// What the handler answered.
    public let reply: Reply
    /// The version of the entry that the command wrote last; `.none` if it wrote nothing.
    public let version: Version
    /// The partition, and how far it was applied: the command included.
    public let reached: AskError.Reached
    /// Whether this is the repeated answer of a former request with the same idempotency key.
    public let isReplay: Bool

    @usableFromInline init(reply: Reply, version: Version, reached: AskError.Reached, isReplay: Bool) {
        self.reply = reply
        self.version = version
        self.reached = reached
        self.isReplay = isReplay
    }
}

/// What comes of a query: its reply, and the state that it was answered from.
public struct Answer<Reply: Sendable>: Sendable {
    /// What the handler answered.
    public let reply: Reply
    /// The partition, and how far it was applied.
    public let reached: AskError.Reached
    /// How long before the answer the replica was last known to be level with the log: nothing from the master, whose
    /// answers are linearizable.
    public internal(set) var age: Duration

    @usableFromInline init(reply: Reply, reached: AskError.Reached, age: Duration = .zero) {
        self.reply = reply
        self.reached = reached
        self.age = age
    }
}

/// What comes of a query to every partition.
public struct Gathered<Reply: Sendable>: Sendable {
    /// The answers, in the order of the partitions.
    public let answers: [Answer<Reply>]
    /// The partitions that did not answer, and why.
    public let failures: [(partition: PartitionID, error: AskError)]

    /// All answers; throws the first failure if there is one.
    public func all() throws(AskError) -> [Answer<Reply>] {
        if let failure = failures.first { throw failure.error }
        return answers
    }
}
