/// How an embedded log works.
public struct LocalLogConfiguration: Sendable {
    /// The most that key, value and headers of a record may take together, in bytes.
    public var maxRecordBytes = (1 << 20) + (64 << 10)
    /// How often compaction looks for something to do; `zero` for only when it is called.
    public var compactionInterval = Duration.seconds(15 * 60)
    /// Records younger than this are not compacted.
    public var compactionLag = Duration.seconds(24 * 3600)
    /// How long a tombstone that is the last of its key stays, counted from its append time.
    public var deleteRetention = Duration.seconds(24 * 3600)
    /// Which part of a changelog has to be new before compaction goes through it by itself.
    public var compactionDirtyRatio = 0.5
    /// How much memory compaction takes for the keys that it goes through at once, in bytes.
    public var compactionMemoryBytes = 64 << 20
    /// How much is kept in memory before it is written to a file, in bytes.
    public var writeBufferBytes = 32 << 20
    /// How long the write-ahead log may become, in bytes: what is read again after a crash.
    public var maxWALBytes = 128 << 20

    /// The defaults.
    public init() {}
}
