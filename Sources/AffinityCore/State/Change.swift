/// One change of an entry, as it is announced inside the partition once it is durable and applied.
///
/// Changes of a partition are announced in the order in which they were applied, each once; observers, indexes and
/// feeds stand on them.
public struct Change: Sendable {
    /// The store's name.
    public let store: String
    /// The key, in the bytes of the store's serde.
    public let key: [UInt8]
    /// What stood there; `nil` if nothing did.
    public let old: StoredEntry?
    /// What stands there now; `nil` after a removal.
    public let new: StoredEntry?
    /// The version of the change: for a removal too.
    public let version: Version
    /// How far the partition is applied with the command that this change belongs to.
    public let position: Position
    /// What the command said of the change.
    public let tags: [String]
}
