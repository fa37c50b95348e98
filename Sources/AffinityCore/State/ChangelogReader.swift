/// A changelog as somebody outside of the system finds it.
package struct ReadableChangelog: Sendable {
    /// The partition whose it is.
    package let partition: PartitionID
    /// The store that it records.
    package let store: String
    /// The first offset that may hold a record, and the end when it was looked up.
    package let bounds: Range<Offset>

    /// A changelog with those bounds.
    package init(partition: PartitionID, store: String, bounds: Range<Offset>) {
        self.partition = partition
        self.store = store
        self.bounds = bounds
    }
}

/// Reads the changelogs of a log that others may be writing to, and changes nothing: for the tool.
///
/// Every call blocks. Two logs have one: the embedded log and Kafka.
package protocol ChangelogReader {
    /// All changelogs of the log, by keyspace, number and store.
    func changelogs() throws(LogError) -> [ReadableChangelog]

    /// Records from `offset` on, about `maxBytes` of them; none if there is none before the changelog's end.
    ///
    /// `changelog` is one that this reader gave.
    func read(_ changelog: ReadableChangelog, from offset: Offset, maxBytes: Int) throws(LogError) -> LogPage
}

extension ReadableChangelog {
    /// In the order in which lists of changelogs are shown.
    package static func isInOrder(_ a: ReadableChangelog, _ b: ReadableChangelog) -> Bool {
        (a.partition.keyspace, a.partition.number, a.store) < (b.partition.keyspace, b.partition.number, b.store)
    }
}
