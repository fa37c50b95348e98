internal import AffinityCore
internal import AffinityGateway
internal import AffinityNet
internal import FoundationEssentials

/// What operators do to a cluster, over HTTP, on listeners of its own: whoever reaches them may do it.
///
/// Each route says what is to be, and can be repeated. What it asks for is done by the planner, in the background.
struct AdminGateway {
    let node: Node

    func gateway() throws -> HTTPGateway {
        try HTTPGateway { routes in
            routes.operations(node)
            routes.on("GET", "/admin/settings") { request in try await self.change(request) { _ in } }
            routes.on("PUT", "/admin/drained/:node") { request in
                let name = request.parameter("node")
                try await self.check([name], orElse: 404)
                return try await self.change(request) { if !$0.drained.contains(name) { $0.drained.append(name) } }
            }
            routes.on("DELETE", "/admin/drained/:node") { request in
                let name = request.parameter("node")
                return try await self.change(request) { $0.drained.removeAll { $0 == name } }
            }
            routes.on("PUT", "/admin/paused") { request in try await self.change(request) { $0.isPaused = true } }
            routes.on("DELETE", "/admin/paused") { request in try await self.change(request) { $0.isPaused = false } }
            routes.on("PUT", "/admin/pins/:keyspace/:partition") { request in
                let (keyspace, partition) = try self.partition(of: request)
                let nodes = try self.nodes(of: request)
                try await self.check(nodes, orElse: 422)
                return try await self.change(request) { $0.pins[keyspace, default: [:]][partition] = nodes }
            }
            routes.on("DELETE", "/admin/pins/:keyspace/:partition") { request in
                let (keyspace, partition) = try self.partition(of: request)
                return try await self.change(request) {
                    $0.pins[keyspace]?[partition] = nil
                    if $0.pins[keyspace]?.isEmpty == true { $0.pins[keyspace] = nil }
                }
            }
        }
    }

    private var coordinator: ClusterCoordinator {
        get throws(HTTPError) {
            guard let cluster = node.parts.cluster else {
                throw HTTPError(409, "the node is alone: there is no cluster that could be told anything")
            }
            return cluster.coordinator
        }
    }

    // MARK: - Settings

    private typealias Outcome = Result<SettingsRecord, HTTPError>

    /// Changes the settings, and answers with what stands there now.
    ///
    /// While ZooKeeper is away the change waits, as everything that is asked of it does, but the client does not.
    private func change(
        _ request: Request, _ edit: @escaping @Sendable (inout SettingsRecord) -> Void
    ) async throws -> Response {
        let coordinator = try coordinator
        let patience = try request.envelope().deadline.since(node.parts.clock.monotonic)
        let (outcomes, outcome) = AsyncStream<Outcome>.makeStream(bufferingPolicy: .bufferingOldest(1))
        // It ends when ZooKeeper answers, or the session does; nothing can take it back.
        Task {
            outcome.yield(await Self.outcome(of: edit, coordinator))
            outcome.finish()
        }
        let limit = Task {
            try await Task.sleep(for: patience)
            outcome.yield(.failure(HTTPError(504, "ZooKeeper has not answered: what was asked for may be done later")))
            outcome.finish()
        }
        defer { limit.cancel() }
        for await outcome in outcomes { return try .json(outcome.get()) }
        throw HTTPError(503, "the client waits no longer")
    }

    private static func outcome(
        of edit: @Sendable (inout SettingsRecord) -> Void, _ coordinator: ClusterCoordinator
    ) async -> Outcome {
        do throws(CoordinatorError) { return .success(try await coordinator.change(edit)) } catch {
            if !error.isRetriable { return .failure(HTTPError(500, error.reason)) }
            return .failure(HTTPError(503, error.reason, headers: [("Retry-After", "1")]))
        }
    }

    // MARK: - What is asked for

    private func partition(of request: Request) throws(HTTPError) -> (String, Int) {
        let keyspace = request.parameter("keyspace")
        guard let partitions = node.partitions(of: keyspace) else {
            throw HTTPError(404, "there is no keyspace \(keyspace)")
        }
        guard let number = Int(request.parameter("partition")), (0..<partitions).contains(number) else {
            throw HTTPError(404, "\(keyspace) has partitions 0 to \(partitions - 1)")
        }
        return (keyspace, number)
    }

    private func nodes(of request: Request) throws -> [String] {
        let text = try request.jsonText()
        guard let nodes = try? JSONDecoder().decode([String].self, from: Data(text)), !nodes.isEmpty,
            Set(nodes).count == nodes.count, nodes.allSatisfy({ !$0.isEmpty })
        else { throw HTTPError(400, "the body must be a list of different nodes, the preferred master first") }
        return nodes
    }

    /// Refuses what is the name of no node: of none that is there, or was and is likely to be back.
    private func check(_ names: [String], orElse status: Int) async throws(HTTPError) {
        let cluster = try await coordinator.status()
        var nodes = Set(cluster.members.map(\.id) + cluster.settings.drained)
        guard nodes.contains(node.settings.id.description) else {
            throw HTTPError(503, "the node has not entered its cluster yet", headers: [("Retry-After", "1")])
        }
        for partition in cluster.partitions.values {
            nodes.formUnion(partition.standbys)
            if let master = partition.master { nodes.insert(master) }
        }
        if let unknown = names.first(where: { !nodes.contains($0) }) {
            throw HTTPError(status, "there is no node \(unknown), only \(nodes.sorted().joined(separator: ", "))")
        }
    }
}
