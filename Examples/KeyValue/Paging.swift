import Affinity

extension Page {
    /// One page of the parts of all partitions: ascending by key bytes, at most `limit` items and 8 MiB.
    static func merged(_ parts: [Page], limit: Int) -> Page {
        // Behind the last item of a part that was cut, other keys of that partition may follow.
        let horizon = parts.filter(\.isCut).compactMap(\.items.last?.key).min { $0.isBefore($1) }
        let sorted = parts.flatMap(\.items).sorted { $0.key.isBefore($1.key) }
        var page = Page()
        var budget = PageBudget(items: limit)
        for item in sorted {
            if let horizon, horizon.isBefore(item.key) { break }
            guard budget.take(item) else { break }
            page.items.append(item)
        }
        page.isCut = page.items.count < sorted.count || parts.contains(where: \.isCut)
        return page
    }

    /// `{"items":[{"key":…,"version":…,"value":…}],"next":…}`, with the values as they were stored.
    var json: [UInt8] {
        var text: [UInt8] = Array("{\"items\":[".utf8)
        for (index, item) in items.enumerated() {
            if index > 0 { text.append(UInt8(ascii: ",")) }
            text.append(contentsOf: "{\"key\":\(JSONLiteral(item.key)),\"version\":\(item.version),\"value\":".utf8)
            text.append(contentsOf: item.value)
            text.append(UInt8(ascii: "}"))
        }
        text.append(UInt8(ascii: "]"))
        if isCut, let last = items.last { text.append(contentsOf: ",\"next\":\(JSONLiteral(last.key))".utf8) }
        text.append(UInt8(ascii: "}"))
        return text
    }
}

/// What a page may hold: a number of items, and as many as make a JSON text of 8 MiB; one item in any case.
struct PageBudget {
    private static let bytes = 8 << 20
    private var itemsLeft: Int
    /// What the text's beginning and end need.
    private var bytesUsed = "{\"items\":[],\"next\":}".utf8.count
    private var isEmpty = true

    init(items: Int) { itemsLeft = items }

    /// Whether the item has its place too; it is the next one then.
    mutating func take(_ item: Item) -> Bool {
        let key = JSONLiteral(item.key).description.utf8.count
        let frame = "{\"key\":,\"version\":,\"value\":},".utf8.count + item.version.description.utf8.count
        let bytes = frame + key + item.value.count
        // The key twice: it is what `next` says if the item is the last.
        guard itemsLeft > 0, isEmpty || bytesUsed + bytes + key <= Self.bytes else { return false }
        itemsLeft -= 1
        bytesUsed += bytes
        isEmpty = false
        return true
    }
}

extension String {
    /// The order of keys: that of their bytes, not that of Unicode.
    fileprivate func isBefore(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }
}
