import Affinity

extension Page {
    /// One page of the parts of all partitions: ascending by key bytes, at most `limit` items and 8 MiB.
    static func merged(_ parts: [Page], limit: Int) -> Page {
        // Behind the last item of a part that was cut, other keys of that partition may follow.
        let horizon = parts.filter(\.isCut).compactMap(\.items.last?.key).min { $0.isBefore($1) }
        let sorted = parts.flatMap(\.items).sorted { $0.key.isBefore($1.key) }
        var page = Page()
        var bytes = 0
        for item in sorted {
            if let horizon, horizon.isBefore(item.key) { break }
            if page.items.count == limit || !page.items.isEmpty && bytes + item.value.count > maxBytes { break }
            bytes += item.value.count + item.key.utf8.count
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

extension String {
    /// The order of keys: that of their bytes, not that of Unicode.
    fileprivate func isBefore(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }
}
