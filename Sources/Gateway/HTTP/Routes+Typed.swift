/// Typed routes: path parameters in order, the body from JSON, the reply as JSON.
///
/// Their handlers don't see the request, so what a client says beside it (deadline, position, idempotency key) is for
/// routes declared with `on`. A typed `POST` refuses an idempotency key, rather than to count a repeat twice.
///
/// One declaration a number of parameters: with parameter packs the compiler (Swift 6.3) crashes on handlers that stay
/// on their caller's executor.
extension Routes {
    /// Declares a route for `GET` without path parameters.
    public func get<Reply: Encodable & SendableMetatype>(
        _ path: String, _ handler: nonisolated(nonsending) @escaping @Sendable () async throws -> Reply
    ) {
        _ = names(path, count: 0)
        on("GET", path) { _ in try Response.json(try await handler()) }
    }

    /// Declares a route for `GET` with one path parameter.
    public func get<First: LosslessStringConvertible & SendableMetatype, Reply: Encodable & SendableMetatype>(
        _ path: String, _ handler: nonisolated(nonsending) @escaping @Sendable (First) async throws -> Reply
    ) {
        let names = names(path, count: 1)
        on("GET", path) { request in
            try Response.json(try await handler(try request.parameter(names[0], as: First.self)))
        }
    }

    /// Declares a route for `GET` with two path parameters.
    public func get<
        First: LosslessStringConvertible & SendableMetatype, Second: LosslessStringConvertible & SendableMetatype,
        Reply: Encodable & SendableMetatype
    >(
        _ path: String, _ handler: nonisolated(nonsending) @escaping @Sendable (First, Second) async throws -> Reply
    ) {
        let names = names(path, count: 2)
        on("GET", path) { request in
            let first = try request.parameter(names[0], as: First.self)
            return try Response.json(try await handler(first, try request.parameter(names[1], as: Second.self)))
        }
    }

    /// Declares a route for `POST` without path parameters.
    public func post<Body: Decodable & SendableMetatype, Reply: Encodable & SendableMetatype>(
        _ path: String, _ handler: nonisolated(nonsending) @escaping @Sendable (Body) async throws -> Reply
    ) {
        _ = names(path, count: 0)
        on("POST", path) { request in
            try request.refuseIdempotencyKey()
            return try Response.json(try await handler(try request.json(Body.self)))
        }
    }

    /// Declares a route for `POST` with one path parameter.
    public func post<
        Body: Decodable & SendableMetatype, First: LosslessStringConvertible & SendableMetatype,
        Reply: Encodable & SendableMetatype
    >(
        _ path: String, _ handler: nonisolated(nonsending) @escaping @Sendable (Body, First) async throws -> Reply
    ) {
        let names = names(path, count: 1)
        on("POST", path) { request in
            try request.refuseIdempotencyKey()
            let body = try request.json(Body.self)
            return try Response.json(try await handler(body, try request.parameter(names[0], as: First.self)))
        }
    }

    /// Declares a route for `POST` with two path parameters.
    public func post<
        Body: Decodable & SendableMetatype, First: LosslessStringConvertible & SendableMetatype,
        Second: LosslessStringConvertible & SendableMetatype, Reply: Encodable & SendableMetatype
    >(
        _ path: String,
        _ handler: nonisolated(nonsending) @escaping @Sendable (Body, First, Second) async throws -> Reply
    ) {
        let names = names(path, count: 2)
        on("POST", path) { request in
            try request.refuseIdempotencyKey()
            let body = try request.json(Body.self)
            let first = try request.parameter(names[0], as: First.self)
            return try Response.json(
                try await handler(body, first, try request.parameter(names[1], as: Second.self)))
        }
    }

    /// The names of a path's parameters; another number of them than the handler takes is a mistake.
    func names(_ path: String, count: Int) -> [String] {
        let names = path.split(separator: "/").filter { $0.hasPrefix(":") }.map { String($0.dropFirst()) }
        if names.count != count { reject("\(path): the handler takes \(count) path parameters") }
        return names
    }
}

extension Request {
    /// - Throws: 400 if the client relies on its request being recognised when it comes again.
    fileprivate func refuseIdempotencyKey() throws(HTTPError) {
        guard headers("idempotency-key").isEmpty else {
            throw HTTPError(400, "this route does not take an Idempotency-Key")
        }
    }
}
