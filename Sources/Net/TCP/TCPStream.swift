internal import AffinityCore
internal import CBeast

/// Who owns a ``TCPStream`` is told here what comes of it, always on the stream's loop.
package protocol TCPStreamOwner: AnyObject, Sendable {
    /// The connection that was opened stands. Not called for accepted ones.
    func streamOpened()
    /// Bytes came; they are valid until this returns, and do not come again.
    func streamReceived(_ bytes: UnsafeRawBufferPointer)
    /// No more bytes wait to be sent than ``TCPStream/tellBelow(_:)`` asked for.
    func streamDrained()
    /// The last that comes, never inside a call of the stream.
    ///
    /// - Parameter error: `nil` if the other side sends no more, or the owner closed it.
    func streamClosed(_ error: NetError?)
}

/// A TCP connection that carries bytes both ways, accepted by a ``TCPListener`` or opened.
///
/// Called by the peer link. Calls its owner, which it holds until it has ended, and the C side of this module.
///
/// What is appended in one round of the loop (see ``EventLoop``) goes out with one system call at its end. The bytes
/// that wait to be sent are not limited here: whoever appends looks at ``unsent``. What comes is read to a buffer of the
/// loop, at most 64 KiB of it, and only while the stream is not paused.
///
/// Unchecked, because everything but the release is called on the thread of its loop only.
package final class TCPStream: @unchecked Sendable {
    /// Where it lives.
    package let loop: EventLoop
    private let handle: StreamHandle
    private var owner: (any TCPStreamOwner)?
    private var failure: NetError?
    private var isConnecting = false

    /// A stream to be opened with ``connect(_:_:within:by:owner:)``.
    package init(on loop: EventLoop) {
        self.loop = loop
        handle = StreamHandle(adopting: cb_stream_new(loop.pointer))
    }

    init(adopting pointer: OpaquePointer, on loop: EventLoop) {
        self.loop = loop
        handle = StreamHandle(adopting: pointer)
    }

    /// Gives an accepted stream its owner, and begins to read. Once.
    package func attach(to owner: any TCPStreamOwner) {
        self.owner = owner
        // Given back by `streamClosed`, the last of the callbacks.
        let context = Unmanaged.passRetained(self).toOpaque()
        cb_stream_attach(handle.pointer, context, streamEvents)
    }

    /// Bytes that wait to be sent.
    package var unsent: Int { cb_stream_unsent(handle.pointer) }
    /// Bytes that the system has taken since the stream was opened; still known when it has ended.
    package var sent: UInt64 { cb_stream_sent(handle.pointer) }
    /// Who opened an accepted stream: `address:port`.
    package var remote: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            let count = cb_stream_remote(handle.pointer, buffer.baseAddress, buffer.count)
            return String(
                decoding: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]), as: UTF8.self)
        }
    }
    /// How many system calls sent them.
    package var writes: UInt64 { cb_stream_writes(handle.pointer) }

    /// Appends `count` bytes, which `fill` writes, to what waits to be sent; false if the stream is not open.
    package func append(_ count: Int, _ fill: (UnsafeMutableRawBufferPointer) -> Void) -> Bool {
        guard let room = cb_stream_append(handle.pointer, count) else { return false }
        fill(UnsafeMutableRawBufferPointer(start: room, count: count))
        return true
    }

    /// Tells the owner, once, when after a write no more than `count` bytes wait to be sent.
    package func tellBelow(_ count: Int) { cb_stream_tell_below(handle.pointer, count) }

    /// Reads no more, for now: the other side comes to a stop when the system's buffers are full.
    package func pause() { cb_stream_pause(handle.pointer) }

    /// Reads again.
    package func resume() { cb_stream_resume(handle.pointer) }

    /// Sends what waits, then the end, and discards what comes until the other side ends too. Whoever calls this closes
    /// the stream after a time.
    package func finish() { cb_stream_finish(handle.pointer) }

    /// For what makes something else of it.
    func withPointer<Result>(_ body: (OpaquePointer) -> Result) -> Result { body(handle.pointer) }

    /// Ends it as it stands; what was appended goes to the system as far as that takes it at once.
    ///
    /// - Parameter reset: if that is not all, whether the other side hears that something is missing.
    package func close(reset: Bool = false) { cb_stream_close(handle.pointer, 0, reset) }
}

