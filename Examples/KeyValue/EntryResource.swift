import Affinity

/// What HTTP requests for entries become, and what their replies look like.
struct EntryResource: Sendable {
    let kv: Service<Entries>

    nonisolated(nonsending) func get(_ request: Request) async throws -> Response {
        let key = try key(of: request)
        let conditions = try request.conditions
        let envelope = try request.readEnvelope()
        let answer = try await kv.read(Get(key: key), envelope)
        var headers = headers(answer.reached)
        if envelope.staleness != nil { headers.append(("Age", answer.age.ageHeader)) }
        if let item = answer.reply { headers.append(("ETag", item.version.entityTag)) }
        switch conditions.check(answer.reply?.version) {
        case .failed: return failed(headers)
        case .matched: return Response(status: 304, headers: headers)
        case .passed: break
        }
        guard let item = answer.reply else {
            return .problem(HTTPError(404, "there is no entry under this key", headers: headers))
        }
        return .json(text: item.value, headers: headers)
    }

    nonisolated(nonsending) func put(_ request: Request) async throws -> Response {
        let command = Put(
            key: try key(of: request), value: try request.jsonText(), conditions: try request.conditions)
        return response(try await kv.commit(command, try request.commandEnvelope()))
    }

    nonisolated(nonsending) func delete(_ request: Request) async throws -> Response {
        let command = Delete(key: try key(of: request), conditions: try request.conditions)
        return response(try await kv.commit(command, try request.commandEnvelope()))
    }

    nonisolated(nonsending) func add(_ request: Request) async throws -> Response {
        let command = Add(
            key: try key(of: request), by: try Amount(try request.jsonText()).by, conditions: try request.conditions)
        return response(try await kv.commit(command, try request.commandEnvelope()))
    }

    nonisolated(nonsending) func list(_ request: Request) async throws -> Response {
        let limit = try limit(of: request)
        let envelope = try request.readEnvelope()
        let query = List(prefix: request.query("prefix") ?? "", after: request.query("after"), limit: limit)
        let answers = try await kv.scatter(query, envelope).all()
        let tokens = answers.map(\.reached.token).joined(separator: ", ")
        var headers = [(name: "Affinity-Position", value: tokens)]
        let oldest = answers.map(\.age).max() ?? .zero
        if envelope.staleness != nil { headers.append(("Age", oldest.ageHeader)) }
        return .json(text: Page.merged(answers.map(\.reply), limit: limit).json, headers: headers)
    }

    private func limit(of request: Request) throws(HTTPError) -> Int {
        guard let text = request.query("limit") else { return 100 }
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let limit = Int(text),
            (1...1000).contains(limit)
        else { throw HTTPError(400, "limit must be from 1 to 1000") }
        return limit
    }

    func key(of request: Request) throws(HTTPError) -> String {
        let key = request.parameter("key")
        guard (1...1024).contains(key.utf8.count) else { throw HTTPError(400, "a key has 1 to 1024 bytes") }
        return key
    }

    private func response(_ commit: Commit<Written>) -> Response {
        var headers = headers(commit.reached)
        if commit.isReplay { headers.append(("Idempotency-Replayed", "true")) }
        if let version = commit.reply.current ?? commit.written { headers.append(("ETag", version.entityTag)) }
        switch commit.reply {
        case .created: return Response(status: 201, headers: headers)
        case .replaced, .deleted: return Response(status: 204, headers: headers)
        case .absent: return .problem(HTTPError(404, "there is no entry under this key", headers: headers))
        case .sum(let sum): return .json(text: Array("{\"value\":\(sum)}".utf8), headers: headers)
        case .refused(let reason): return .problem(HTTPError(422, reason, headers: headers))
        case .failed: return failed(headers)
        }
    }

    /// The header that every answer about an entry has, with room for the others.
    private func headers(_ reached: AskError.Reached) -> [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = []
        headers.reserveCapacity(4)
        headers.append(("Affinity-Position", reached.token))
        return headers
    }

    private func failed(_ headers: [(name: String, value: String)]) -> Response {
        .problem(HTTPError(412, "a condition does not hold", headers: headers))
    }
}

extension Commit<Written> {
    /// The version of the entry that the write left under its key.
    fileprivate var written: Version? {
        switch reply {
        case .created, .replaced, .sum: version
        case .deleted, .absent, .failed, .refused: nil
        }
    }
}

extension Written {
    /// The version that a condition did not hold for.
    fileprivate var current: Version? {
        if case .failed(let current) = self { current } else { nil }
    }
}

extension Duration {
    /// As it stands in `Age`: whole seconds, rounded up.
    fileprivate var ageHeader: String { String(components.seconds + (components.attoseconds > 0 ? 1 : 0)) }
}
