/// One entry as a memstore keeps it.
public struct StoredEntry: Hashable, Sendable {
    /// The value in the bytes of the store's serde.
    public var value: [UInt8]
    /// The version of the record that wrote it.
    public var version: Version
    /// The event time of the record that wrote it.
    public var time: Timestamp

    /// An entry of those parts.
    @inlinable public init(value: [UInt8], version: Version, time: Timestamp) {
        self.value = value
        self.version = version
        self.time = time
    }
}

/// A range of keys in the order of their bytes.
public struct KeyRange: Hashable, Sendable {
    /// The first key of the range; empty for no bound.
    public var lower: [UInt8]
    /// The first key behind the range; `nil` for no bound.
    public var upper: [UInt8]?

    /// The keys from `lower` up to, and without, `upper`.
    public init(from lower: [UInt8] = [], to upper: [UInt8]? = nil) {
        self.lower = lower
        self.upper = upper
    }

    /// All keys.
    public static let all = KeyRange()

    /// The keys that begin with `prefix`.
    public init(prefix: [UInt8]) {
        self.init(from: prefix, to: Self.successor(ofPrefix: prefix))
    }

    /// The keys of this range that are greater than `key`.
    public func after(_ key: [UInt8]) -> KeyRange {
        let next = key + [0]
        return lower.lexicographicallyPrecedes(next) ? KeyRange(from: next, to: upper) : self
    }

    /// Whether `key` lies in the range.
    public func contains(_ key: [UInt8]) -> Bool {
        if key.lexicographicallyPrecedes(lower) { return false }
        guard let upper else { return true }
        return key.lexicographicallyPrecedes(upper)
    }

    /// The first key behind all keys that begin with `prefix`; `nil` if there is none (`prefix` is all 0xFF).
    static func successor(ofPrefix prefix: [UInt8]) -> [UInt8]? {
        guard let last = prefix.lastIndex(where: { $0 != 0xFF }) else { return nil }
        var bytes = Array(prefix[...last])
        bytes[last] += 1
        return bytes
    }
}

/// The direction in which a scan goes through a range.
public enum ScanDirection: Sendable {
    /// Smallest key first.
    case forward
    /// Greatest key first.
    case backward
}

/// What a memstore has to know of a store.
public struct StoreDeclaration: Hashable, Sendable {
    /// The name; unique in the partition.
    public let name: String
    /// Whether ranges of it are scanned in order. A store that is not ordered is only ever scanned whole.
    public let isOrdered: Bool

    /// Declares a store.
    public init(name: String, isOrdered: Bool) {
        self.name = name
        self.isOrdered = isOrdered
    }
}

/// One write of a batch: `entry` is `nil` for a removal.
public struct MemStoreWrite: Sendable {
    /// The place of the store in the list that the memstore was opened with.
    public var store: Int
    /// The key in the bytes of the store's serde.
    public var key: [UInt8]
    /// What stands under the key from now on.
    public var entry: StoredEntry?

    /// A write of those parts.
    public init(store: Int, key: [UInt8], entry: StoredEntry?) {
        self.store = store
        self.key = key
        self.entry = entry
    }
}

/// About how much a memstore holds, in all of its stores; `nil` for what its engine does not know.
public struct MemStoreSize: Hashable, Sendable {
    /// How many entries.
    public var entries: Int?
    /// The bytes of their keys and values, on disk where the engine keeps them there.
    public var bytes: Int?

    /// A size of that much.
    public init(entries: Int? = nil, bytes: Int? = nil) {
        self.entries = entries
        self.bytes = bytes
    }
}

/// The local engine behind the stores of one partition replica.
///
/// **Contract.** One owner, the replica, calls it on the replica's executor; nothing is called concurrently with
/// anything else. `commit` is atomic: after a crash the memstore holds a prefix of the batches, each whole and each
/// with its checkpoint (PROTOCOL §7); an engine that keeps nothing over a restart comes back empty and without one.
/// What `commit` has taken is seen by every later call. Stores are named by their place in the list that the
/// memstore was opened with. Called by `StateStore`; opened through a `MemStoreEngine`.
public protocol MemStore: AnyObject {
    /// The checkpoint that the last batch was committed with, as it was handed in; `nil` for an empty memstore.
    var checkpoint: [UInt8]? { get }

    /// The entry under `key`, or `nil`.
    func get(_ store: Int, _ key: [UInt8]) throws(MemStoreError) -> StoredEntry?

    /// Calls `visit` for the entries of `range` until it returns `false`.
    ///
    /// In the order of the keys' bytes if the store was declared ordered, in any order otherwise; then `range` is
    /// `.all`. `visit` must not change the memstore.
    func scan(
        _ store: Int, _ range: KeyRange, _ direction: ScanDirection,
        _ visit: (_ key: [UInt8], _ entry: StoredEntry) -> Bool
    ) throws(MemStoreError)

    /// How many entries the store has. May cost a scan of it.
    func count(_ store: Int) throws(MemStoreError) -> Int

    /// About how much it holds, without a scan.
    var size: MemStoreSize { get }

    /// Takes the writes, in order, and the checkpoint: all or nothing.
    func commit(_ writes: [MemStoreWrite], checkpoint: [UInt8]) throws(MemStoreError)

    /// Makes what was committed survive a crash, as far as the engine can.
    nonisolated(nonsending) func flush() async throws(MemStoreError)

    /// Writes a consistent copy of the memstore, checkpoint included, into the new folder `path`.
    ///
    /// - Throws: `unsupported` where the engine keeps nothing on disk.
    nonisolated(nonsending) func copy(to path: String) async throws(MemStoreError)

    /// Releases everything. Nothing is called afterwards.
    nonisolated(nonsending) func close() async
}

extension MemStore {
    /// Unknown, for engines that do not say.
    public var size: MemStoreSize { MemStoreSize() }
}

/// Opens memstores of one kind. Every method can be called on any thread and blocks none.
public protocol MemStoreEngine: Sendable {
    /// Opens the memstore of a replica, makes it where there is none.
    ///
    /// A memstore that was written with other stores is opened all the same: new stores are empty, and what former
    /// ones held stays where it is, unseen.
    func open(_ partition: PartitionID, stores: [StoreDeclaration]) async throws(MemStoreError) -> sending any MemStore

    /// Puts what is on disk for a replica out of the way, under another name, so that `open` begins anew.
    ///
    /// - Returns: where it is now; `nil` if there was nothing.
    func setAside(_ partition: PartitionID) async throws(MemStoreError) -> String?
}

/// Why a memstore could not do what it was asked.
public struct MemStoreError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public struct Code: Hashable, Sendable {
        private enum Kind { case io, full, corrupt, unsupported }
        private let kind: Kind

        /// The operating system refused to read or write.
        public static let io = Code(kind: .io)
        /// There is no space left.
        public static let full = Code(kind: .full)
        /// What is on disk is not what was written.
        public static let corrupt = Code(kind: .corrupt)
        /// The engine does not have this operation.
        public static let unsupported = Code(kind: .unsupported)
    }

    /// What kind of failure it is.
    public let code: Code
    /// What happened, with the name of the file or folder.
    public let reason: String

    /// A failure of that kind.
    public init(_ code: Code, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    /// Whether the same call may succeed later without anybody's help: never so for damage.
    public var isRetriable: Bool { code == .io || code == .full }

    /// The reason.
    public var description: String { reason }
}