// MARK: - Connecting

extension TCPStream {
    /// Opens the stream: `owner` is told when it stands, or why it does not. Once.
    ///
    /// - Parameters:
    ///   - host: an address or a name, whose addresses are tried one after the other.
    ///   - port: 1 to 65,535.
    ///   - limit: for resolving and connecting together.
    ///   - resolver: where a name is resolved, which blocks.
    package func connect(
        _ host: String, _ port: Int, within limit: Duration, by resolver: NameResolver, owner: any TCPStreamOwner
    ) {
        attach(to: owner)
        isConnecting = true
        guard let port = UInt16(exactly: port), port > 0 else {
            return fail(NetError(.badAddress, "\(port) is no port"))
        }
        loop.schedule(at: SystemClock().monotonic.advanced(by: limit)) { [weak self] in self?.giveUp(host) }
        if let addresses = Addresses(numeric: host, port) { return take(addresses) }
        let isTaken = resolver.resolve(host, port) { result in
            self.loop.post {
                switch result {
                case .success(let addresses): self.take(addresses)
                case .failure(let error): self.fail(error)
                }
            }
        }
        if !isTaken { fail(NetError(.noResources, "too many names wait to be resolved, \(host) among them")) }
    }

    private func take(_ addresses: Addresses) { cb_stream_connect(handle.pointer, addresses.take()) }

    private func giveUp(_ host: String) {
        if isConnecting { fail(NetError(.timedOut, "no connection to \(host) came about in time")) }
    }

    private func fail(_ error: NetError) {
        guard owner != nil else { return }
        failure = error
        close()
    }
}

// MARK: - What C calls

extension TCPStream {
    fileprivate func opened() {
        isConnecting = false
        owner?.streamOpened()
    }

    fileprivate func received(_ bytes: UnsafeRawBufferPointer) { owner?.streamReceived(bytes) }

    fileprivate func drained() { owner?.streamDrained() }

    fileprivate func closed(_ code: Int32) {
        isConnecting = false
        let error = failure ?? (code == 0 ? nil : NetError(connection: code))
        owner.take()?.streamClosed(error)
    }
}

// One for all: C keeps its address.
private nonisolated(unsafe) let streamEvents: UnsafeMutablePointer<cb_stream_events> = {
    let events = UnsafeMutablePointer<cb_stream_events>.allocate(capacity: 1)
    events.initialize(
        to: cb_stream_events(
            opened: streamOpened, received: streamReceived, drained: streamDrained, closed: streamClosed))
    return events
}()

/// Owns one reference to a stream of the C side; freeing it closes the stream.
private struct StreamHandle: ~Copyable, @unchecked Sendable {
    let pointer: OpaquePointer

    init(adopting pointer: OpaquePointer) { self.pointer = pointer }

    deinit { cb_stream_release(pointer) }
}

// Top-level, so that they carry no isolation: C calls them on the loop's thread.
private nonisolated func streamOpened(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<TCPStream>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.opened() }
}

private nonisolated func streamReceived(
    _ context: UnsafeMutableRawPointer?, _ bytes: UnsafePointer<UInt8>?, _ count: Int
) {
    guard let context else { return }
    let buffer = UnsafeRawBufferPointer(start: bytes, count: count)
    Unmanaged<TCPStream>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.received(buffer) }
}

private nonisolated func streamDrained(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<TCPStream>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.drained() }
}

private nonisolated func streamClosed(_ context: UnsafeMutableRawPointer?, _ error: Int32) {
    guard let context else { return }
    Unmanaged<TCPStream>.fromOpaque(context).takeRetainedValue().closed(error)
}
