package import AffinityCore

/// What the simulated clusters serve: values and counters, each written twice, so that a torn command shows.
package final class Entries: Partition {
    package let main = Store<String, [UInt8]>("main", ordered: true)
    package let twins = Store<String, [UInt8]>("twins")

    package override class func register(_ on: Handlers) {
        on.command(Change.self, change)
        on.query(Look.self, look)
    }

    func change(_ change: Change, _ tx: inout Transaction) throws(Rejected) -> Change.Reply {
        let entry = tx.entry(main, change.key)
        guard entry?.value == tx[twins, change.key] else { return .torn }
        if change.isNew, let entry { return .failed(entry.version.rawValue) }
        if let match = change.match, match != entry?.version.rawValue { return .failed(entry?.version.rawValue) }
        let value: [UInt8]
        switch change.action {
        case .put(let bytes): value = bytes
        case .delete:
            if entry == nil { return .absent }
            tx.remove(twins, change.key)
            tx.remove(main, change.key)
            return .done(isNew: false)
        case .add(let number):
            guard let sum = Int64(String(decoding: entry?.value ?? [UInt8(ascii: "0")], as: UTF8.self)) else {
                throw Rejected("no number")
            }
            value = Array(String(sum + number).utf8)
        }
        tx[twins, change.key] = value
        tx[main, change.key] = value
        if change.isRefused { throw Rejected("refused, and everything is written") }
        return change.action.isAdd ? .sum(value) : .done(isNew: entry == nil)
    }

    func look(_ look: Look, _ view: borrowing View) -> Look.Reply {
        let entry = view.entry(main, look.key)
        return Look.Seen(
            value: entry?.value, version: entry?.version.rawValue ?? 0, isTorn: entry?.value != view[twins, look.key])
    }
}

/// Writes an entry, under conditions.
package struct Change: Command {
    package enum Action: Codable, Hashable, Sendable {
        case put([UInt8])
        case delete
        case add(Int64)

        var isAdd: Bool { if case .add = self { true } else { false } }
    }

    package enum Reply: Codable, Sendable {
        case done(isNew: Bool)
        case sum([UInt8])
        case absent
        case failed(UInt64?)
        case torn
    }

    package var key: String
    package var action: Action
    /// The version that there must be.
    package var match: UInt64?
    /// Whether there must be none.
    package var isNew = false
    /// Whether the handler says no once it has written everything.
    package var isRefused = false

    package init(key: String, action: Action) { (self.key, self.action) = (key, action) }
}

/// Reads an entry.
package struct Look: Query {
    package struct Seen: Codable, Sendable {
        package var value: [UInt8]?
        package var version: UInt64
        package var isTorn: Bool
    }

    package typealias Reply = Seen
    package var key: String

    package init(key: String) { self.key = key }
}
