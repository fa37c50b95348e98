internal import AffinityConfiguration
internal import AffinityNet

/// Which pages of other origins may use the gateway from a browser, and what they may do (CORS, as the Fetch standard
/// has it).
///
/// It is a rule for browsers, not a protection from other clients: those send no `Origin`, or any that they like. Without
/// it pages of the gateway's own origin alone can use what it serves. The same origins may open WebSockets, which browsers
/// let any page do: there the gateway refuses the others itself, with 403. A browser opens a WebSocket with the user's
/// cookies whether the page may read answers or not, so `*` does not allow that: it takes an origin by its name.
public struct CORS: Sendable, Hashable {
    /// The origins, as `https://shop.example` or `http://localhost:3000`, compared byte for byte; `*` for all of them, as
    /// far as their requests carry no cookies.
    public var origins: [String]
    /// The methods that a page may use.
    public var methods: [String]
    /// The request headers that a page may set, besides those that every page may; `*` for all but `Authorization`.
    public var headers: [String]
    /// The headers of an answer that a page may read, besides those that every page may.
    public var exposed: [String]
    /// Whether requests with cookies and such are allowed. Not with `*` as an origin.
    public var allowsCredentials: Bool
    /// How long a browser may remember what a preflight said.
    public var maxAge: Duration

    /// The methods that a gateway answers.
    public static let standardMethods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    /// What the gateway reads of a request besides its body.
    public static let standardHeaders = [
        "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "Affinity-Position", "Affinity-Timeout",
        "Affinity-Read", "Affinity-Max-Lag", "Last-Event-ID", "X-Request-Id", "traceparent",
    ]
    /// What the gateway says beside an answer's body.
    public static let standardExposed = [
        "ETag", "Age", "Allow", "Retry-After", "Affinity-Position", "Idempotency-Replayed", "X-Request-Id",
    ]

    /// Allows pages of `origins` what the gateway can do.
    public init(
        origins: [String], methods: [String] = CORS.standardMethods, headers: [String] = CORS.standardHeaders,
        exposed: [String] = CORS.standardExposed, allowsCredentials: Bool = false, maxAge: Duration = .seconds(600)
    ) {
        self.origins = origins
        self.methods = methods
        self.headers = headers
        self.exposed = exposed
        self.allowsCredentials = allowsCredentials
        self.maxAge = maxAge
    }

    /// Whether pages of that origin are allowed.
    public func allows(origin: String) -> Bool { allowsAll || origins.contains(origin) }

    /// Whether requests of such pages are carried out that browsers send without asking first.
    func admits(origin: String, withCredentials: Bool) -> Bool {
        origins.contains(origin) || (allowsAll && !withCredentials)
    }

    private var allowsAll: Bool { origins.contains("*") }

    /// What cannot be right; `nil` if nothing is wrong.
    var mistake: String? {
        if let origin = origins.first(where: { !Self.isOrigin($0) }) {
            return "\"\(origin)\" is no origin like https://shop.example"
        }
        if allowsAll && allowsCredentials { return "credentials are not for all origins: no browser would take that" }
        let names = methods + headers + exposed
        if let name = names.first(where: { !Self.isToken($0) }) {
            return "\"\(name)\" is no name of a method or header"
        }
        return nil
    }

    /// `*`, `null`, or scheme, host and port, in lower case and without a path.
    static func isOrigin(_ text: String) -> Bool {
        if text == "*" || text == "null" { return true }
        guard let colon = text.firstRange(of: "://") else { return false }
        let (scheme, host) = (text[..<colon.lowerBound], text[colon.upperBound...])
        return !scheme.isEmpty && !host.isEmpty
            && scheme.utf8.allSatisfy { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || isDigit($0) }
            && host.utf8.allSatisfy { byte in
                byte > 0x20 && byte < 0x7F && !"/?#@,*\"\\".utf8.contains(byte) && !isCapital(byte)
            }
    }

    static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"()<>@,;:\\\"/[]?={}".utf8.contains($0) }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    private static func isCapital(_ byte: UInt8) -> Bool { (0x41...0x5A).contains(byte) }
}

// MARK: - Answers

extension CORS {
    /// Answers preflights, and lets the pages that may do so read the other answers.
    var middleware: Middleware {
        { request, next in
            let origin = request.headers("origin").first
            if let origin, request.method == "OPTIONS", !request.headers("access-control-request-method").isEmpty {
                return self.preflight(origin)
            }
            var response = try await next(request)
            self.allow(origin, &response)
            return response
        }
    }

