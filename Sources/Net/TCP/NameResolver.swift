internal import CBeast
internal import Glibc
internal import Synchronization

/// Resolves the names of hosts on threads of its own, because that blocks.
///
/// Called by ``TCPStream``, on any thread. Calls `getaddrinfo`.
package final class NameResolver: Sendable {
    // Few: a node asks for a handful of names, and a name server that hangs must not hold up all others.
    private static let threads = 2
    private static let waitingMax = 256
    private let pool = ThreadPool(threads: threads, name: "resolve")
    private let waiting = Atomic<Int>(0)

    /// A resolver that has nothing to do yet.
    package init() {}

    /// Calls `done` with what was found, on one of the threads; false, and never, if too many wait already.
    func resolve(
        _ host: String, _ port: UInt16, _ done: @escaping @Sendable (Result<Addresses, NetError>) -> Void
    ) -> Bool {
        guard waiting.wrappingAdd(1, ordering: .relaxed).oldValue < Self.waitingMax else {
            waiting.wrappingSubtract(1, ordering: .relaxed)
            return false
        }
        pool.submit { [self] in
            let result = Result { () throws(NetError) in try Addresses(resolving: host, port) }
            waiting.wrappingSubtract(1, ordering: .relaxed)
            done(result)
        }
        return true
    }
}

/// The addresses of one host and port, to be handed to the C side once.
///
/// Unchecked, because it goes from the thread that found them to the loop that connects, and each touches it alone.
final class Addresses: @unchecked Sendable {
    private var pointer: OpaquePointer?

    /// `nil` if `host` is a name.
    init?(numeric host: String, _ port: UInt16) {
        var code: Int32 = 0
        guard let pointer = cb_resolve(host, port, true, &code) else { return nil }
        self.pointer = pointer
    }

    /// Blocks until a name server has answered.
    init(resolving host: String, _ port: UInt16) throws(NetError) {
        var code: Int32 = 0
        pointer = cb_resolve(host, port, false, &code)
        guard pointer == nil else { return }
        let reason = gai_strerror(code).map { String(cString: $0) } ?? ""
        throw NetError(.badAddress, "\(host) cannot be resolved: \(reason)")
    }

    deinit { cb_addresses_free(pointer) }

    /// Gives the pointer away.
    func take() -> OpaquePointer? { pointer.take() }
}
