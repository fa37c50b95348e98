/// The writes of a store that are handed to the log and not yet acknowledged, newest per key.
///
/// Commands read through it (PROTOCOL W2), queries do not. Owned by `StateStore`.
struct Overlay {
    struct Entry {
        /// `nil` for a removal.
        var value: [UInt8]?
        /// What the entry's version will be, if no foreign record comes between.
        var version: Version
        var time: Timestamp
        /// The arrival number of the command that wrote it.
        var command: UInt64
        /// The place of the write among the command's.
        var write: Int

        var stored: StoredEntry? { value.map { StoredEntry(value: $0, version: version, time: time) } }
    }

    private var entries: [[UInt8]: Entry] = [:]
    /// The keys in order, where the store is ordered: a scan must not sort all that is on its way. Their number is
    /// bounded by what may be in flight, so moving references at an insertion costs little.
    private var keys: [[UInt8]] = []
    private let isOrdered: Bool

    init(isOrdered: Bool) { self.isOrdered = isOrdered }

    var isEmpty: Bool { entries.isEmpty }

    subscript(key: [UInt8]) -> Entry? { entries[key] }

    /// Puts `entry` under `key`.
    ///
    /// - Returns: what stood there.
    mutating func set(_ key: [UInt8], _ entry: Entry) -> Entry? {
        let old = entries.updateValue(entry, forKey: key)
        if isOrdered, old == nil { keys.insert(key, at: place(of: key)) }
        return old
    }

    /// Puts back what stood under `key` before a command wrote there.
    mutating func restore(_ key: [UInt8], _ entry: Entry?) {
        if let entry { _ = set(key, entry) } else if entries.removeValue(forKey: key) != nil { removeKey(key) }
    }

    /// Records of somebody else stand at `offset`: what was foretold to stand there, or behind, stands so much further.
    ///
    /// - Returns: whether there is any.
    mutating func move(from offset: Offset, by length: UInt64) -> Bool {
        var hasMoved = false
        for index in entries.indices where entries.values[index].version >= Version(at: offset) {
            entries.values[index].version = Version(entries.values[index].version.rawValue + length)
            hasMoved = true
        }
        return hasMoved
    }

    /// Drops what `command` wrote under `key`, unless a later command has written there since.
    mutating func drop(_ key: [UInt8], of command: UInt64) {
        if let index = entries.index(forKey: key), entries.values[index].command == command {
            entries.remove(at: index)
            removeKey(key)
        }
    }

    mutating func removeAll() {
        entries.removeAll()
        keys.removeAll()
    }

    /// Calls `body` for all that is here, in any order, until it returns `false`.
    func forEach(_ body: (_ key: [UInt8], _ entry: Entry) throws(MemStoreError) -> Bool) throws(MemStoreError) {
        for (key, entry) in entries {
            if try !body(key, entry) { return }
        }
    }

    /// What lies in `range`, in the order of a scan. Only of an ordered store.
    func walk(_ range: KeyRange, _ direction: ScanDirection) -> Walk {
        let lower = place(of: range.lower)
        let upper = max(lower, range.upper.map(place(of:)) ?? keys.count)
        return Walk(overlay: self, left: lower..<upper, direction: direction)
    }

    /// A way through a range of the overlay.
    struct Walk {
        fileprivate let overlay: Overlay
        fileprivate var left: Range<Int>
        fileprivate let direction: ScanDirection

        /// The next key, which stays the next one.
        var nextKey: [UInt8]? {
            if left.isEmpty { return nil }
            return overlay.keys[direction == .forward ? left.lowerBound : left.upperBound - 1]
        }

        /// The next entry; the way goes on behind it.
        mutating func next() -> Entry? {
            guard let key = nextKey else { return nil }
            left = direction == .forward ? left.dropFirst() : left.dropLast()
            return overlay.entries[key]
        }
    }

    /// The first place whose key does not come before `key`.
    private func place(of key: [UInt8]) -> Int {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle].lexicographicallyPrecedes(key) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private mutating func removeKey(_ key: [UInt8]) {
        if isOrdered { keys.remove(at: place(of: key)) }
    }
}
