public import AffinityGateway

extension Routes {
    /// Mounts what operators look at: `/status`, `/healthz` (the process answers) and `/readyz` (every partition can
    /// be reached; 503 with the reasons otherwise).
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
    }
}
