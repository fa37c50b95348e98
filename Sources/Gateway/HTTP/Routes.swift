internal import AffinityNet

/// A handler of a route or what a middleware calls to go on.
public typealias Responder = nonisolated(nonsending) @Sendable (Request) async throws -> Response

/// What stands around the routes' handlers: sees the request before them and the answer after.
///
/// Middleware runs in the order in which it was added, the first one outermost. It runs for every request, those without a
/// route included; what `next` throws in a handler comes out of it as an answer.
public typealias Middleware =
    nonisolated(nonsending) @Sendable (
        _ request: Request, _ next: Responder
    ) async throws -> Response

/// The routes of a gateway, as they are declared.
///
/// A path is made of literal segments and parameters (`/accounts/:account/deposit`); a literal is preferred to a
/// parameter. `HEAD` is answered by the route for `GET`, `OPTIONS` by the gateway. Mistakes (two handlers for one
/// path and method) are found when the gateway is made.
public final class Routes {
    let router = RouteNode()
    private(set) var routes: [Route] = []
    private(set) var middleware: [Middleware] = []
    private(set) var mistakes: [String] = []

    /// Which pages of other origins may use these routes; where it is set, `gateway.cors` of the configuration does not
    /// count for them.
    public var cors: CORS? {
        didSet { if let mistake = cors?.mistake { reject("cors: \(mistake)") } }
    }

    init() {}

    /// Notes a mistake of the declaration.
    package func reject(_ mistake: String) { mistakes.append(mistake) }

    /// Adds middleware around all routes.
    public func use(_ middleware: @escaping Middleware) { self.middleware.append(middleware) }

    /// Declares a route.
    ///
    /// - Parameters:
    ///   - method: the method, in capitals.
    ///   - path: the path, with parameters as `:name`.
    ///   - query: the query parameters that the route knows; any other is refused with 400, and one given twice too.
    ///   - handler: what answers.
    public func on(_ method: String, _ path: String, query: [String] = [], _ handler: @escaping Responder) {
        if method.isEmpty || !method.utf8.allSatisfy({ (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }) {
            mistakes.append("\(path): \"\(method)\" is no method")
        }
        declare(.method(method), path, query, handler)
    }

    /// Declares what answers at a path, whatever makes it answer.
    func declare(_ asked: Route.Asked, _ path: String, _ query: [String], _ handler: @escaping Responder) {
        guard path.hasPrefix("/") else { return mistakes.append("\(path): a path begins with a slash") }
        let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let places = segments.indices.filter { segments[$0].hasPrefix(":") }
        let names = places.map { String(segments[$0].dropFirst()) }
        if Set(names).count != names.count { mistakes.append("\(path): two parameters of one name") }
        if names.contains("") { mistakes.append("\(path): a parameter without a name") }
        if path.contains(where: { "?#%".contains($0) }) {
            mistakes.append("\(path): a path is written decoded and without a query")
        }
        let route = Route(
            RouteMeter(method: asked.name, route: path), parameters: Array(zip(names, places)), query: query,
            respond: handler)
        routes.append(route)
        if !router.insert(segments[...], asked, route) { mistakes.append("\(asked.name) \(path) is declared twice") }
    }
}

/// One route.
final class Route: Sendable {
    /// The names of the path's parameters, and which segments they are.
    let parameters: [(name: String, place: Int)]
    let query: [String]
    let respond: Responder
    let meter: RouteMeter

    /// What a request has to be for a route to answer it.
    enum Asked: Hashable, Sendable {
        case method(String)
        /// A `GET` that asks to become a WebSocket.
        case webSocket
        /// A `GET` that takes Server-Sent Events.
        case eventStream

        var name: String {
            switch self {
            case .method(let name): name
            case .webSocket: "WebSocket"
            case .eventStream: "event stream"
            }
        }
    }

    init(
        _ meter: RouteMeter, parameters: [(name: String, place: Int)], query: [String], respond: @escaping Responder
    ) {
        self.meter = meter
        self.parameters = parameters
        self.query = query
        self.respond = respond
    }
}

/// A node of the tree of paths. Built while routes are declared, only read afterwards.
final class RouteNode {
    private var literals: [String: RouteNode] = [:]
    private var parameter: RouteNode?
    private var methods: [String: Route] = [:]
    private var webSocket: Route?
    private var eventStream: Route?

