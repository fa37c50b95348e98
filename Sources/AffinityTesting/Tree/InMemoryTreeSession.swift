internal import AffinityCore

/// A session with an `InMemoryTree`.
final class InMemoryTreeSession: TreeSession {
    let id: Int64
    let timeout: Duration
    private let tree: InMemoryTree

    init(_ tree: InMemoryTree, id: Int64, timeout: Duration) {
        self.tree = tree
        self.id = id
        self.timeout = timeout
    }

    func ended() async { await tree.ended(id) }

    func read(_ path: String, onChange: (@Sendable () -> Void)?) async throws(TreeError) -> TreeNode? {
        guard case .node(let node) = try await tree.ask(.node(try valid(path)), session: id, onChange) else {
            return nil
        }
        return node
    }

    func children(of path: String, onChange: (@Sendable () -> Void)?) async throws(TreeError) -> [String]? {
        guard case .names(let names) = try await tree.ask(.names(try valid(path)), session: id, onChange) else {
            return nil
        }
        return names
    }

    func commit(_ changes: [TreeChange]) async throws(TreeError) {
        if changes.isEmpty { return }
        var bytes = 0
        for change in changes {
            switch change {
            case .create(let path, let data, _), .set(let path, let data, _):
                bytes += try valid(path).utf8.count + data.count
            case .delete(let path, _), .check(let path, _): bytes += try valid(path).utf8.count
            }
        }
        // The limit of ZooKeeper's servers.
        guard bytes < 1 << 20 else { throw TreeError(.refused, "\(changes.count) changes of \(bytes) bytes") }
        _ = try await tree.ask(.changes(changes), session: id, nil)
    }

    func close() async { tree.close(id) }

    private func valid(_ path: String) throws(TreeError) -> String {
        if let problem = TreePath.problem(path) { throw TreeError(.refused, "\"\(path)\": \(problem)") }
        return path
    }
}
