import AffinityCore

/// A partition whose values say what happened: each is the list of all commands before it, so that a state that is
/// torn, lost, forked or stale shows.
///
/// Two keys in each of two stores; a command reads all of them, and may write some and remove others.
final class Scribe: Partition {
    let first = Store<String, [UInt8]>("a")
    let second = Store<String, [UInt8]>("b")

    static let keys = ["x", "y"]
    /// The keys of both stores, in the order of the bits of a command's masks.
    static let slots: [Slot] = [
        Slot(store: 1, key: "x"), Slot(store: 2, key: "x"), Slot(store: 1, key: "y"), Slot(store: 2, key: "y"),
    ]

    override class func register(_ on: Handlers) { on.command(Note.self, note) }

    func note(_ note: Note, _ tx: inout Transaction) throws(Rejected) -> [UInt8] {
        var values = Self.slots.map { tx[store(of: $0), $0.key] ?? [] }
        let longest = values.reduce([]) { $0.count >= $1.count ? $0 : $1 }
        var answer: [UInt8] = []
        for (slot, place) in Self.slots.enumerated() {
            if note.writes >> slot & 1 == 1 {
                // Where others write values too, there is no one list: each key has its own.
                values[slot] = (note.isLinear ? longest : values[slot]) + [note.number]
                tx[store(of: place), place.key] = values[slot]
                answer = values[slot]
            } else if note.removes >> slot & 1 == 1 {
                tx.remove(store(of: place), place.key)
            }
        }
        return answer
    }

    private func store(of slot: Slot) -> Store<String, [UInt8]> { slot.store == 1 ? first : second }
}

/// One key of a `Scribe`.
struct Slot {
    let store: Int
    let key: String
    var bytes: [UInt8] { Array(key.utf8) }
}

/// Writes the list of all commands, itself included, to some keys, and removes others. Bits name the keys.
struct Note: Command {
    typealias Reply = [UInt8]
    var key = "k"
    var number: UInt8
    var writes: UInt8
    var removes: UInt8
    var isLinear: Bool
}
