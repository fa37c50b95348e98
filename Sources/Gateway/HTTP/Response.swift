internal import AffinityNet
internal import FoundationEssentials

/// An answer.
public struct Response: Sendable {
    /// The status.
    public var status: Int
    /// The headers, in order. Length, date and connection are added by the server.
    public var headers: [(name: String, value: String)]
    /// The body.
    public var body: [UInt8]
    /// What goes on behind the headers, instead of the body.
    var sequel: Sequel?

    /// What an answer can go on as.
    enum Sequel: Sendable {
        case webSocket(WebSocketConfiguration, RunWebSocket)
        case stream(RunStream)
    }

    typealias RunWebSocket = nonisolated(nonsending) @Sendable (WebSocket) async -> Void
    typealias RunStream = nonisolated(nonsending) @Sendable (HTTPBodyStream) async -> Void

    /// An answer of those parts.
    public init(status: Int = 200, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// An answer whose body is the JSON text of `value`.
    ///
    /// - Throws: what the value's own encoding throws.
    public static func json(
        _ value: some Encodable, status: Int = 200, headers: [(name: String, value: String)] = []
    ) throws -> Response {
        .json(text: try jsonText(of: value), status: status, headers: headers)
    }

    /// The JSON text of `value`, as everything is written that the gateway encodes.
    static func jsonText(of value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }

    /// An answer whose body is a JSON text as it is.
    public static func json(
        text: [UInt8], status: Int = 200, headers: consuming [(name: String, value: String)] = []
    ) -> Response {
        headers.append(("Content-Type", "application/json"))
        return Response(status: status, headers: headers, body: text)
    }

    /// An answer of plain text.
    public static func text(_ text: String, status: Int = 200) -> Response {
        Response(
            status: status, headers: [("Content-Type", "text/plain; charset=utf-8")], body: Array(text.utf8))
    }

    /// The problem document (RFC 9457) of an error.
    public static func problem(_ error: HTTPError) -> Response {
        let title = HTTPStatus.phrase(error.status)
        var body = "{\"type\":\"about:blank\",\"title\":\"\(title)\",\"status\":\(error.status),\"detail\":"
        body += JSONLiteral(error.detail).description
        for (name, value) in error.members.sorted(by: { $0.key < $1.key }) where !reservedMembers.contains(name) {
            body += ",\(JSONLiteral(name)):\(JSONLiteral(value))"
        }
        body += "}"
        var headers = error.headers
        headers.append(("Content-Type", "application/problem+json"))
        return Response(status: error.status, headers: headers, body: Array(body.utf8))
    }

    /// What RFC 9457 gives a meaning that a handler's particulars must not take.
    private static let reservedMembers: Set = ["type", "title", "status", "detail", "instance"]
}

/// A text as a JSON string literal, for answers that are put together by hand.
public struct JSONLiteral: CustomStringConvertible, Sendable {
    /// The literal, quotes included.
    public let description: String

    /// The literal of `text`.
    public init(_ text: String) {
        let isPlain = text.utf8.allSatisfy {
            $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") && $0 != 0x7F
        }
        description = isPlain ? "\"\(text)\"" : Self.escaped(text)
    }

    private static func escaped(_ text: String) -> String {
        var literal = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": literal += "\\\""
            case "\\": literal += "\\\\"
            case "\n": literal += "\\n"
            case "\r": literal += "\\r"
            case "\t": literal += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let digits = String(scalar.value, radix: 16)
                literal += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: literal.unicodeScalars.append(scalar)
            }
        }
        return literal + "\""
    }
}

/// The reason phrases of the statuses that the gateway answers with (RFC 9110, RFC 6585).
enum HTTPStatus {
    static func phrase(_ status: Int) -> String {
        switch status {
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 412: "Precondition Failed"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 421: "Misdirected Request"
        case 422: "Unprocessable Content"
        case 426: "Upgrade Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        default: "Error"
        }
    }
}
