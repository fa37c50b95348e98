/// What is watched in a store, by the bytes of the keys.
public struct WatchScope: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        case key([UInt8])
        case prefix([UInt8])
        case all
    }

    let kind: Kind

    /// One entry.
    public static func key(_ key: [UInt8]) -> WatchScope { WatchScope(kind: .key(key)) }
    /// All entries whose keys begin so. The store must be declared ordered.
    public static func prefix(_ prefix: [UInt8]) -> WatchScope { WatchScope(kind: .prefix(prefix)) }
    /// The whole store. It must be declared ordered.
    public static let all = WatchScope(kind: .all)

    /// Whether a change of `key` belongs to it.
    func contains(_ key: [UInt8]) -> Bool {
        switch kind {
        case .key(let own): own == key
        case .prefix(let prefix): key.starts(with: prefix)
        case .all: true
        }
    }

    /// The keys of it, for a scan.
    var range: KeyRange {
        switch kind {
        case .key(let key): KeyRange(from: key, to: key + [0])
        case .prefix(let prefix): KeyRange(prefix: prefix)
        case .all: .all
        }
    }

    /// The bytes of its key or prefix.
    var size: Int {
        switch kind {
        case .key(let bytes), .prefix(let bytes): bytes.count
        case .all: 0
        }
    }

    var isKey: Bool { if case .key = kind { true } else { false } }
}

/// One thing that a watch says. For each key they come in order, without gap and without repetition.
public enum WatchEvent<Element: Sendable>: Sendable {
    /// An entry as it stands when the watch begins, or begins again. A watch of one key says so of a key without entry
    /// too.
    case current(Element)
    /// A change.
    case change(Element)
    /// A watch of many keys: everything that stood in this partition has been said, and only changes follow.
    case level(partition: Int)
    /// What lies between the last event and now cannot be had any more (compaction took some of it): what was said of the
    /// entries of this partition holds no longer, and all that stands there now follows. Entries that are not named
    /// again are gone.
    case startOver(partition: Int)
}

/// How a watch behaves when whoever reads it does not keep up, and when there is no master.
public struct WatchOptions: Sendable {
    /// What becomes of changes that nobody has taken when there are too many.
    public enum Overflow: UInt8, Sendable {
        /// The watch ends with `.tooSlow`.
        case close
        /// Of each key only the newest change is kept; the versions that are left out are never said. If that does not
        /// make room because too many keys have changed, the watch ends with `.tooSlow`.
        case coalesce
    }

    /// What becomes of changes that nobody has taken when there are too many.
    public var overflow: Overflow
    /// How many changes may wait to be taken, besides a page of what stands there or had been missed; at least 1. A
    /// coalescing watch of many keys wants some times as many as keys change at a time.
    public var events: Int
    /// How many bytes of keys and values may wait, unless it is a single change; and of pages, besides the newest one of each
    /// partition.
    public var bytes: Int
    /// How long a watch goes on trying while its partition has no master that answers; then it ends with `.notReady`.
    public var patience: Duration

    /// Options of those values.
    public init(
        overflow: Overflow = .close, events: Int = 1024, bytes: Int = 4 << 20, patience: Duration = .seconds(60)
    ) {
        self.overflow = overflow
        self.events = max(1, events)
        self.bytes = max(1, bytes)
        self.patience = patience
    }
}

/// How far a watch has come in each partition: what it says again to go on where it was, on any node.
public struct WatchToken: Hashable, Sendable, CustomStringConvertible {
    /// For each partition, the version up to which everything was said. Partitions that are missing begin anew.
    public private(set) var versions: [Int: Version]

    /// A token of those versions.
    public init(_ versions: [Int: Version] = [:]) { self.versions = versions }

    /// Up to where everything was said in a partition.
    public subscript(partition: Int) -> Version? {
        get { versions[partition] }
        set { versions[partition] = newValue }
    }

    /// `0:1841,3:22`, in the order of the partitions.
    public var description: String {
        versions.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }.joined(separator: ",")
    }

    /// Reads what `description` prints; `nil` for anything else.
    public init?(_ text: some StringProtocol) {
        versions = [:]
        if text.isEmpty { return }
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let pair = part.split(separator: ":", omittingEmptySubsequences: false)
            guard pair.count == 2, let partition = Self.number(pair[0]), let version = Self.number(pair[1]),
                partition < 1 << 20, versions.updateValue(Version(UInt64(version)), forKey: partition) == nil
            else { return nil }
        }
    }

    /// A number of digits only, below 2⁶³.
    private static func number(_ text: some StringProtocol) -> Int? {
        guard text.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else { return nil }
        return Int(text)
    }
}

/// Why a watch has ended.
public struct WatchError: Error, Sendable, CustomStringConvertible {
    /// What kind of end it is.
    public struct Code: Hashable, Sendable {
        private enum Kind: UInt8 { case tooSlow, draining, notReady, refused, overloaded, cancelled, failed }
        private let kind: Kind

        /// Whoever reads it has not taken what came. Resume with what was said last.
        public static let tooSlow = Code(kind: .tooSlow)
        /// The node stops. Resume on another one.
        public static let draining = Code(kind: .draining)
        /// The partition had no master for too long. Resume later.
        public static let notReady = Code(kind: .notReady)
        /// It cannot be watched like that; the reason says why.
        public static let refused = Code(kind: .refused)
        /// The node has too many watches.
        public static let overloaded = Code(kind: .overloaded)
        /// It was ended by whoever has opened it.
        public static let cancelled = Code(kind: .cancelled)
        /// What stands in the store could not be decoded.
        public static let failed = Code(kind: .failed)
    }

    /// What kind of end it is.
    public let code: Code
    /// What happened, in words.
    public let reason: String

    init(_ code: Code, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    /// The reason.
    public var description: String { reason }
}