    /// It says the same of every path: whether something is there, the request itself is told.
    private func preflight(_ origin: String) -> Response {
        var response = Response(status: 204)
        if allows(origin: origin) {
            response.headers = [
                ("Access-Control-Allow-Methods", methods.joined(separator: ", ")),
                ("Access-Control-Allow-Headers", headers.joined(separator: ", ")),
                ("Access-Control-Max-Age", String(max(0, maxAge.components.seconds))),
            ]
        }
        allowOrigin(origin, &response)
        return response
    }

    private func allow(_ origin: String?, _ response: inout Response) {
        if let origin, allows(origin: origin), !exposed.isEmpty {
            response.headers.append(("Access-Control-Expose-Headers", exposed.joined(separator: ", ")))
        }
        allowOrigin(origin, &response)
    }

    private func allowOrigin(_ origin: String?, _ response: inout Response) {
        if allowsAll {
            if origin != nil { response.headers.append(("Access-Control-Allow-Origin", "*")) }
            return
        }
        // Without an origin too: a cache must not give that answer to a page.
        response.headers.append(("Vary", "Origin"))
        guard let origin, allows(origin: origin) else { return }
        response.headers.append(("Access-Control-Allow-Origin", origin))
        if allowsCredentials { response.headers.append(("Access-Control-Allow-Credentials", "true")) }
    }
}

// MARK: - WebSockets

extension Request {
    /// Refuses a page that is neither of the gateway's own origin nor of an allowed one: a WebSocket, and whatever may
    /// write, since a browser sends some of that without asking first.
    ///
    /// - Throws: 403.
    func checkOrigin() throws(HTTPError) {
        // A client that is no browser says nothing.
        guard let origin = try header("origin") else { return }
        if let cors = context.cors, cors.admits(origin: origin, withCredentials: carriesCredentials) { return }
        guard let host = try header("host"), Self.isAuthority(host, of: origin) else {
            throw HTTPError(403, "pages of \(origin) may not do this here")
        }
    }

    /// Whether the browser has said who its user is. `Authorization` may be the page's own word, if pages may say it, and
    /// never on a WebSocket.
    private var carriesCredentials: Bool {
        if !headers("cookie").isEmpty { return true }
        if headers("authorization").isEmpty { return false }
        return http.asksForWebSocket
            || !(context.cors?.headers.contains { $0.lowercased() == "authorization" } ?? false)
    }

    /// Whether a page of `origin` asks the host and port that it came from. The scheme says the port where there is none,
    /// and nothing else: a proxy in front of the gateway may end TLS.
    private static func isAuthority(_ host: String, of origin: String) -> Bool {
        guard let colon = origin.firstRange(of: "://") else { return false }
        let port = origin[..<colon.lowerBound] == "https" ? ":443" : ":80"
        func whole(_ text: some StringProtocol) -> String {
            let text = text.lowercased()
            return text.hasSuffix(port) ? String(text.dropLast(port.utf8.count)) : text
        }
        return whole(origin[colon.upperBound...]) == whole(host)
    }
}

// MARK: - Configuration

extension CORS {
    /// Reads the keys under `gateway.cors`; `nil` without origins.
    init?(_ reader: ConfigurationReader) {
        let token = TextRule("a name of a method or header") { CORS.isToken($0) }
        let cors = CORS(
            origins: reader.list(
                "origins", default: [],
                each: TextRule("an origin like https://shop.example, or *") { CORS.isOrigin($0) },
                doc:
                    "The origins whose pages may use the gateway, WebSockets included. Without any, none may; * for all, but not for what comes with cookies, nor for WebSockets with Authorization."
            ),
            methods: reader.list(
                "methods", default: CORS.standardMethods, each: token, doc: "The methods that such pages may use."),
            headers: reader.list(
                "headers", default: CORS.standardHeaders, each: token,
                doc: "The request headers that such pages may set."),
            exposed: reader.list(
                "exposed", default: CORS.standardExposed, each: token,
                doc: "The headers of an answer that such pages may read."),
            allowsCredentials: reader.boolean(
                "credentials", default: false, doc: "Whether such pages may send cookies; not with the origin *."),
            maxAge: reader.duration(
                "max-age", default: .seconds(600), in: .zero ... .seconds(86_400),
                doc: "How long a browser may remember what it was told of them."))
        if let mistake = cors.mistake { reader.reject("origins", mistake) }
        if cors.origins.isEmpty { return nil }
        self = cors
    }
}