    /// False if something answers there already.
    func insert(_ path: ArraySlice<String>, _ asked: Route.Asked, _ route: Route) -> Bool {
        guard let segment = path.first else { return insert(asked, route) }
        let child: RouteNode
        if segment.hasPrefix(":") {
            child = parameter ?? RouteNode()
            parameter = child
        } else {
            child = literals[segment] ?? RouteNode()
            literals[segment] = child
        }
        return child.insert(path.dropFirst(), asked, route)
    }

    private func insert(_ asked: Route.Asked, _ route: Route) -> Bool {
        let former: Route?
        switch asked {
        case .method(let name): former = methods.updateValue(route, forKey: name)
        case .webSocket: (former, webSocket) = (webSocket, route)
        case .eventStream: (former, eventStream) = (eventStream, route)
        }
        return former == nil
    }

    /// The same tree as a value that can be used on any thread.
    var frozen: Router {
        Router(
            literals: FewNames(literals.mapValues(\.frozen)), parameter: parameter?.frozen, methods: FewNames(methods),
            webSocket: webSocket, eventStream: eventStream)
    }
}

/// The tree of paths, to look requests up in.
///
/// Of classes, so that going down counts one reference a step.
final class Router: Sendable {
    private let literals: FewNames<Router>
    private let parameter: Router?
    private let methods: FewNames<Route>
    private let webSocket: Route?
    private let eventStream: Route?
    private let isLive: Bool

    init(
        literals: FewNames<Router>, parameter: Router?, methods: FewNames<Route>, webSocket: Route?,
        eventStream: Route?
    ) {
        self.literals = literals
        self.parameter = parameter
        self.methods = methods
        self.webSocket = webSocket
        self.eventStream = eventStream
        isLive = webSocket != nil || eventStream != nil
    }

    /// The node of a path, which goes on here with the segment at `place`.
    func find(_ segments: [String], from place: Int = 0) -> Router? {
        guard place < segments.count else { return methods.names.isEmpty && !isLive ? nil : self }
        if let child = literals[segments[place]], let found = child.find(segments, from: place + 1) { return found }
        // An empty segment is no parameter: it would be a key without a name.
        guard let child = parameter, !segments[place].isEmpty else { return nil }
        return child.find(segments, from: place + 1)
    }

    /// What answers a request of that method. What a `GET` asks to become is looked at first.
    func route(_ method: String, _ http: HTTPRequest) -> Route? {
        if isLive, method == "GET" {
            if let webSocket, http.asksForWebSocket { return webSocket }
            if let eventStream, http.acceptsEventStream { return eventStream }
        }
        return methods[method] ?? (method == "HEAD" ? methods["GET"] : nil)
    }

    /// What a plain `GET` of something gets that can only be watched; `nil` if it cannot be watched either.
    var unaccepted: HTTPError? {
        if webSocket != nil { return HTTPError(426, "this is for WebSockets", headers: [("Upgrade", "websocket")]) }
        if eventStream != nil { return HTTPError(406, "this is for requests with Accept: text/event-stream") }
        return nil
    }

    /// What `Allow` says of the node.
    var allowed: String {
        var names = Set(methods.names)
        if isLive { names.insert("GET") }
        if methods["GET"] != nil { names.insert("HEAD") }
        names.insert("OPTIONS")
        return names.sorted().joined(separator: ", ")
    }
}

/// Values by their names, of which there are few: they are compared one after the other, which takes less than to hash one.
struct FewNames<Value: Sendable>: Sendable {
    let names: [String]
    private let values: [Value]

    init(_ values: [String: Value]) {
        names = values.keys.sorted()
        self.values = names.compactMap { values[$0] }
    }

    subscript(name: String) -> Value? { names.firstIndex(of: name).map { values[$0] } }
}

extension HTTPRequest {
    /// Whether the client takes Server-Sent Events, and says so.
    fileprivate var acceptsEventStream: Bool {
        headers("Accept").contains { field in
            field.split(separator: ",").contains { range in
                range.prefix { $0 != ";" }.trimmed.lowercased() == "text/event-stream"
            }
        }
    }
}
