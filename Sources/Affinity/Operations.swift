public import AffinityGateway
internal import AffinityObservability

extension Routes {
    /// Mounts what operators look at: `/status`, `/metrics` (for Prometheus), `/healthz` (the process answers) and
    /// `/readyz` (every partition can be reached; 503 with the reasons otherwise).
    public func operations(_ node: Node) {
        on("GET", "/status") { _ in try .json(await node.status()) }
        on("GET", "/metrics") { _ in
            let text = await node.metrics.text()
            return Response(headers: [("Content-Type", Metrics.contentType)], body: Array(text.utf8))
        }
        on("GET", "/healthz") { _ in try .json(["status": "ok"]) }
        on("GET", "/readyz") { _ in
            let obstacles = await node.obstacles()
            guard obstacles.isEmpty else {
                throw HTTPError(503, obstacles.joined(separator: "; "), headers: [("Retry-After", "1")])
            }
            return try .json(["status": "ready"])
        }
    }
}
