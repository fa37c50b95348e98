/// A YAML text as a tree that knows where each of its parts stands.
struct YAMLNode {
    /// One entry of a map.
    struct Entry {
        var key: String
        var mark: YAMLMark
        var value: YAMLNode
    }

    enum Content {
        /// Nothing, `~` or `null`.
        case null
        case scalar(String)
        case list([YAMLNode])
        case map([Entry])
    }

    var content: Content
    var mark: YAMLMark

    /// Maps and lists within each other; configuration has five or six levels.
    static let depthMax = 32

    /// Reads one document.
    ///
    /// - Returns: `nil` if there is nothing but comments.
    /// - Throws: `YAMLProblem` for a syntax error, or for what is refused: several documents, aliases, anchors, tags,
    ///   keys that are no texts, more than `depthMax` levels.
    static func parse(_ bytes: [UInt8]) throws(YAMLProblem) -> YAMLNode? {
        // Neither typed errors nor a noncopyable value pass through the closure; a result does.
        let result: Result<YAMLNode?, YAMLProblem> = bytes.withUnsafeBufferPointer { buffer in
            do throws(YAMLProblem) {
                var reader = try YAMLEventReader(buffer)
                return .success(try document(&reader))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func document(_ reader: inout YAMLEventReader) throws(YAMLProblem) -> YAMLNode? {
        guard case .documentStart = try reader.next().event else { return nil }
        let (event, mark) = try reader.next()
        let root = try node(event, mark, &reader, depth: 1)
        _ = try reader.next()
        let (after, place) = try reader.next()
        guard case .end = after else {
            throw YAMLProblem(message: "a second document begins here; one file holds one", mark: place)
        }
        return root
    }

    private static func node(
        _ event: YAMLEvent, _ mark: YAMLMark, _ reader: inout YAMLEventReader, depth: Int
    ) throws(YAMLProblem) -> YAMLNode {
        guard depth <= depthMax else {
            throw YAMLProblem(message: "it is nested more than \(depthMax) levels deep", mark: mark)
        }
        switch event {
        case .scalar(let text, let isPlain):
            let isNull = isPlain && (text.isEmpty || text == "~" || text == "null")
            return YAMLNode(content: isNull ? .null : .scalar(text), mark: mark)
        case .sequenceStart:
            return YAMLNode(content: .list(try items(&reader, depth: depth)), mark: mark)
        case .mappingStart:
            return YAMLNode(content: .map(try entries(&reader, depth: depth)), mark: mark)
        default:
            throw YAMLProblem(message: "it ends too early", mark: mark)
        }
    }

    private static func items(_ reader: inout YAMLEventReader, depth: Int) throws(YAMLProblem) -> [YAMLNode] {
        var items: [YAMLNode] = []
        while true {
            let (event, mark) = try reader.next()
            if case .sequenceEnd = event { return items }
            items.append(try node(event, mark, &reader, depth: depth + 1))
        }
    }

    private static func entries(_ reader: inout YAMLEventReader, depth: Int) throws(YAMLProblem) -> [Entry] {
        var entries: [Entry] = []
        while true {
            let (event, mark) = try reader.next()
            if case .mappingEnd = event { return entries }
            guard case .scalar(let key, _) = event else {
                throw YAMLProblem(message: "a key has to be a text", mark: mark)
            }
            let (next, place) = try reader.next()
            entries.append(Entry(key: key, mark: mark, value: try node(next, place, &reader, depth: depth + 1)))
        }
    }
}
