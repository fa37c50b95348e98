internal import AffinityCore

/// Entries of one memstore that were read lately, as they are handed out.
///
/// RocksDB compares keys all the way down its memtables and blocks, and a value has to be made of what it finds; here an
/// entry is found by its hash. A write changes what is there, and brings in nothing: what nobody reads takes no place.
/// When there is no room left, the entries are looked at in turn, and the first one goes that nobody has asked for since
/// it was looked at last (CLOCK: Corbató, A Paging Experiment with the Multics System, 1968).
struct EntryCache: ~Copyable {
    private struct Slot {
        var store: Int
        var key: [UInt8]
        var entry: StoredEntry
        var isUsed: Bool
    }

    private let budget: EntryCacheBudget
    private var slots: [Slot] = []
    /// Where the entries of each store are among these.
    private var places: [[[UInt8]: Int]]
    private var bytes = 0
    private var hand = 0

    /// About what an entry takes beside key and value: two arrays' heads, a slot, and its part of a hash table.
    private static let overhead = 160
    /// How many entries are looked at in one call.
    private static let steps = 32

    init(_ budget: EntryCacheBudget, stores: Int) {
        self.budget = budget
        places = Array(repeating: [:], count: stores)
        budget.join()
    }

    deinit { budget.leave(giving: bytes) }

    /// The entry under `key`, if it is here.
    mutating func entry(_ store: Int, _ key: [UInt8]) -> StoredEntry? {
        guard let place = places[store][key] else { return nil }
        if !slots[place].isUsed { slots[place].isUsed = true }
        return slots[place].entry
    }

    /// Keeps what was read, if there is room for it or it can be made soon.
    mutating func insert(_ store: Int, _ key: [UInt8], _ entry: StoredEntry) {
        let size = Self.size(key, entry)
        guard isSmall(size), makeRoom(for: size) else { return }
        places[store][key] = slots.count
        slots.append(Slot(store: store, key: key, entry: entry, isUsed: false))
        count(size)
    }

    /// Takes what was written in the place of what is here.
    mutating func update(_ store: Int, _ key: [UInt8], _ entry: StoredEntry?) {
        guard let place = places[store][key] else { return }
        guard let entry, isSmall(Self.size(key, entry)) else { return remove(place) }
        count(entry.value.count - slots[place].entry.value.count)
        slots[place].entry = entry
    }

    /// Comes nearer to the share, if it has become smaller or the entries larger.
    mutating func shrink() { _ = makeRoom(for: 0) }

    /// Whether it does not take the place of all others.
    private func isSmall(_ size: Int) -> Bool { size <= budget.share / 8 }

    /// Lets go of what nobody asks for; returns whether there is room. The partitions of a loop share its time, so only
    /// so many entries are looked at: the next call goes on.
    private mutating func makeRoom(for size: Int) -> Bool {
        let share = budget.share
        var steps = 0
        while bytes + size > share, !slots.isEmpty, steps < Self.steps {
            if hand >= slots.count { hand = 0 }
            // What takes the place of one that goes came last: it is looked at in the next turn.
            if slots[hand].isUsed { slots[hand].isUsed = false } else { remove(hand) }
            hand += 1
            steps += 1
        }
        return bytes + size <= share
    }

    private mutating func remove(_ place: Int) {
        let gone = slots[place]
        places[gone.store][gone.key] = nil
        count(-Self.size(gone.key, gone.entry))
        let last = slots.removeLast()
        guard place < slots.count else { return }
        slots[place] = last
        places[last.store][last.key] = place
    }

    private mutating func count(_ difference: Int) {
        if difference == 0 { return }
        bytes += difference
        budget.count(difference)
    }

    private static func size(_ key: [UInt8], _ entry: StoredEntry) -> Int {
        key.count + entry.value.count + overhead
    }
}
