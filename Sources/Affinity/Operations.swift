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

    /// Mounts the console at `/console`: a page for people that shows the node's partitions, and nodes, as they change.
    ///
    /// It may be shown to whoever may see `/status`; where it looks keys up, they see what those routes show.
    ///
    /// - Parameters:
    ///   - node: whose partitions it shows.
    ///   - entry: the path of the routes where the page looks a key up (`GET`) and watches it (WebSocket), with `:key` for
    ///     the key; `nil` if it is to show none.
    public func console(_ node: Node, entry: String? = nil) {
        if let entry, !entry.hasPrefix("/") || !entry.split(separator: "/").contains(":key") {
            reject("the console's entries: \(entry) is no path with :key in it")
        }
        let status = "/console/status"
        let page = Console(status: status, entry: entry).response
        on("GET", "/console") { _ in page }
        on("GET", status) { _ in try .json(await node.status()) }
    }
}
