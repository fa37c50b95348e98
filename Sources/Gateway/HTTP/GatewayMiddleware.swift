public import AffinityCore
internal import AffinityNet

/// Middleware that comes with the gateway.
public enum GatewayMiddleware {
    /// Gives every answer the header `X-Request-Id`: the client's own, or one from `random`.
    public static func requestID(random: @escaping @Sendable () -> UInt64) -> Middleware {
        { request, next in
            let given = request.headers("x-request-id").first { id in
                (1...128).contains(id.utf8.count) && id.utf8.allSatisfy { (0x21...0x7E).contains($0) }
            }
            var response = try await next(request)
            response.headers.append(("X-Request-Id", given ?? String(random(), radix: 16)))
            return response
        }
    }

    /// Refuses with 421 what was not asked of one of these names: a page cannot make its own name stand for this machine
    /// and be taken for one from here (DNS rebinding).
    ///
    /// - Parameter names: as ``GatewayConfiguration/hosts``.
    static func hosts(_ names: [String]) -> Middleware {
        let names = Set(names.map { $0.lowercased() })
        return { request, next in
            guard let host = try request.header("host"), names.contains(name(of: host)) else {
                throw HTTPError(421, "this is not served here by that name")
            }
            return try await next(request)
        }
    }

    /// Without the port.
    private static func name(of host: String) -> String {
        let port = host.lastIndex(of: ":").map { host[$0...] } ?? ""
        // The colons of an IPv6 address stand in brackets.
        return (port.contains("]") ? host : String(host.dropLast(port.count))).lowercased()
    }

    /// Reports every request with its status and how long it took.
    public static func accessLog(clock: any NodeClock, report: @escaping Reporter) -> Middleware {
        { request, next in
            let response = try await next(request)
            let microseconds = clock.monotonic.since(request.received).wholeNanoseconds / 1000
            var fields = [
                (name: "method", value: request.method), (name: "target", value: request.target),
                (name: "status", value: String(response.status)), (name: "bytes", value: String(response.body.count)),
                (name: "microseconds", value: String(microseconds)), (name: "remote", value: request.remote),
            ]
            if let id = response.headers.first(where: { $0.name == "X-Request-Id" }) {
                fields.append((name: "request", value: id.value))
            }
            report(Report(.info, "request", fields + request.traceFields))
            return response
        }
    }
}
