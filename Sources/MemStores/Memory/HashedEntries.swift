internal import AffinityCore

/// The entries of a store by key: a hash table in 256 parts.
///
/// A single table of 10⁷ entries takes a second to grow, on the executor that every partition of a core shares. Each
/// part grows by itself, so the longest pause is a small fraction of that. Keys that all fall into one part make it
/// no worse than a single table.
struct HashedEntries {
    private var parts: [[[UInt8]: StoredEntry]] = []
    private(set) var count = 0
    /// The bytes of all keys and values.
    private(set) var bytes = 0

    private static let partCount = 256
    /// Below this, one part is enough; the others are made when it is reached.
    private static let smallCount = 4096

    subscript(_ key: [UInt8]) -> StoredEntry? {
        parts.isEmpty ? nil : parts[part(of: key)][key]
    }

    /// Puts `entry` under `key`; returns whether the key is new.
    mutating func set(_ key: [UInt8], _ entry: StoredEntry) -> Bool {
        if parts.isEmpty { parts = [[:]] }
        let old = parts[part(of: key)].updateValue(entry, forKey: key)
        bytes += entry.value.count - (old?.value.count ?? -key.count)
        let isNew = old == nil
        if isNew {
            count += 1
            if parts.count == 1 && count > Self.smallCount { spread() }
        }
        return isNew
    }

    /// Takes the entry under `key` out; returns whether there was one.
    mutating func remove(_ key: [UInt8]) -> Bool {
        guard !parts.isEmpty, let old = parts[part(of: key)].removeValue(forKey: key) else { return false }
        count -= 1
        bytes -= key.count + old.value.count
        if count == 0 { parts = [] }
        return true
    }

    /// Calls `visit` for each entry, in any order, until it returns `false`.
    func forEach(_ visit: (_ key: [UInt8], _ entry: StoredEntry) -> Bool) {
        for part in parts {
            for (key, entry) in part where !visit(key, entry) { return }
        }
    }

    private mutating func spread() {
        let all = parts[0]
        parts = Array(repeating: [:], count: Self.partCount)
        for (key, entry) in all { parts[part(of: key)][key] = entry }
    }

    /// The last bytes of a key differ most; the part's own table hashes the whole key.
    private func part(of key: [UInt8]) -> Int {
        if parts.count == 1 { return 0 }
        var mixed = UInt64(truncatingIfNeeded: key.count)
        for byte in key.suffix(8) { mixed = (mixed ^ UInt64(byte)) &* 0x9E37_79B9_7F4A_7C15 }
        return Int(truncatingIfNeeded: mixed >> 56)
    }
}
