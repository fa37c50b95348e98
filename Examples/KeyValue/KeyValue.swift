import Affinity

/// The reference service: JSON texts under keys, over HTTP.
@main enum KeyValue {
    static func main() async {
        await Node.main { node in
            let kv = try node.keyspace("kv", Entries.self)
            return try HTTPGateway { routes in
                let resource = EntryResource(kv: kv)
                routes.on("GET", "/kv/:key") { try await resource.get($0) }
                routes.on("PUT", "/kv/:key") { try await resource.put($0) }
                routes.on("DELETE", "/kv/:key") { try await resource.delete($0) }
                routes.on("POST", "/kv/:key/add") { try await resource.add($0) }
                // The stored bytes are JSON texts: they are told as they are.
                routes.watch("/kv/:key", kv, \.kv, over: .webSocket, values: .stored) { try resource.key(of: $0) }
                routes.on("GET", "/kv", query: ["prefix", "after", "limit"]) { try await resource.list($0) }
                routes.operations(node)
                routes.console(node, entry: "/kv/:key")
            }
        }
    }
}
