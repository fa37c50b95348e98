/// The parts of a request target: its path as decoded segments, and its query.
struct Target {
    /// Each segment, percent-decoded once: so `%2F` is a slash within a segment.
    var segments: [String]
    /// What stands behind the question mark, undecoded; `nil` without one.
    var query: Substring.UTF8View?

    /// Takes a target apart.
    ///
    /// Accepts the origin form (`/path?query`) and the absolute form (`http://host/path`), whose host says nothing.
    ///
    /// - Throws: 400 for a bad escape, bytes that are not UTF-8, or any other form.
    init(_ text: String) throws(HTTPError) {
        var rest = text[...]
        if let scheme = rest.range(ofFirst: "://"), !rest.hasPrefix("/") {
            rest = rest[scheme.upperBound...]
            rest = rest.utf8.firstIndex(of: UInt8(ascii: "/")).map { rest[$0...] } ?? "/"
        }
        guard rest.utf8.first == UInt8(ascii: "/") else { throw HTTPError(400, "the request target is no path") }
        if let mark = rest.utf8.firstIndex(of: UInt8(ascii: "?")) {
            query = rest[rest.utf8.index(after: mark)...].utf8
            rest = rest[..<mark]
        }
        segments = []
        for segment in rest.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            segments.append(try Percent.decode(segment, plusIsSpace: false, in: "the path"))
        }
    }
}

extension Substring {
    fileprivate func range(ofFirst text: StaticString) -> Range<Index>? {
        // Only the colon of a scheme is looked for, within its first letters.
        guard let colon = utf8.prefix(16).firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let rest = self[colon...]
        guard rest.hasPrefix("://") else { return nil }
        return colon..<index(colon, offsetBy: 3)
    }
}

/// Percent-encoding (RFC 3986).
enum Percent {
    /// Decodes once.
    ///
    /// - Throws: 400 for an escape without two hexadecimal digits, and for bytes that are not UTF-8.
    static func decode(
        _ bytes: some Collection<UInt8>, plusIsSpace: Bool, in place: String
    ) throws(HTTPError) -> String {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var index = bytes.startIndex
        while index < bytes.endIndex {
            let byte = bytes[index]
            bytes.formIndex(after: &index)
            switch byte {
            case UInt8(ascii: "%"):
                guard index < bytes.endIndex, let high = digit(bytes[index]) else { throw badEscape(place) }
                bytes.formIndex(after: &index)
                guard index < bytes.endIndex, let low = digit(bytes[index]) else { throw badEscape(place) }
                bytes.formIndex(after: &index)
                decoded.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace: decoded.append(UInt8(ascii: " "))
            default: decoded.append(byte)
            }
        }
        guard let text = String(validating: decoded, as: UTF8.self) else {
            throw HTTPError(400, "\(place) is not UTF-8")
        }
        return text
    }

    private static func badEscape(_ place: String) -> HTTPError {
        HTTPError(400, "\(place) has a percent sign without two hexadecimal digits behind it")
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// The items of a query: each name at most once, and only names that the route declares.
struct QueryItems {
    private var items: [String: String] = [:]

    /// Takes a query apart.
    ///
    /// - Throws: 400 for a name that is not among `names`, for a name that comes twice, and for a bad escape.
    init(_ query: Substring.UTF8View?, names: [String]) throws(HTTPError) {
        guard let query else { return }
        for item in query.split(separator: UInt8(ascii: "&")) {
            let equals = item.firstIndex(of: UInt8(ascii: "="))
            let name = try Percent.decode(item[..<(equals ?? item.endIndex)], plusIsSpace: true, in: "the query")
            let value = try equals.map { equals throws(HTTPError) in
                try Percent.decode(item[item.index(after: equals)...], plusIsSpace: true, in: "the query")
            }
            guard names.contains(name) else {
                throw HTTPError(400, "there is no query parameter \"\(name)\" here")
            }
            guard items.updateValue(value ?? "", forKey: name) == nil else {
                throw HTTPError(400, "the query parameter \"\(name)\" is given twice")
            }
        }
    }

    subscript(name: String) -> String? { items[name] }
}
