import AffinityCore
import AffinityTestSupport
import AffinityThreads
import AffinityZooKeeper
import Foundation
import Testing

/// A ZooKeeper of a test's own, and a relay on the way to it.
final class ZooKeeperFixture: Sendable {
    let servers: ZooKeeperServers
    /// To the first server.
    let relay: Relay
    let reports = Reports()

    /// Starts servers of its own.
    static func start(_ count: Int = 1) async throws -> ZooKeeperFixture {
        try await onThread { try ZooKeeperFixture(ZooKeeperServers(count)) }
    }

    private init(_ servers: ZooKeeperServers) throws {
        self.servers = servers
        guard let port = servers.ports.first else { throw Failure("no server") }
        relay = try Relay(to: port)
    }

    deinit { relay.stop() }

    /// Sessions of this tree are connected straight to the servers.
    func tree(_ root: String = "", _ change: (inout ZooKeeperConfiguration) -> Void = { _ in }) throws -> ZooKeeperTree
    {
        try tree(at: servers.servers + root, change)
    }

    /// Sessions of this tree go through the relay, and end soon.
    func relayed(_ root: String = "", timeout: Duration = .seconds(1)) throws -> ZooKeeperTree {
        try tree(at: "127.0.0.1:\(relay.port)\(root)") { $0.sessionTimeout = timeout }
    }

    func tree(at text: String, _ change: (inout ZooKeeperConfiguration) -> Void = { _ in }) throws -> ZooKeeperTree {
        var configuration = ZooKeeperConfiguration(servers: text)
        change(&configuration)
        return try ZooKeeperTree(configuration, report: reports.reporter)
    }

    /// Waits for a line that one of the trees has reported.
    func waitForReport(_ message: String, _ count: Int = 1) async throws {
        try await onThread { [reports] in
            try waitUntil(message) { reports.messages.filter { $0 == message }.count >= count }
        }
    }
}

extension TreeSession {
    /// Returns when there is no such node.
    func waitUntilGone(_ path: String) async throws {
        while true {
            let changed = Calls()
            if try await read(path, onChange: changed.call) == nil { return }
            await changed.wait()
        }
    }

    /// Returns the node when there is one.
    func waitForNode(_ path: String) async throws -> TreeNode {
        while true {
            let changed = Calls()
            if let node = try await read(path, onChange: changed.call) { return node }
            await changed.wait()
        }
    }
}

/// Whether the outcome of a commit is unknown; otherwise it must have been done.
func isUnknown(_ body: () async throws -> Void) async throws -> Bool {
    do { try await body() } catch {
        guard let error = error as? TreeError, error.code == .unknown else { throw error }
        return true
    }
    return false
}
