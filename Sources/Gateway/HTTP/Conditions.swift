public import AffinityCore

/// The conditions of a request: `If-Match` and `If-None-Match` (RFC 9110 §13), for entries whose tag is their version.
///
/// `Codable`, so that a command can carry them to where they are checked: in the handler, with the write.
public struct Conditions: Codable, Hashable, Sendable {
    /// One of the two headers.
    public enum Tags: Codable, Hashable, Sendable {
        /// `*`: any entry.
        case any
        /// These versions; weak tags, and tags that are no version, match nothing and are left out.
        case versions([UInt64])

        func matches(_ version: Version?) -> Bool {
            guard let version else { return false }
            switch self {
            case .any: return true
            case .versions(let versions): return versions.contains(version.rawValue)
            }
        }
    }

    /// What the conditions say of an entry.
    public enum Verdict: Sendable {
        /// They hold.
        case passed
        /// `If-None-Match` does not hold: a read answers 304, a write 412.
        case matched
        /// `If-Match` does not hold: 412.
        case failed
    }

    /// The entry must be one of these.
    public var match: Tags?
    /// The entry must be none of these.
    public var noneMatch: Tags?

    /// Those conditions; none of them always holds.
    public init(match: Tags? = nil, noneMatch: Tags? = nil) {
        self.match = match
        self.noneMatch = noneMatch
    }

    /// Whether there is anything to check.
    public var isEmpty: Bool { match == nil && noneMatch == nil }

    /// Checks the conditions against an entry's version, `nil` for no entry; `If-Match` first.
    public func check(_ version: Version?) -> Verdict {
        if let match, !match.matches(version) { return .failed }
        if let noneMatch, noneMatch.matches(version) { return .matched }
        return .passed
    }

    /// Reads the headers; a header that comes more than once is one list.
    ///
    /// - Throws: 400 for what is neither `*` nor a list of entity tags.
    init(match: [String], noneMatch: [String]) throws(HTTPError) {
        self.match = try Self.tags(match, "If-Match")
        self.noneMatch = try Self.tags(noneMatch, "If-None-Match")
    }

    private static func tags(_ fields: [String], _ name: String) throws(HTTPError) -> Tags? {
        guard !fields.isEmpty else { return nil }
        let text = fields.joined(separator: ",")
        if text.trimmed == "*" { return .any }
        guard let tags = EntityTags(text)?.tags, !tags.isEmpty else {
            throw HTTPError(400, "\(name) is neither * nor a list of entity tags")
        }
        return .versions(tags.compactMap { $0.isWeak ? nil : version(of: $0.text) })
    }

    /// The version that a tag of ours stands for: only the text that we would write ourselves.
    private static func version(of text: String) -> UInt64? {
        guard let number = UInt64(text), String(number) == text else { return nil }
        return number
    }
}

extension Version {
    /// The version as an entity tag, as it stands in `ETag` and as ``Conditions`` reads it.
    public var entityTag: String {
        DigitText.text(numbers: 1, others: 2) { text in
            text.append(byte: UInt8(ascii: "\""))
            text.append(rawValue)
            text.append(byte: UInt8(ascii: "\""))
        }
    }
}

/// A list of entity tags: `"17", W/"abc"`.
private struct EntityTags {
    private(set) var tags: [(text: String, isWeak: Bool)] = []

    init?(_ text: String) {
        var rest = Substring(text).utf8
        func isSpace(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        while true {
            // A list may have empty elements (RFC 9110 §5.6.1.2).
            rest = rest.drop { isSpace($0) || $0 == UInt8(ascii: ",") }
            if rest.isEmpty { return }
            var isWeak = false
            if rest.starts(with: "W/".utf8) {
                isWeak = true
                rest = rest.dropFirst(2)
            }
            guard rest.first == UInt8(ascii: "\"") else { return nil }
            rest = rest.dropFirst()
            guard let end = rest.firstIndex(of: UInt8(ascii: "\"")) else { return nil }
            let opaque = rest[..<end]
            guard opaque.allSatisfy({ $0 == 0x21 || ($0 >= 0x23 && $0 != 0x7F) }) else { return nil }
            tags.append((String(Substring(opaque)), isWeak))
            rest = rest[rest.index(after: end)...].drop(while: isSpace)
            guard rest.isEmpty || rest.first == UInt8(ascii: ",") else { return nil }
        }
    }
}

extension StringProtocol {
    /// Without the spaces and tabs around it.
    var trimmed: String {
        var view = Substring(self)
        while let first = view.first, first == " " || first == "\t" { view.removeFirst() }
        while let last = view.last, last == " " || last == "\t" { view.removeLast() }
        return String(view)
    }
}
