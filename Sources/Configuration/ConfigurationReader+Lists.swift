extension ConfigurationReader {
    /// Reads several texts: a list in the file, separated by commas everywhere else (and in the file, if one text is
    /// given there).
    ///
    /// - Parameters:
    ///   - key: the key, below this reader's prefix.
    ///   - items: the default.
    ///   - count: how many there may be.
    ///   - rule: what each has to be like.
    ///   - doc: what the key is for.
    public func list(
        _ key: String, default items: [String], count: ClosedRange<Int> = 0...1_024, each rule: TextRule = .notEmpty,
        doc: String
    ) -> [String] {
        let range = "\(count.lowerBound)…\(count.upperBound) items"
        let kind = ValueKind(type: "list", limits: range, expected: "a list, each item \(rule.description)")
        return read(key, kind, default: items, doc: doc, write: Self.write) { given throws(Problem) in
            let found = try Self.items(given)
            guard count.contains(found.count) else {
                throw Problem(problem: "has \(found.count) items", expected: range)
            }
            for item in found {
                guard let text = item.text else { throw Problem(problem: "holds what is no text", source: item.source) }
                guard rule.accepts(text) else {
                    throw Problem(problem: "\(Shown.quoted(text)) will not do", source: item.source)
                }
            }
            return found.compactMap(\.text)
        }
    }

    private static func items(_ given: Given) throws(Problem) -> [Given.Item] {
        switch given.value {
        case .list(let items): return items
        case .text(""): return []
        case .text(let text):
            return text.split(separator: ",", omittingEmptySubsequences: false).map { item in
                Given.Item(text: String(trimmed(item)), source: given.source)
            }
        case .nothing: throw Problem(problem: "has no value")
        case .group: throw Problem(problem: "is a map")
        }
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }

    private static func write(_ items: [String]) -> String {
        "[\(items.map { "\"\(Shown.word($0))\"" }.joined(separator: ", "))]"
    }
}
