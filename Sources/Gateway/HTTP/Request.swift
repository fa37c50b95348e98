public import AffinityCore
internal import AffinityNet
internal import FoundationEssentials

/// A request that a route was found for.
public struct Request: Sendable {
    /// The method: `GET`, `PUT`, ….
    public let method: String
    /// The path and the query, taken apart.
    let location: Target
    let route: Route
    private let isRouted: Bool
    private let query: QueryItems
    let http: HTTPRequest
    let context: GatewayContext
    /// The part of a trace that the request is; `nil` if it belongs to none.
    let trace: TraceContext?

    /// When the gateway took the request up; its deadline counts from here.
    public let received: MonotonicTime

    init(
        method: String, target: Target, route: Route, query: QueryItems, http: HTTPRequest, context: GatewayContext,
        received: MonotonicTime
    ) {
        self.method = method
        location = target
        self.route = route
        isRouted = true
        self.query = query
        self.http = http
        self.context = context
        self.received = received
        trace = context.trace(of: http)
    }

    /// A request that there is no route for, as middleware sees it.
    ///
    /// - Parameter route: stands for all that have none.
    init(unrouted http: HTTPRequest, _ route: Route, _ context: GatewayContext, _ received: MonotonicTime) {
        method = http.method.rawValue
        location = .unreadable
        self.route = route
        isRouted = false
        query = .none
        self.http = http
        self.context = context
        self.received = received
        trace = context.trace(of: http)
    }

    // MARK: - Where it goes

    /// The target as it came.
    public var target: String { http.target }

    /// The client's address and port.
    public var remote: String { http.remoteAddress }

    /// The request's place in its trace (W3C Trace Context), to be handed to whoever is asked for its sake: the trace that
    /// the client named, and a span of this request's own. `nil` if it belongs to no trace.
    public var traceparent: String? { trace?.traceparent }

    /// The path's segment at the parameter `name`, percent-decoded; empty where middleware sees a request that there is
    /// no route for.
    ///
    /// - Precondition: the route has a parameter of that name.
    public func parameter(_ name: String) -> String {
        // What was refused may have a route, and a path that nobody has read.
        guard isRouted else { return "" }
        guard let parameter = route.parameters.first(where: { $0.name == name }) else {
            preconditionFailure("the route has no parameter \(name)")
        }
        return location.segments[parameter.place]
    }

    /// The path's segment at the parameter `name` as a value.
    ///
    /// - Throws: 404 if the segment is not the text of one: no such resource can be.
    public func parameter<Value: LosslessStringConvertible>(
        _ name: String, as type: Value.Type
    ) throws(HTTPError) -> Value {
        guard let value = Value(parameter(name)) else {
            throw HTTPError(404, "\"\(parameter(name))\" is not a \(name)")
        }
        return value
    }

    /// The query item `name`, decoded; `nil` if it is not there.
    public func query(_ name: String) -> String? { query[name] }

    /// The query item `name` as a value; `nil` if it is not there.
    ///
    /// - Throws: 400 if the item is not the text of one.
    public func query<Value: LosslessStringConvertible>(
        _ name: String, as type: Value.Type
    ) throws(HTTPError) -> Value? {
        guard let text = query[name] else { return nil }
        guard let value = Value(text) else {
            throw HTTPError(400, "the query parameter \"\(name)\" is not a \(Value.self): \"\(text)\"")
        }
        return value
    }

    // MARK: - Headers

    /// The values of a header, one a field, in order. The name is compared without regard to case.
    public func headers(_ name: String) -> [String] { http.headers(name) }

    /// The value of a header that may come at most once.
    ///
    /// - Throws: 400 if it comes more than once.
    public func header(_ name: String) throws(HTTPError) -> String? {
        let values = http.headers(name)
        guard values.count <= 1 else { throw HTTPError(400, "the header \(name) comes more than once") }
        return values.first
    }

    /// `If-Match` and `If-None-Match`.
    ///
    /// - Throws: 400 if one of them cannot be read.
    public var conditions: Conditions {
        get throws(HTTPError) {
            try Conditions(match: http.headers("if-match"), noneMatch: http.headers("if-none-match"))
        }
    }

    // MARK: - Body

    /// The body as it came.
    public var body: [UInt8] { http.body }

    /// The body as one JSON text, checked and kept byte for byte.
    ///
    /// - Throws: 415 for a content type other than JSON and for a content encoding, 400 with the place of the first
    ///   mistake.
    public func jsonText() throws(HTTPError) -> [UInt8] {
        try requireJSON()
        let body = http.body
        if let mistake = JSONText.mistake(in: body, maxDepth: 512) {
            throw HTTPError(400, "the body is not JSON: \(mistake.reason), at byte \(mistake.offset)")
        }
        return body
    }

    /// The value that the body's JSON text stands for.
    ///
    /// - Throws: as `jsonText`, and 400 if the text is not that of a `Value`.
    public func json<Value: Decodable>(_ type: Value.Type = Value.self) throws(HTTPError) -> Value {
        let text = try jsonText()
        do { return try JSONDecoder().decode(Value.self, from: Data(text)) } catch {
            throw HTTPError(400, "the body does not fit: \(Self.describe(error))")
        }
    }

    static func describe(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return "\(error)" }
        let context: DecodingError.Context
        switch error {
        case .keyNotFound(let key, _): return "the member \"\(key.stringValue)\" is missing"
        case .typeMismatch(_, let found), .valueNotFound(_, let found), .dataCorrupted(let found): context = found
        @unknown default: return "\(error)"
        }
        let path = context.codingPath.map(\.stringValue).joined(separator: ".")
        return path.isEmpty ? context.debugDescription : "\(path): \(context.debugDescription)"
    }

    private func requireJSON() throws(HTTPError) {
        for encoding in http.headers("content-encoding") where encoding.trimmed.lowercased() != "identity" {
            throw HTTPError(415, "a content encoding is not taken: \(encoding)")
        }
        guard let type = try header("content-type"), type != "application/json" else { return }
        guard ContentType(type)?.isJSON == true else {
            throw HTTPError(415, "the content type must be application/json, not \(type)")
        }
    }
}

/// A media type with its parameters (RFC 9110 §8.3).
struct ContentType {
    private let type: String
    private var charsets: [String] = []

    init?(_ text: String) {
        var parts: [String] = []
        var current = ""
        var isQuoted = false
        for character in text {
            if character == "\"" { isQuoted.toggle() }
            if character == ";", !isQuoted {
                parts.append(current)
                current = ""
            } else {
                current.append(character)
            }
        }
        guard !isQuoted else { return nil }
        parts.append(current)
        type = parts[0].trimmed.lowercased()
        for part in parts.dropFirst() where !part.trimmed.isEmpty {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2 else { return nil }
            let value = pair[1].trimmed
            if pair[0].trimmed.lowercased() == "charset" {
                charsets.append(value.filter { $0 != "\"" }.lowercased())
            }
        }
    }

    /// `application/json`, in UTF-8.
    var isJSON: Bool { type == "application/json" && charsets.allSatisfy { $0 == "utf-8" } }
}
