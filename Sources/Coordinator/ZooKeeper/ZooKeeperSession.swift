public import AffinityCore

/// A session with ZooKeeper.
///
/// Requests that are made while there is no connection wait for the next one. When a connection is lost, a read whose
/// answer was on its way is asked again, and a change is `.unknown`. The session closes with the last reference to it.
/// Called by the coordinator of a cluster. Calls `C/ZooKeeperClient`.
public final class ZooKeeperSession: TreeSession {
    private let client: ZooKeeperClient
    /// What the paths of the tree are put behind.
    private let root: String
    private let maxRequestBytes: Int

    init(_ client: ZooKeeperClient, root: String, maxRequestBytes: Int) {
        self.client = client
        self.root = root
        self.maxRequestBytes = maxRequestBytes
    }

    deinit { client.leave() }

    /// What stands as `owner` in the ephemeral nodes of this session.
    public var id: Int64 { client.id }

    /// How long the servers wait for word of this session before they end it; they may say another time when a
    /// connection is made anew.
    public var timeout: Duration { client.timeout }

    /// Returns when the session has ended: a server has said that it expired, or it was closed.
    ///
    /// As long as no server can be reached nobody knows, and this does not return.
    public func ended() async { await client.ended() }

    /// Reads a node; `nil` if there is none.
    ///
    /// - Parameters:
    ///   - path: the node's.
    ///   - onChange: called once on a thread of the C client, so it must return quickly: some time after the node was
    ///     changed, deleted, or made where there was none, and when the session ends.
    /// - Throws: `.ended`, or `.refused` if this session may not read it.
    public func read(
        _ path: String, onChange: (@Sendable () -> Void)?
    ) async throws(TreeError) -> TreeNode? {
        let path = try resolve(path)
        while true {
            if case .node(let node?) = try await client.ask(.node(path), onChange: onChange) { return node }
            // ZooKeeper sets no watch where it finds no node. Asking whether there is one sets it.
            guard let onChange else { return nil }
            if case .existence(false) = try await client.ask(.existence(path), onChange: onChange) { return nil }
        }
    }

    /// The names of a node's children, in any order; `nil` if there is no such node.
    ///
    /// - Parameters:
    ///   - path: the node's.
    ///   - onChange: as for `read`, for children that are made or deleted, and when the node is deleted; not if there
    ///     is no such node.
    /// - Throws: `.ended`, or `.refused` if this session may not read it.
    public func children(
        of path: String, onChange: (@Sendable () -> Void)?
    ) async throws(TreeError) -> [String]? {
        guard case .names(let names) = try await client.ask(.names(try resolve(path)), onChange: onChange) else {
            return nil
        }
        return names
    }

    /// Does all of the changes, or none.
    ///
    /// - Throws: `.conflict` if one does not fit the state; `.unknown` if the connection was lost, or the session
    ///   ended, before the answer; `.ended` if nothing was sent because the session has ended; `.refused` if this
    ///   session may not do it, a path names no node, or it is more than a server takes at once.
    public func commit(_ changes: [TreeChange]) async throws(TreeError) {
        if changes.isEmpty { return }
        var bytes = 0
        var resolved: [TreeChange] = []
        for change in changes {
            let change = try resolve(change)
            bytes += Self.size(change)
            resolved.append(change)
        }
        guard bytes <= maxRequestBytes else {
            throw TreeError(
                .refused, "\(changes.count) changes of \(bytes) bytes: ZooKeeper takes \(maxRequestBytes) at once")
        }
        _ = try await client.ask(.changes(resolved))
    }

    /// Ends the session; its ephemeral nodes are gone when this returns, or will be when the servers have missed it.
    ///
    /// What is on its way has a second to be answered; what was not sent fails with `.ended`.
    public func close() async {
        client.leave()
        await client.released()
    }

    // MARK: - Paths

    /// The path below the root of the tree, if it names a node; the C client must not be called with any other.
    private func resolve(_ path: String) throws(TreeError) -> String {
        if let problem = TreePath.problem(path) { throw TreeError(.refused, "\"\(path)\": \(problem)") }
        if path == "/" { return root.isEmpty ? path : root }
        return root + path
    }

    private func resolve(_ change: TreeChange) throws(TreeError) -> TreeChange {
        switch change {
        case .create(let path, let data, let isEphemeral):
            .create(try resolve(path), data, isEphemeral: isEphemeral)
        case .set(let path, let data, let version): .set(try resolve(path), data, version: version)
        case .delete(let path, let version): .delete(try resolve(path), version: version)
        case .check(let path, let version): .check(try resolve(path), version: version)
        }
    }

    /// How much of a request it is: also its header, and the permissions of a node that is made.
    private static func size(_ change: TreeChange) -> Int {
        switch change {
        case .create(let path, let data, _), .set(let path, let data, _): path.utf8.count + data.count + 128
        case .delete(let path, _), .check(let path, _): path.utf8.count + 128
        }
    }
}
