public import AffinityGateway

extension Routes {
    /// Mounts what operators look at: `/status`, `/healthz` (the process answers), `/readyz` (every partition can be
    /// reached; 503 with the reasons otherwise) and `/metrics` (for Prometheus).
    public func operations(_ node: Node) {
        on("GET", "/status") { _ in try .json(await node.status()) }
        on("GET", "/healthz") { _ in try .json(["status": "ok"]) }
        on("GET", "/readyz") { _ in
            let obstacles = await node.obstacles()
            guard obstacles.isEmpty else {
                throw HTTPError(503, obstacles.joined(separator: "; "), headers: [("Retry-After", "1")])
            }
            return try .json(["status": "ready"])
        }
        on("GET", "/metrics") { _ in
            let text = await node.status().metrics
            return Response(
                headers: [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")], body: Array(text.utf8))
        }
    }
}
