import Affinity

/// The entries of one partition: JSON texts, kept byte for byte.
final class Entries: Partition {
    let kv = Store<String, [UInt8]>("kv", ordered: true)

    override class func register(_ on: Handlers) {
        on.command(Put.self, put)
        on.command(Delete.self, delete)
        on.command(Add.self, add)
        on.query(Get.self, get)
        on.query(List.self, list)
    }

    func put(_ put: Put, _ tx: inout Transaction) throws(Rejected) -> Written {
        let current = tx.entry(kv, put.key)?.version
        guard put.conditions.check(current) == .passed else { return .failed(current: current) }
        tx.put(kv, put.key, put.value)
        return current == nil ? .created : .replaced
    }

    func delete(_ delete: Delete, _ tx: inout Transaction) throws(Rejected) -> Written {
        let current = tx.entry(kv, delete.key)?.version
        guard delete.conditions.check(current) == .passed else { return .failed(current: current) }
        return tx.remove(kv, delete.key) == nil ? .absent : .deleted
    }

    func add(_ add: Add, _ tx: inout Transaction) throws(Rejected) -> Written {
        let entry = tx.entry(kv, add.key)
        guard add.conditions.check(entry?.version) == .passed else { return .failed(current: entry?.version) }
        guard let number = entry.map({ integer(in: $0.value) }) ?? 0 else {
            return .refused("the value is no integer")
        }
        let (sum, overflow) = number.addingReportingOverflow(add.by)
        if overflow { return .refused("the sum is beyond 64 bits") }
        tx.put(kv, add.key, Array(String(sum).utf8))
        return .sum(sum)
    }

    func get(_ get: Get, _ view: borrowing View) -> Item? {
        view.entry(kv, get.key).map { Item(key: get.key, version: $0.version, value: $0.value) }
    }

    func list(_ list: List, _ view: borrowing View) -> Page {
        var page = Page()
        var bytes = 0
        let range = StoreRange<String>.prefix(Array(list.prefix.utf8), after: list.after.map { Array($0.utf8) })
        view.scan(kv, range) { key, entry in
            if page.items.count == list.limit || !page.items.isEmpty && bytes + entry.value.count > Page.maxBytes {
                page.isCut = true
                return false
            }
            bytes += entry.value.count + key.utf8.count
            page.items.append(Item(key: key, version: entry.version, value: entry.value))
            return true
        }
        return page
    }

    /// The integer that a JSON text is; `nil` for any other text, a number with a fraction or an exponent included.
    private func integer(in text: [UInt8]) -> Int64? {
        let isSpace = { (byte: UInt8) in [0x20, 0x09, 0x0A, 0x0D].contains(byte) }
        guard let first = text.firstIndex(where: { !isSpace($0) }), let last = text.lastIndex(where: { !isSpace($0) })
        else { return nil }
        return Int64(String(decoding: text[first...last], as: UTF8.self))
    }
}
