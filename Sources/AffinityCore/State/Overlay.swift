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

    var isEmpty: Bool { entries.isEmpty }

    subscript(key: [UInt8]) -> Entry? {
        get { entries[key] }
        set { entries[key] = newValue }
    }

    /// Drops what `command` wrote under `key`, unless a later command has written there since.
    mutating func drop(_ key: [UInt8], of command: UInt64) {
        if let index = entries.index(forKey: key), entries.values[index].command == command {
            entries.remove(at: index)
        }
    }

    mutating func removeAll() { entries.removeAll() }

    /// What lies in `range`, in the direction of a scan.
    func sorted(in range: KeyRange, _ direction: ScanDirection) -> [(key: [UInt8], entry: Entry)] {
        entries.filter { range.contains($0.key) }.map { (key: $0.key, entry: $0.value) }.sorted { a, b in
            switch direction {
            case .forward: a.key.lexicographicallyPrecedes(b.key)
            case .backward: b.key.lexicographicallyPrecedes(a.key)
            }
        }
    }
}
