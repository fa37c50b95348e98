internal import CBeast

/// What writes the body of an answer bit by bit: ``HTTPResponse/stream(status:headers:_:)``.
public typealias HTTPBodyWriter = nonisolated(nonsending) @Sendable (HTTPBodyStream) async -> Void

/// The body of an answer that is made bit by bit: ``HTTPResponse/stream(status:headers:_:)``.
///
/// Called by whoever writes it, on the thread of its ``loop`` and nowhere else. What is sent in one turn of the loop
/// leaves with one system call at the turn's end. What waits to be sent is not limited here: whoever sends looks at
/// ``unsent``, and waits (``drained(below:)``) or ends. A client that takes nothing for the server's `writeTime` is reset.
/// One that sends no more may read on; that it has gone is found out when it is sent something, or within minutes.
///
/// Unchecked, because it is touched on the thread of its loop only.
public final class HTTPBodyStream: @unchecked Sendable {
    /// Where it lives.
    public let loop: EventLoop
    /// Whether anybody can get what is sent: false once the body was ended or the client has gone.
    public private(set) var isOpen = true
    /// Whether the server drains: the body should come to its end.
    public private(set) var isDraining = false
    /// Called once, when the client has gone or the server drains.
    var onEnding: (@Sendable () -> Void)?

    private let request: HTTPRequest
    private var drainer: UnsafeContinuation<Bool, Never>?

    /// Writes the head; `nil` if there is no body to be sent.
    init?(answering request: HTTPRequest, _ response: HTTPResponse, on loop: EventLoop) {
        self.loop = loop
        self.request = request
        request.begin(response)
        // Given back by `bodyClosed`, the last of the callbacks.
        let context = Unmanaged.passRetained(self)
        guard cb_respond_stream(request.pointer, context.toOpaque(), bodyEvents) else {
            isOpen = false
            context.release()
            return nil
        }
    }

    /// Bytes that wait to be sent, with their framing.
    public var unsent: Int {
        loop.checkIsolated()
        return cb_body_unsent(request.pointer)
    }

    /// Sends bytes, later; false if nobody can get them.
    @discardableResult
    public func send(_ bytes: [UInt8]) -> Bool {
        loop.checkIsolated()
        return bytes.withUnsafeBytes { cb_body_append(request.pointer, $0.baseAddress, $0.count) }
    }

    /// Sends a text as UTF-8, later; false if nobody can get it.
    @discardableResult
    public func send(_ text: String) -> Bool {
        loop.checkIsolated()
        var text = text
        return text.withUTF8 { cb_body_append(request.pointer, $0.baseAddress, $0.count) }
    }

    /// Waits until no more than `count` bytes wait to be sent. One call at a time.
    ///
    /// - Returns: false if nobody can get anything any more.
    public nonisolated(nonsending) func drained(below count: Int) async -> Bool {
        loop.checkIsolated()
        guard isOpen, unsent > count else { return isOpen }
        precondition(drainer == nil, "somebody waits already")
        return await withUnsafeContinuation {
            drainer = $0
            cb_body_tell_below(request.pointer, count)
        }
    }

    /// Ends the body short of what it should have been: the connection is closed, so that the client can tell. That of a
    /// client of HTTP/1.0 is reset, and what waits to be sent is lost.
    public func abandon() { end(complete: false) }

    /// Ends the body. A second call does nothing.
    func end() { end(complete: true) }

    private func end(complete: Bool) {
        loop.checkIsolated()
        guard isOpen else { return }
        settle()
        onEnding = nil
        cb_body_end(request.pointer, complete)
    }

    private func settle() {
        isOpen = false
        drainer.take()?.resume(returning: false)
    }

    // MARK: - What C calls

    fileprivate func drained() { drainer.take()?.resume(returning: true) }

    fileprivate func draining() {
        isDraining = true
        onEnding.take()?()
    }

    fileprivate func closed() {
        if isOpen { settle() }
        onEnding.take()?()
    }
}

// One for all: C keeps its address.
private nonisolated(unsafe) let bodyEvents: UnsafeMutablePointer<cb_body_events> = {
    let events = UnsafeMutablePointer<cb_body_events>.allocate(capacity: 1)
    events.initialize(to: cb_body_events(drained: bodyDrained, draining: bodyDraining, closed: bodyClosed))
    return events
}()

// Top-level, so that they carry no isolation: C calls them on the loop's thread.
private nonisolated func bodyDrained(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<HTTPBodyStream>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.drained() }
}

private nonisolated func bodyDraining(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<HTTPBodyStream>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.draining() }
}

private nonisolated func bodyClosed(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<HTTPBodyStream>.fromOpaque(context).takeRetainedValue().closed()
}
