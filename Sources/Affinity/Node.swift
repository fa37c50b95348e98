public import AffinityConfiguration
public import AffinityCore
public import AffinityGateway
internal import AffinityNet
public import AffinityObservability
internal import Synchronization

/// One process of a system: hosts the partitions of its keyspaces and the gateway to them.
///
///     await Node.main { node in
///         let counters = try node.keyspace("counters", Counters.self)
///         return try HTTPGateway { routes in
///             routes.post("/counters/:name") { (by: Int, name: String) in
///                 try await counters.ask(Add(name: name, by: by))
///             }
///             routes.operations(node)
///         }
///     }
///
/// It is wired from its configuration: the kinds of coordinator, storage and memstore decide which leaves stand
/// behind the services. Parts are started in the order of their dependence and stopped in the reverse one.
public final class Node: Sendable {
    /// Everything that was configured, for components of your own to read their keys from.
    public let configuration: Configuration
    /// The node's own keys.
    public let settings: NodeConfiguration
    /// The node's log lines.
    public let log: Log
    /// What the node counts and measures; metrics of your own can be declared here. Shown at `/metrics`.
    public let metrics = Metrics()

    let parts: NodeParts
    private let keyspaces = Mutex<[Keyspace]>([])
    private let stopping = StopSignal()
    private let lag: LoopLag

    /// A service with its type out of sight.
    struct Keyspace: Sendable {
        var name: String
        var configuration: KeyspaceConfiguration
        var run: @Sendable () async -> Void
        var stop: @Sendable () -> Void
        var status: @Sendable () async -> [ReplicaStatus]
        var figures: @Sendable () async -> ServiceFigures
    }

    /// Makes a node that does not run yet. Reads the configuration; what is wrong with it is reported by `run`.
    ///
    /// - Throws: `NetError` if its threads cannot be started.
    public init(_ configuration: Configuration = .load()) throws {
        self.configuration = configuration
        settings = NodeConfiguration(configuration.reader)
        parts = try NodeParts(settings)
        log = Log(settings.logLines, clock: parts.clock)
        lag = LoopLag(parts.loops.loops, clock: parts.clock, in: metrics)
        collectMetrics()
    }

    /// Makes the service of a keyspace.
    ///
    /// - Parameters:
    ///   - name: its name in the configuration, in `/status` and in its topics.
    ///   - type: its logic.
    /// - Throws: `AssemblyError` if the `Partition` subclass has mistakes, or if there is a keyspace of that name.
    public func keyspace<P: Partition>(_ name: String, _ type: P.Type) throws -> Service<P> {
        let keys = KeyspaceConfiguration(name, configuration.reader, body: settings.gateway.server.bodyLimit)
        guard keyspaces.withLock({ $0.allSatisfy { $0.name != name } }) else {
            throw NodeError(.declaration, "there are two keyspaces named \"\(name)\"")
        }
        let service = try Service(
            name, type, partitions: keys.partitions, on: parts.executors,
            parts.environment(keys, settings, report: log.reporter), services: parts.services)
        let keyspace = Keyspace(
            name: name, configuration: keys, run: { await service.run() }, stop: { service.stop() },
            status: { await service.status() }, figures: { await service.figures() })
        keyspaces.withLock { $0.append(keyspace) }
        return service
    }

    /// Runs the node until `stop` is called or the process gets SIGTERM or SIGINT; then answers what is in flight.
    ///
    /// Order: data folder, coordinator and log, services, gateway; and back.
    ///
    /// - Throws: `ConfigurationError` with every mistake, or what kept a part from starting. Nothing runs then.
    public func run(_ gateway: HTTPGateway) async throws {
        try configuration.validate()
        let keyspaces = keyspaces.withLock { $0 }
        // Before anything else: a signal that comes while the log is opened is a proper end too.
        let signals = Signals.untilTermination { [stopping] in stopping.send() }
        defer { signals.cancel() }
        try await parts.open(settings, keyspaces.map { ($0.name, $0.configuration) }, log)
        for keyspace in keyspaces where settings.coordinator == .embedded && keyspace.configuration.replicas > 1 {
            log.warning(
                "the node is alone: there is one replica of each partition",
                [("keyspace", keyspace.name), ("replicas", "\(keyspace.configuration.replicas)")])
        }
        let server: HTTPServer
        var admin: HTTPServer?
        do {
            server = try await listen(
                gateway, settings.gateway.cors, hosts: settings.gateway.hosts, settings.gateway.listeners, "listening")
            collectMetrics(of: gateway, server, listener: "gateway")
            if !settings.admin.isEmpty {
                let gateway = try AdminGateway(node: self).gateway()
                // No page is let in here.
                let server = try await listen(gateway, nil, settings.admin, "listening for operators")
                collectMetrics(of: gateway, server, listener: "admin")
                admin = server
            }
        } catch {
            await parts.close(log)
            throw error
        }
        await serve(keyspaces, server)
        await admin?.drain(within: .seconds(1))
        await parts.close(log)
        log.info("stopped", [])
    }

