internal import AffinityCore
internal import CZooKeeper
internal import Glibc

/// The one owner of a handle of the C client, with its two threads and the session.
///
/// Every function of the client but the end can be called on any thread (zookeeper.h: "multi-threaded" library).
struct ZooKeeperHandle: ~Copyable {
    let pointer: ZooKeeperPointer

    /// A handle that connects in the background; blocks while the names of the servers are looked up.
    ///
    /// - Parameter context: what the watcher is given; has to stay valid until `close` has returned.
    /// - Returns: `nil` if no name could be resolved, or there are no resources.
    init?(_ hosts: String, _ timeout: Duration, context: UnsafeMutableRawPointer, _ lines: ZooKeeperLogLines) {
        zoo_set_debug_level(ZOO_LOG_LEVEL_INFO)
        let milliseconds = Int32(clamping: timeout.wholeMilliseconds)
        guard
            let pointer = zookeeper_init2(
                hosts, takeSessionEvent, milliseconds, nil, context, ZOO_NO_LOG_CLIENTENV, lines.callback)
        else { return nil }
        self.pointer = ZooKeeperPointer(pointer)
        // Names are looked up when a connection is lost. Otherwise it would be done each time round the library's
        // loop, which sends no signs of life while a name server does not answer.
        zoo_set_servers_resolution_delay(pointer, -1)
    }

    /// Ends the session, if it can be told to a server, and the threads. Blocks, for five seconds at most; must not be
    /// called on the client's own threads. Whatever has the pointer must not use it any more.
    consuming func close() { zookeeper_close(pointer.raw) }
}

/// A handle, as it is lent to those who use it.
struct ZooKeeperPointer: @unchecked Sendable {
    let raw: OpaquePointer

    init(_ raw: OpaquePointer) { self.raw = raw }

    /// Whether there is a connection now, and a session on it.
    var isConnected: Bool { zoo_state(raw) == ZOO_CONNECTED_STATE }

    var sessionID: Int64 { zoo_client_id(raw)?.pointee.client_id ?? 0 }

    var negotiatedTimeout: Duration { .milliseconds(Int(zoo_recv_timeout(raw))) }

    /// Says who this is; from then on the client says so on each connection by itself.
    ///
    /// - Returns: false if there is no connection.
    func authenticate(_ credentials: ZooKeeperConfiguration.Credentials) -> Bool {
        let text = Array("\(credentials.user):\(credentials.password)".utf8)
        return text.withUnsafeBytes { bytes in
            let start = bytes.bindMemory(to: CChar.self).baseAddress
            return zoo_add_auth(raw, "digest", start, Int32(clamping: bytes.count), nil, nil) == ZOK.rawValue
        }
    }
}
