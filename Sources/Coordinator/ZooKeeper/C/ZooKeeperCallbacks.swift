internal import AffinityCore
internal import CZooKeeper

// What C calls, always on its completion thread. Free functions: a closure would inherit the isolation of where it is
// written. The context of an answer is the request, that of a watch its number, that of the handle the client.

/// The state of the connection has changed.
func takeSessionEvent(
    _ handle: OpaquePointer?, _ type: Int32, _ state: Int32, _ path: UnsafePointer<CChar>?,
    _ context: UnsafeMutableRawPointer?
) {
    guard type == ZOO_SESSION_EVENT, let handle, let context else { return }
    Unmanaged<ZooKeeperClient>.fromOpaque(context).takeUnretainedValue().take(state, handle)
}

/// A watch has fired; or the state of the connection has changed, which each watch is told too.
func takeNodeEvent(
    _ handle: OpaquePointer?, _ type: Int32, _ state: Int32, _ path: UnsafePointer<CChar>?,
    _ context: UnsafeMutableRawPointer?
) {
    guard type != ZOO_SESSION_EVENT, let handle, let client = zoo_get_context(handle) else { return }
    Unmanaged<ZooKeeperClient>.fromOpaque(client).takeUnretainedValue().fire(UInt(bitPattern: context))
}

/// A node was read.
func takeNode(
    _ code: Int32, _ data: UnsafePointer<CChar>?, _ count: Int32, _ stat: UnsafePointer<Stat>?,
    _ context: UnsafeRawPointer?
) {
    guard let request = ZooKeeperRequest.from(context) else { return }
    switch (ZOO_ERRORS(code), stat) {
    case (ZOK, let stat?):
        let bytes = UnsafeRawBufferPointer(start: data, count: data == nil ? 0 : Int(max(0, count)))
        let owner = stat.pointee.ephemeralOwner
        let node = TreeNode(data: Array(bytes), version: stat.pointee.version, owner: owner == 0 ? nil : owner)
        request.client.finish(request, .success(.node(node)), keepsWatch: true)
    case (ZNONODE, _): request.client.finish(request, .success(.node(nil)))
    default: request.client.fail(request, ZOO_ERRORS(code))
    }
}

/// It was looked whether there is a node. The watch stays if it waits for the node to be made.
func takeExistence(_ code: Int32, _ stat: UnsafePointer<Stat>?, _ context: UnsafeRawPointer?) {
    guard let request = ZooKeeperRequest.from(context) else { return }
    switch ZOO_ERRORS(code) {
    case ZOK: request.client.finish(request, .success(.existence(true)))
    case ZNONODE: request.client.finish(request, .success(.existence(false)), keepsWatch: true)
    default: request.client.fail(request, ZOO_ERRORS(code))
    }
}

/// The names of a node's children were read.
func takeNames(_ code: Int32, _ strings: UnsafePointer<String_vector>?, _ context: UnsafeRawPointer?) {
    guard let request = ZooKeeperRequest.from(context) else { return }
    switch (ZOO_ERRORS(code), strings) {
    case (ZOK, let strings?):
        let names = UnsafeBufferPointer(start: strings.pointee.data, count: Int(max(0, strings.pointee.count)))
        let texts = names.compactMap { $0.map { String(cString: $0) } }
        request.client.finish(request, .success(.names(texts)), keepsWatch: true)
    case (ZNONODE, _): request.client.finish(request, .success(.names(nil)))
    default: request.client.fail(request, ZOO_ERRORS(code))
    }
}

/// A node was made.
func takeCreation(_ code: Int32, _ path: UnsafePointer<CChar>?, _ context: UnsafeRawPointer?) {
    takeDone(code, context)
}

/// A node was set.
func takeStat(_ code: Int32, _ stat: UnsafePointer<Stat>?, _ context: UnsafeRawPointer?) { takeDone(code, context) }

/// All changes were made, or none.
func takeDone(_ code: Int32, _ context: UnsafeRawPointer?) {
    guard let request = ZooKeeperRequest.from(context) else { return }
    if ZOO_ERRORS(code) == ZOK { return request.client.finish(request, .success(.done)) }
    request.client.fail(request, ZOO_ERRORS(code))
}