    private func listen(
        _ gateway: HTTPGateway, _ cors: CORS?, hosts: [String] = [], _ listeners: [GatewayConfiguration.Listener],
        _ message: String
    ) async throws -> HTTPServer {
        let context = GatewayContext(
            clock: parts.clock, deadline: settings.gateway.deadline, beginsTraces: settings.gateway.beginsTraces,
            cors: cors, hosts: hosts,
            watching: settings.gateway.watching, report: log.reporter)
        let server = try HTTPServer(
            group: parts.loops, configuration: settings.gateway.server, report: log.reporter,
            handler: gateway.handler(context, accessLog: settings.gateway.accessLog))
        for listener in listeners {
            let port = try await server.bind(host: listener.host, port: listener.port)
            log.info(message, [("address", listener.url(port: port))])
        }
        return server
    }

    /// How many partitions a keyspace of this node has; `nil` if there is none of that name.
    func partitions(of keyspace: String) -> Int? {
        keyspaces.withLock { $0.first { $0.name == keyspace } }?.configuration.partitions
    }

    /// Runs the services until the node stops, and gives what is in flight `node.drain` to end.
    private func serve(_ keyspaces: [Keyspace], _ server: HTTPServer) async {
        await withTaskGroup(of: Bool.self) { group in
            for keyspace in keyspaces {
                group.addTask {
                    await keyspace.run()
                    return true
                }
            }
            await stopping.wait()
            log.info("stopping", [("within", DurationText.text(settings.drain))])
            let end = ContinuousClock.now + settings.drain
            // What others can take they take while this node still answers for every key.
            if let cluster = parts.cluster {
                await cluster.coordinator.retire(before: parts.clock.monotonic.advanced(by: settings.drain / 2))
            }
            // The gateway first: its requests need the services to answer them.
            await server.drain(within: settings.drain)
            for keyspace in keyspaces { keyspace.stop() }
            group.addTask {
                try? await Task.sleep(until: max(end, .now + .seconds(1)))
                return false
            }
            var running = keyspaces.count
            while running > 0, let hasEnded = await group.next() {
                running -= hasEnded ? 1 : 0
                if hasEnded { continue }
                log.warning("what was in flight did not end in time", [])
                // A coordinator that is away must not keep the node from stopping.
                await parts.cluster?.coordinator.close()
                group.cancelAll()
            }
            group.cancelAll()
        }
    }

    /// Ends `run` as SIGTERM does.
    public func stop() { stopping.send() }

    // MARK: - Seen from outside

    /// What `/status` shows.
    public func status() async -> NodeStatus {
        let cluster = await parts.cluster?.coordinator.status()
        let now = parts.clock.monotonic
        var shown: [String: NodeStatus.Keyspace] = [:]
        for keyspace in keyspaces.withLock({ $0 }) {
            let replicas = await keyspace.status()
            shown[keyspace.name] = NodeStatus.Keyspace(
                partitions: replicas.map {
                    NodeStatus.Partition($0, node: settings.id, cluster?.partitions[$0.partition], now: now)
                })
        }
        let alone = NodeStatus.Member(
            id: settings.id.description, address: "\(settings.host):\(settings.port)", state: "up")
        let members = cluster?.members.map {
            NodeStatus.Member(id: $0.id, address: $0.address, state: $0.isDraining ? "stopping" : "up")
        }
        return NodeStatus(
            system: settings.system, node: settings.id.description, nodes: members ?? [alone], keyspaces: shown,
            cluster: cluster.map(NodeStatus.Cluster.init))
    }

    /// What the services have counted, by the keyspaces' names.
    func figures() async -> [(String, ServiceFigures)] {
        var figures: [(String, ServiceFigures)] = []
        for keyspace in keyspaces.withLock({ $0 }) { figures.append((keyspace.name, await keyspace.figures())) }
        return figures
    }

    /// Why a request could not be answered by every partition now; empty if it could.
    public func obstacles() async -> [String] {
        if stopping.isSent { return ["the node is stopping"] }
        return await status().obstacles
    }
}

/// What a node could not do.
public struct NodeError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public struct Code: Hashable, Sendable {
        private enum Kind { case declaration, layout, io }
        private let kind: Kind

        /// The program declares what cannot be.
        public static let declaration = Code(kind: .declaration)
        /// The data folder was made for other keyspaces.
        public static let layout = Code(kind: .layout)
        /// The data folder cannot be used.
        public static let io = Code(kind: .io)
    }

    /// What kind of failure it is.
    public let code: Code
    /// What happened.
    public let reason: String

    /// A failure of that kind.
    public init(_ code: Code, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    /// The reason.
    public var description: String { reason }
}
