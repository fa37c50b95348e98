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
        guard let number = entry.map({ Int64(json: $0.value[...]) }) ?? 0 else {
            return .refused("the value is no integer")
        }
        let (sum, overflow) = number.addingReportingOverflow(add.by)
        if overflow { return .refused("the sum is beyond 64 bits") }
        tx.put(kv, add.key, Array(String(sum).utf8))
        return .sum(sum)
    }

    func get(_ get: Get, _ view: borrowing View) -> Item? {
        view.entry(kv, get.key).map { Item(key: get.key, value: $0.value, version: $0.version) }
    }

    func list(_ list: List, _ view: borrowing View) -> Page {
        var page = Page()
        var budget = PageBudget(items: list.limit)
        let range = StoreRange<String>.prefix(Array(list.prefix.utf8), after: list.after.map { Array($0.utf8) })
        view.scan(kv, range) { key, entry in
            let item = Item(key: key, value: entry.value, version: entry.version)
            page.isCut = !budget.take(item)
            if !page.isCut { page.items.append(item) }
            return !page.isCut
        }
        return page
    }
}
