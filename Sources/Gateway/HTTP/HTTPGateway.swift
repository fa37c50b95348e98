package import AffinityCore
package import AffinityNet
package import AffinityObservability

/// The node's outer face over HTTP: finds the route of a request, runs its handler, answers.
///
/// Made with its routes, which are fixed from then on; a node runs it. Called by `HTTPServer` on the connections'
/// loops; calls the routes' handlers there.
public final class HTTPGateway: Sendable {
    private let router: Router
    private let middleware: [Middleware]
    private let meters: [RouteMeter]
    /// For all requests without a route: whoever asks for many paths must not make many numbers.
    private let unrouted = Route(RouteMeter(method: "", route: ""), parameters: [], query: []) { _ in
        throw HTTPError(404, "there is nothing at this path")
    }
    private let cors: CORS?

    /// Declares a gateway.
    ///
    /// - Throws: `GatewayError` if the routes have mistakes.
    public init(_ declare: (Routes) throws -> Void) throws {
        let routes = Routes()
        try declare(routes)
        if !routes.mistakes.isEmpty { throw GatewayError(mistakes: routes.mistakes) }
        router = routes.router.frozen
        middleware = routes.middleware
        meters = routes.routes.map(\.meter) + [unrouted.meter]
        cors = routes.cors
    }

    /// What the HTTP server calls for each request.
    ///
    /// - Parameter accessLog: whether every request is reported.
    package func handler(_ context: GatewayContext, accessLog: Bool = false) -> HTTPHandler {
        let context = context.with(cors: cors ?? context.cors)
        let middleware = standing(context, accessLog) + middleware
        // Without a capture list: one would take the closure off its caller's executor (Swift 6.3), and every request
        // would go over the global pool.
        return { http in
            let received = context.clock.monotonic
            let (request, respond) = self.find(http, context, received)
            let response = await self.run(request, respond, middleware[...])
            request.route.meter.count(response.status, from: received, to: context.clock.monotonic)
            return response.http
        }
    }

    /// What was counted of the requests.
    ///
    /// - Parameters:
    ///   - listener: what tells this gateway from others of the node.
    ///   - refusals: what its server answered by itself, by status; they count as requests without a route.
    package func families(_ listener: String, refusals: [Int: Int] = [:]) -> [MetricFamily] {
        RouteMeter.families(meters, listener, refusals)
    }

    /// What stands around the declared middleware.
    private func standing(_ context: GatewayContext, _ accessLog: Bool) -> [Middleware] {
        let log = accessLog ? [GatewayMiddleware.accessLog(clock: context.clock, report: context.report)] : []
        let hosts = context.hosts.isEmpty ? [] : [GatewayMiddleware.hosts(context.hosts)]
        // Around all others, so that pages can read their errors.
        return log + hosts + (context.cors.map { [$0.middleware] } ?? [])
    }

    /// Finds what answers a request.
    private func find(
        _ http: HTTPRequest, _ context: GatewayContext, _ received: MonotonicTime
    ) -> (Request, Responder) {
        var found = unrouted
        do throws(HTTPError) { return try route(http, context, received, &found) } catch {
            // Middleware sees what is refused too.
            return (Request(unrouted: http, found, context, received), { _ in throw error })
        }
    }

