internal import Synchronization

/// One change of an entry, or an entry as it stands, as those hear of it who watch.
///
/// One object for all who watch an entry on a node: whoever sends it to thousands encodes it once (`encoded`). Can be
/// used on any thread.
public final class Change: Sendable {
    /// The number of the partition in its keyspace.
    public let partition: Int
    /// The store's name.
    public let store: String
    /// The key, in the bytes of the store's serde.
    public let key: [UInt8]
    /// What stands there now, in the bytes of the store's serde; `nil` after a removal, or where nothing stands.
    public let value: [UInt8]?
    /// The version of the change: for a removal too. `.none` for an entry that was not there when the watch began.
    public let version: Version
    /// The event time; `nil` after a removal, or where nothing stands.
    public let time: Timestamp?
    /// A position at which the partition has applied the change: for reads that must not be older.
    public let position: Position
    /// What the command said of the change; empty for an entry as it stands.
    public let tags: [String]
    /// What somebody has made of it, for all others.
    private let form = Mutex<(any AnyObject & Sendable)?>(nil)

    init(
        partition: Int, store: String, key: [UInt8], entry: StoredEntry?, version: Version, position: Position,
        tags: [String] = []
    ) {
        self.partition = partition
        self.store = store
        self.key = key
        value = entry?.value
        time = entry?.time
        self.version = version
        self.position = position
        self.tags = tags
    }

    /// About how much memory it holds.
    var size: Int { 160 + key.count + (value?.count ?? 0) }

    /// What `make` makes of the change, made once for all who ask for the same type.
    ///
    /// The first type that is asked for is kept as long as the change is; another one is made anew each time. Two threads
    /// that ask at the same moment may both make it.
    public func encoded<Form: AnyObject & Sendable>(
        as type: Form.Type = Form.self, _ make: (Change) -> Form
    ) -> Form {
        if let kept = form.withLock({ $0 }) as? Form { return kept }
        let made = make(self)
        form.withLock { if $0 == nil { $0 = made } }
        return made
    }
}
