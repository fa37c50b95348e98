package import AffinityCore
internal import CBeast
internal import Glibc

/// Accepts TCP connections and spreads them over the loops of a group in turn.
///
/// Called by the peer link, on any thread. Calls `accepted` for each, on the loop that it lives on from then on.
package final class TCPListener: Sendable {
    private let handle: ListenerHandle
    private let binder = ThreadPool(threads: 1, name: "bind")

    /// A listener that listens nowhere yet.
    ///
    /// - Parameters:
    ///   - streamLimit: how many of its streams may be open; connections beyond them are closed as they come.
    ///   - report: called on any thread.
    ///   - accepted: called on the stream's loop; a stream that is not attached there is closed.
    package init(
        group: EventLoopGroup, streamLimit: Int, report: @escaping Reporter = { _ in },
        accepted: @escaping @Sendable (TCPStream) -> Void
    ) {
        handle = ListenerHandle(group.loops, streamLimit: streamLimit, AcceptBox(accepted, report))
    }

    /// Begins to listen at `host` (an address or a name of this machine) and `port`; can be called for several.
    ///
    /// - Returns: the port, which the system chose if `port` is 0.
    /// - Throws: ``NetError``: the address is in use, no address of this machine, not permitted, or the listener is closed.
    package nonisolated(nonsending) func bind(host: String, port: Int) async throws -> Int {
        guard let number = UInt16(exactly: port) else { throw NetError(.badConfiguration, "\(port) is no port") }
        // A name is resolved, which blocks.
        return try await binder.blocking.run { [self] in
            var actual: UInt16 = 0
            var isResolver = false
            let code = cb_listener_bind(handle.pointer, host, number, &actual, &isResolver)
            if code != 0 { throw NetError(binding: "\(host):\(port)", code: code, isResolver: isResolver) }
            return Int(actual)
        }
    }

    /// Accepts no more; what it has accepted lives on.
    package func close() { cb_listener_close(handle.pointer) }
}

/// Owns a listener of the C side; freeing it closes its sockets.
private struct ListenerHandle: ~Copyable, @unchecked Sendable {
    // cbeast.h: "unless said otherwise a function can be called on any thread".
    let pointer: OpaquePointer

    init(_ loops: [EventLoop], streamLimit: Int, _ box: AcceptBox) {
        let pointers: [OpaquePointer?] = loops.map(\.pointer)
        // Given back by `releaseBox`, when nothing can be accepted any more.
        let context = Unmanaged.passRetained(box).toOpaque()
        pointer = cb_listener_new(
            pointers, pointers.count, streamLimit, context, takeStream, reportStarving, releaseBox)
    }

    deinit { cb_listener_release(pointer) }
}

private final class AcceptBox: Sendable {
    let accepted: @Sendable (TCPStream) -> Void
    let report: Reporter

    init(_ accepted: @escaping @Sendable (TCPStream) -> Void, _ report: @escaping Reporter) {
        self.accepted = accepted
        self.report = report
    }
}

// Top-level, so that they carry no isolation: C calls them on the loops' threads.
private nonisolated func takeStream(
    _ context: UnsafeMutableRawPointer?, _ loop: UnsafeMutableRawPointer?, _ pointer: OpaquePointer?
) {
    guard let context, let loop, let pointer else { return }
    let stream = TCPStream(adopting: pointer, on: Unmanaged<EventLoop>.fromOpaque(loop).takeUnretainedValue())
    Unmanaged<AcceptBox>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.accepted(stream) }
}

private nonisolated func reportStarving(_ context: UnsafeMutableRawPointer?, _ error: Int32) {
    guard let context else { return }
    Unmanaged<AcceptBox>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.report(.starving("peers", error)) }
}

private nonisolated func releaseBox(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<AcceptBox>.fromOpaque(context).release()
}