    /// Finds the route of a request.
    ///
    /// - Parameter found: becomes the route, if there is one: what it refuses counts there.
    /// - Throws: 400 for a target that cannot be read, 404, 405, 406 and 426 for what can only be watched, and 403 for a
    ///   page that may not do it.
    private func route(
        _ http: HTTPRequest, _ context: GatewayContext, _ received: MonotonicTime, _ found: inout Route
    ) throws(HTTPError) -> (Request, Responder) {
        let method = http.method.rawValue
        if method == "OPTIONS", http.target == "*" {
            return (
                Request(unrouted: http, unrouted, context, received),
                Self.allow("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
            )
        }
        let target = try Target(http)
        guard let node = router.find(target.segments) else { throw HTTPError(404, "there is nothing at this path") }
        guard let route = node.route(method, http) else {
            if method == "OPTIONS" {
                return (Request(unrouted: http, unrouted, context, received), Self.allow(node.allowed))
            }
            if method == "GET", let error = node.unaccepted { throw error }
            throw HTTPError(405, "\(method) is not possible here", headers: [("Allow", node.allowed)])
        }
        found = route
        let query = try QueryItems(target.query, names: route.query)
        let request = Request(
            method: method, target: target, route: route, query: query, http: http, context: context,
            received: received)
        if method != "GET", method != "HEAD" { try request.checkOrigin() }
        return (request, route.respond)
    }

    private static func allow(_ methods: String) -> Responder {
        { _ in Response(status: 204, headers: [("Allow", methods)]) }
    }

    /// Runs what answers within its middleware. An error becomes an answer where it is thrown, so that middleware
    /// further out sees an answer.
    private nonisolated(nonsending) func run(
        _ request: Request, _ respond: @escaping Responder, _ middleware: ArraySlice<Middleware>
    ) async -> Response {
        do {
            guard let outer = middleware.first else { return try await respond(request) }
            return try await outer(request) { await self.run($0, respond, middleware.dropFirst()) }
        } catch let error as HTTPError {
            return .problem(error)
        } catch let error as AskError {
            let answer = HTTPError(error)
            // The caller can do nothing about these: somebody has to look at the logic.
            if answer.status == 500 {
                request.context.report(
                    Report(
                        .error, "a handler failed",
                        [("target", request.target), ("reason", error.reason)] + request.traceFields))
            }
            return .problem(answer)
        } catch let error as Rejected {
            return .problem(HTTPError(error))
        } catch {
            request.context.report(
                Report(
                    .error, "a route failed",
                    [("target", request.target), ("error", "\(error)")] + request.traceFields))
            return .problem(HTTPError(500, "the server failed"))
        }
    }
}

/// What a node lends to its gateway.
///
/// A class, because every request holds it: one reference to count instead of one for each part, on lines of memory that
/// all loops share.
package final class GatewayContext: Sendable {
    package let clock: any NodeClock
    /// How long a request may take whose client says nothing of it, in nanoseconds: a `Duration` costs a division of 128
    /// bits each time it is read.
    let deadline: Int64
    /// Whether a request that belongs to no trace begins one.
    package let beginsTraces: Bool
    /// Which pages of other origins may use the gateway, unless its routes say so themselves.
    package let cors: CORS?
    /// As ``GatewayConfiguration/hosts``.
    package let hosts: [String]
    package let watching: WatchConfiguration
    package let report: Reporter

    package init(
        clock: any NodeClock, deadline: Duration, beginsTraces: Bool = false, cors: CORS? = nil, hosts: [String] = [],
        watching: WatchConfiguration = .init(), report: @escaping Reporter
    ) {
        self.clock = clock
        self.deadline = deadline.wholeNanoseconds
        self.beginsTraces = beginsTraces
        self.cors = cors
        self.hosts = hosts
        self.watching = watching
        self.report = report
    }

    func with(cors: CORS?) -> GatewayContext {
        GatewayContext(
            clock: clock, deadline: .nanoseconds(deadline), beginsTraces: beginsTraces, cors: cors, hosts: hosts,
            watching: watching, report: report)
    }

    /// The part of a trace that a request becomes: a new one of the client's trace, or of a new one where that is wanted.
    /// What is no trace context is as good as none, and so are two of them.
    func trace(of http: HTTPRequest) -> TraceContext? {
        let random = { UInt64.random(in: 0 ... .max) }
        if let text = http.header("traceparent"), let caller = TraceContext(traceparent: text),
            http.headers("traceparent").count == 1
        {
            return caller.child(random: random)
        }
        return beginsTraces ? TraceContext(random: random) : nil
    }
}

/// What is wrong with the declaration of a gateway.
public struct GatewayError: Error, Sendable, CustomStringConvertible {
    /// Everything that is wrong with it.
    public let mistakes: [String]

    /// The mistakes.
    public var description: String { "gateway: " + mistakes.joined(separator: "; ") }
}

extension Request {
    /// What log lines say of its trace; nothing if it belongs to none.
    var traceFields: [(name: String, value: String)] { trace?.fields ?? [] }
}

extension Response {
    /// As the server takes it.
    var http: HTTPResponse {
        switch sequel {
        case nil: HTTPResponse(status: status, headers: headers, body: body)
        case .webSocket(let configuration, let run): .webSocket(configuration, headers: headers, run)
        case .stream(let run): .stream(status: status, headers: headers, run)
        }
    }
}
