internal import AffinityNet

/// The parts of a request target: its path as decoded segments, and its query.
struct Target: Sendable {
    /// Each segment, percent-decoded once: so `%2F` is a slash within a segment.
    var segments: [String]
    /// What stands behind the question mark, undecoded; `nil` without one.
    var query: [UInt8]?

    private static let slash = UInt8(ascii: "/")

    /// No path at all, where a target cannot be read.
    static let unreadable = Target(segments: [], query: nil)

    private init(segments: [String], query: [UInt8]?) {
        self.segments = segments
        self.query = query
    }

    /// Takes a request's target apart, where it lies.
    ///
    /// - Throws: as below.
    init(_ http: HTTPRequest) throws(HTTPError) {
        self = try http.withTarget { span throws(HTTPError) in
            try span.withUnsafeBytes { bytes throws(HTTPError) in try Target(bytes) }
        }
    }

    /// Takes a target apart.
    ///
    /// Accepts the origin form (`/path?query`) and the absolute form (`http://host/path`), whose host says nothing.
    ///
    /// - Throws: 400 for a bad escape, bytes that are not UTF-8, or any other form.
    init(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) {
        var rest = bytes[...]
        if rest.first != Self.slash { rest = try Self.behindAuthority(rest) }
        if let mark = rest.firstIndex(of: UInt8(ascii: "?")) {
            query = Array(rest[(mark + 1)...])
            rest = rest[..<mark]
        }
        segments = []
        segments.reserveCapacity(4)
        // An absolute form may have no path; it means the root then.
        rest = rest.dropFirst()
        while let end = rest.firstIndex(of: Self.slash) {
            segments.append(try Percent.decode(rest[..<end], in: "the path"))
            rest = rest[(end + 1)...]
        }
        segments.append(try Percent.decode(rest, in: "the path"))
    }

    /// What follows `scheme://host:port`: empty, or with a slash or a question mark in front.
    private static func behindAuthority(
        _ target: Slice<UnsafeRawBufferPointer>
    ) throws(HTTPError) -> Slice<UnsafeRawBufferPointer> {
        // No scheme that reaches an HTTP server is longer.
        guard let colon = target.prefix(16).firstIndex(of: UInt8(ascii: ":")),
            target[colon...].starts(with: "://".utf8)
        else { throw HTTPError(400, "the request target is no path") }
        return target[(colon + 3)...].drop { $0 != slash && $0 != UInt8(ascii: "?") }
    }
}

/// Percent-encoding (RFC 3986).
enum Percent {
    /// Decodes once.
    ///
    /// - Parameter plusIsSpace: as in queries that forms make.
    /// - Throws: 400 for an escape without two hexadecimal digits, and for bytes that are not UTF-8.
    static func decode(
        _ bytes: some RandomAccessCollection<UInt8>, plusIsSpace: Bool = false, in place: String
    ) throws(HTTPError) -> String {
        // ASCII without escapes, as nearly every text is: what it stands for, and UTF-8 too.
        let isPlain = bytes.allSatisfy {
            $0 < 0x80 && $0 != UInt8(ascii: "%") && !(plusIsSpace && $0 == UInt8(ascii: "+"))
        }
        if isPlain { return String(decoding: bytes, as: UTF8.self) }
        guard let text = String(validating: try decodeEscapes(Array(bytes)[...], plusIsSpace, place), as: UTF8.self)
        else {
            throw HTTPError(400, "\(place) is not UTF-8")
        }
        return text
    }

    private static func decodeEscapes(
        _ bytes: ArraySlice<UInt8>, _ plusIsSpace: Bool, _ place: String
    ) throws(HTTPError) -> [UInt8] {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var rest = bytes
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else {
                    throw HTTPError(400, "\(place) has a percent sign without two hexadecimal digits behind it")
                }
                decoded.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace: decoded.append(UInt8(ascii: " "))
            default: decoded.append(byte)
            }
        }
        return decoded
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
struct QueryItems: Sendable {
    private var items: [String: String] = [:]

    /// No items.
    static let none = QueryItems()

    private init() {}

    /// Takes a query apart.
    ///
    /// - Throws: 400 for a name that is not among `names`, for a name that comes twice, and for a bad escape.
    init(_ query: [UInt8]?, names: [String]) throws(HTTPError) {
        guard let query else { return }
        for item in query.split(separator: UInt8(ascii: "&")) {
            let equals = item.firstIndex(of: UInt8(ascii: "=")) ?? item.endIndex
            let name = try Percent.decode(item[..<equals], plusIsSpace: true, in: "the query")
            guard names.contains(name) else {
                throw HTTPError(400, "there is no query parameter \"\(name)\" here")
            }
            let value = try Percent.decode(item[equals...].dropFirst(), plusIsSpace: true, in: "the query")
            guard items.updateValue(value, forKey: name) == nil else {
                throw HTTPError(400, "the query parameter \"\(name)\" is given twice")
            }
        }
    }

    subscript(name: String) -> String? { items[name] }
}
