internal import AffinityCore
internal import CZooKeeper

extension ZooKeeperPointer {
    /// Puts a request into C's queue. It copies what it is given.
    ///
    /// The paths have been looked at before: `zoo_amulti` frees what is not its own if a change behind the first has a
    /// path that will not do, or finds the session expired. For the same reason it is called only while there is a
    /// connection: without a new one, no session is found expired.
    func send(_ request: ZooKeeperRequest, _ acl: UnsafePointer<ACL_vector>) -> ZOO_ERRORS {
        let (context, watch) = (request.context, UnsafeMutableRawPointer(bitPattern: request.watch))
        // Without a watcher no watch is set.
        let watcher: watcher_fn? = watch == nil ? nil : takeNodeEvent
        let code =
            switch request.question {
            case .node(let path): zoo_awget(raw, path, watcher, watch, takeNode, context)
            case .existence(let path): zoo_awexists(raw, path, watcher, watch, takeExistence, context)
            case .names(let path): zoo_awget_children(raw, path, watcher, watch, takeNames, context)
            case .changes(let changes): send(changes, request, acl)
            }
        return ZOO_ERRORS(code)
    }

    private func send(
        _ changes: [TreeChange], _ request: ZooKeeperRequest, _ acl: UnsafePointer<ACL_vector>
    ) -> Int32 {
        if request.results != nil { return sendAll(changes, request, acl) }
        guard let change = changes.first else { return ZBADARGUMENTS.rawValue }
        let context = request.context
        switch change {
        case .create(let path, let data, let isEphemeral):
            return withCharacters(data) {
                zoo_acreate(raw, path, $0, $1, acl, Self.mode(isEphemeral), takeCreation, context)
            }
        case .set(let path, let data, let version):
            return withCharacters(data) { zoo_aset(raw, path, $0, $1, version ?? -1, takeStat, context) }
        case .delete(let path, let version):
            return zoo_adelete(raw, path, version ?? -1, takeDone, context)
        // There is no call for it alone.
        case .check: return sendAll(changes, request, acl)
        }
    }

    private func sendAll(
        _ changes: [TreeChange], _ request: ZooKeeperRequest, _ acl: UnsafePointer<ACL_vector>
    ) -> Int32 {
        let operations = MultiOperations(changes, acl)
        return zoo_amulti(
            raw, Int32(operations.all.count), operations.all.baseAddress, request.results, takeDone, request.context)
    }

    static func mode(_ isEphemeral: Bool) -> Int32 { isEphemeral ? ZOO_EPHEMERAL : ZOO_PERSISTENT }

    private func withCharacters(_ data: [UInt8], _ body: (UnsafePointer<CChar>?, Int32) -> Int32) -> Int32 {
        data.withUnsafeBytes { body($0.bindMemory(to: CChar.self).baseAddress, Int32(clamping: $0.count)) }
    }
}

/// Several changes, as C takes them; what they point to goes with the value, which C needs for the call only.
private struct MultiOperations: ~Copyable {
    let all: UnsafeMutableBufferPointer<zoo_op_t>
    private var owned: [UnsafeMutableBufferPointer<CChar>] = []

    init(_ changes: [TreeChange], _ acl: UnsafePointer<ACL_vector>) {
        all = .allocate(capacity: changes.count)
        all.initialize(repeating: zoo_op_t())
        for (index, change) in changes.enumerated() { set(&all[index], change, acl) }
    }

    deinit {
        for buffer in owned { buffer.deallocate() }
        all.deallocate()
    }

    private mutating func set(
        _ operation: inout zoo_op_t, _ change: TreeChange, _ acl: UnsafePointer<ACL_vector>
    ) {
        let path = copy(Array(ZooKeeperRequest.path(change).utf8) + [0]).baseAddress
        switch change {
        case .create(_, let data, let isEphemeral):
            let data = copy(data)
            let mode = ZooKeeperPointer.mode(isEphemeral)
            zoo_create_op_init(&operation, path, data.baseAddress, Int32(clamping: data.count), acl, mode, nil, 0)
        case .set(_, let data, let version):
            let data = copy(data)
            zoo_set_op_init(&operation, path, data.baseAddress, Int32(clamping: data.count), version ?? -1, nil)
        case .delete(_, let version): zoo_delete_op_init(&operation, path, version ?? -1)
        case .check(_, let version): zoo_check_op_init(&operation, path, version)
        }
    }

    private mutating func copy(_ bytes: [UInt8]) -> UnsafeMutableBufferPointer<CChar> {
        let buffer = UnsafeMutableBufferPointer<CChar>.allocate(capacity: bytes.count)
        _ = buffer.initialize(from: bytes.lazy.map(CChar.init(bitPattern:)))
        owned.append(buffer)
        return buffer
    }
}
