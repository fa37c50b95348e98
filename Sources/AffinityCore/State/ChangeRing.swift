/// The newest changes of one store, so that whoever watched it a moment ago can go on.
///
/// It has **every** change of the store behind its floor. Bounded by what `ChangeFeed` counts over all stores.
struct ChangeRing {
    private var changes = Queue<Change>()
    /// Who knows everything up to this version finds here all that came after it.
    private(set) var floor: Version

    init(floor: Version) { self.floor = floor }

    var count: Int { changes.count }

    mutating func append(_ change: Change) { changes.append(change) }

    /// Forgets the oldest one.
    mutating func forgetFirst() -> Change? {
        guard let first = changes.popFirst() else { return nil }
        floor = max(floor, first.version)
        return first
    }

    /// What lies before `floor` is not known whole any more.
    mutating func raise(to floor: Version) { self.floor = max(self.floor, floor) }

    /// The version of the oldest one.
    var first: Version? { changes.isEmpty ? nil : changes[0].version }

    /// What came after `version`, and concerns the scope; `nil` if not all of it is here.
    func changes(after version: Version, of scope: WatchScope) -> [Change]? {
        guard version >= floor else { return nil }
        var (low, high) = (0, changes.count)
        while low < high {
            let middle = (low + high) / 2
            if changes[middle].version > version { high = middle } else { low = middle + 1 }
        }
        return (low..<changes.count).lazy.map { changes[$0] }.filter { scope.contains($0.key) }
    }
}
