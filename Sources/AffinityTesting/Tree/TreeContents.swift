internal import AffinityCore

/// The nodes of a tree at one moment, with ZooKeeper's rules for changing them.
struct TreeContents {
    struct Node {
        var data: [UInt8] = []
        var version: Int32 = 0
        /// The session that it ends with; 0 if it stays.
        var owner: Int64 = 0
        var children: Set<String> = []
    }

    /// What a change can be noticed by: the paths whose node, or whose list of children, is another one now.
    struct Events {
        var nodes: [String] = []
        var children: [String] = []
    }

    private enum Undo {
        case remove(String)
        case insert(String, Node)
        case restore(String, [UInt8], Int32)
    }

    private var nodes: [String: Node] = ["/": Node()]

    func node(_ path: String) -> TreeNode? {
        nodes[path].map { TreeNode(data: $0.data, version: $0.version, owner: $0.owner == 0 ? nil : $0.owner) }
    }

    func children(_ path: String) -> [String]? { nodes[path]?.children.sorted() }

    /// The nodes that end with a session, in order; they have no children.
    func paths(ownedBy session: Int64) -> [String] { nodes.filter { $0.value.owner == session }.keys.sorted() }

    /// Makes all of the changes, or none.
    mutating func apply(_ changes: [TreeChange], by session: Int64) throws(TreeError) -> Events {
        var events = Events()
        var undo: [Undo] = []
        do throws(TreeError) {
            for change in changes { undo.append(try apply(change, by: session, &events)) }
        } catch {
            for step in undo.reversed() { take(step) }
            throw error
        }
        return events
    }

    private mutating func apply(
        _ change: TreeChange, by session: Int64, _ events: inout Events
    ) throws(TreeError) -> Undo {
        switch change {
        case .create(let path, let data, let isEphemeral):
            try create(path, Node(data: data, owner: isEphemeral ? session : 0))
            events.nodes.append(path)
            events.children.append(TreePath.parent(path))
            return .remove(path)
        case .set(let path, let data, let version):
            let node = try fitting(path, version)
            nodes[path]?.data = data
            nodes[path]?.version &+= 1
            events.nodes.append(path)
            return .restore(path, node.data, node.version)
        case .delete(let path, let version):
            let node = try fitting(path, version)
            guard node.children.isEmpty, path != "/" else { throw TreeError(.conflict, "\(path): it has children") }
            remove(path)
            events.nodes.append(path)
            events.children += [path, TreePath.parent(path)]
            return .insert(path, node)
        case .check(let path, let version):
            let node = try fitting(path, version)
            return .restore(path, node.data, node.version)
        }
    }

    private mutating func create(_ path: String, _ node: Node) throws(TreeError) {
        guard nodes[path] == nil else { throw TreeError(.conflict, "\(path): there is one already") }
        guard let parent = nodes[TreePath.parent(path)] else { throw TreeError(.conflict, "\(path): no parent") }
        guard parent.owner == 0 else { throw TreeError(.conflict, "\(path): the parent ends with its session") }
        insert(path, node)
    }

    private func fitting(_ path: String, _ version: Int32?) throws(TreeError) -> Node {
        guard let node = nodes[path] else { throw TreeError(.conflict, "\(path): no node") }
        guard version == nil || version == node.version else {
            throw TreeError(.conflict, "\(path): version \(node.version)")
        }
        return node
    }

    private mutating func insert(_ path: String, _ node: Node) {
        nodes[path] = node
        nodes[TreePath.parent(path)]?.children.insert(TreePath.name(path))
    }

    private mutating func remove(_ path: String) {
        nodes[path] = nil
        nodes[TreePath.parent(path)]?.children.remove(TreePath.name(path))
    }

    private mutating func take(_ step: Undo) {
        switch step {
        case .remove(let path): remove(path)
        case .insert(let path, let node): insert(path, node)
        case .restore(let path, let data, let version):
            nodes[path]?.data = data
            nodes[path]?.version = version
        }
    }
}
