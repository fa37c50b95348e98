internal import AffinityCore
internal import AffinityGateway
internal import FoundationEssentials

/// What operators do to a cluster, over HTTP, on listeners of its own: whoever reaches them may do it.
///
/// Each route says what is to be, and can be repeated. What it asks for is done by the planner, in the background.
struct AdminGateway {
    let node: Node

    func gateway() throws -> HTTPGateway {
        try HTTPGateway { routes in
            routes.operations(node)
            routes.on("GET", "/admin/settings") { _ in try await self.settings() }
            routes.on("PUT", "/admin/drained/:node") { request in
                let name = request.parameter("node")
                return try await self.change { if !$0.drained.contains(name) { $0.drained.append(name) } }
            }
            routes.on("DELETE", "/admin/drained/:node") { request in
                let name = request.parameter("node")
                return try await self.change { $0.drained.removeAll { $0 == name } }
            }
            routes.on("PUT", "/admin/paused") { _ in try await self.change { $0.isPaused = true } }
            routes.on("DELETE", "/admin/paused") { _ in try await self.change { $0.isPaused = false } }
            routes.on("PUT", "/admin/pins/:keyspace/:partition") { request in
                let (keyspace, partition) = try self.partition(of: request)
                let nodes = try self.nodes(of: request)
                return try await self.change { $0.pins[keyspace, default: [:]][partition] = nodes }
            }
            routes.on("DELETE", "/admin/pins/:keyspace/:partition") { request in
                let (keyspace, partition) = try self.partition(of: request)
                return try await self.change {
                    $0.pins[keyspace]?[partition] = nil
                    if $0.pins[keyspace]?.isEmpty == true { $0.pins[keyspace] = nil }
                }
            }
        }
    }

    private var coordinator: ClusterCoordinator {
        get throws(HTTPError) {
            guard let cluster = node.parts.cluster else { throw HTTPError(503, "the node is not in a cluster") }
            return cluster.coordinator
        }
    }

    private func settings() async throws -> Response { try .json(await coordinator.status().settings) }

    private func change(_ edit: @escaping @Sendable (inout SettingsRecord) -> Void) async throws -> Response {
        let coordinator = try coordinator
        let settings: SettingsRecord
        do throws(CoordinatorError) { settings = try await coordinator.change(edit) } catch {
            throw HTTPError(error.isRetriable ? 503 : 500, error.reason)
        }
        return try .json(settings)
    }

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
}
