public import AffinityCore

/// The tree that a ZooKeeper ensemble keeps.
///
/// Each session has its own connection and three threads: two of the C client, and one that opens and closes it. A
/// connection that is lost is made again by itself, with the same session as long as the servers know it. Called by
/// the coordinator of a cluster. Calls `C/ZooKeeperClient`.
public final class ZooKeeperTree: CoordinationTree {
    private let configuration: ZooKeeperConfiguration
    private let servers: ServerList
    private let report: Reporter

    /// The tree of these servers. Nothing is connected yet.
    ///
    /// - Parameters:
    ///   - configuration: where the servers are, and how they are talked to.
    ///   - report: hears of connections that are made and lost, and of what the C client finds worth saying.
    /// - Throws: `.refused` if the configuration will not do.
    public init(_ configuration: ZooKeeperConfiguration, report: @escaping Reporter) throws(TreeError) {
        try configuration.validate()
        self.configuration = configuration
        servers = try ServerList(configuration.servers)
        self.report = report
    }

    /// Opens a session; waits for as long as no server can be reached, and says so after a second and every ten.
    ///
    /// The node that the tree is below is made if there is none.
    ///
    /// - Throws: `.refused` if the servers do not let this process in, or do not let it make that node; `.ended` if the
    ///   task is cancelled, or the session expired while that node was made.
    public func open() async throws(TreeError) -> any TreeSession {
        let client = ZooKeeperClient(configuration, servers, report: report)
        let ancestors = servers.ancestors
        let outcome: Result<Void, TreeError> = await withTaskCancellationHandler {
            do throws(TreeError) { return .success(try await Self.begin(client, ancestors)) } catch {
                return .failure(client.ending ?? error)
            }
        } onCancel: {
            client.leave("opening a session with ZooKeeper was cancelled")
        }
        guard case .failure(let error) = outcome else {
            return ZooKeeperSession(client, root: servers.root, maxRequestBytes: configuration.maxRequestBytes)
        }
        // The end is not waited for: it can take as long as a name server takes.
        client.leave()
        throw error
    }

    private static func begin(_ client: ZooKeeperClient, _ ancestors: [String]) async throws(TreeError) {
        try await client.open()
        // At least one request, so that credentials which the servers do not take are found out here.
        if ancestors.isEmpty { _ = try await client.ask(.existence("/")) }
        for path in ancestors { try await make(path, client) }
        // It may have been left in the very last moment.
        if let ending = client.ending { throw ending }
    }

    private static func make(_ path: String, _ client: ZooKeeperClient) async throws(TreeError) {
        while case .existence(false) = try await client.ask(.existence(path)) {
            do throws(TreeError) {
                _ = try await client.ask(.changes([.create(path, [], isEphemeral: false)]))
            } catch  where error.code == .unknown {
                // Whether it was made is seen by looking again.
            } catch  where error.code == .conflict {
                // Somebody else has made it at the same time; or nobody can.
                guard case .existence(true) = try await client.ask(.existence(path)) else { throw error }
            }
        }
    }
}
