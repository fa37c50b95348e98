internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A thread of the operating system for work that blocks for as long as the process runs.
///
/// Nobody has to wait for its end: a thread that is not joined ends by itself.
package final class ServiceThread: Sendable {
    private let thread: Mutex<pthread_t?>

    /// Starts a thread that runs `body`.
    package init(_ body: @escaping @Sendable () -> Void) {
        var started = pthread_t()
        // The thread takes the reference over.
        let context = Unmanaged.passRetained(ThreadBody(body))
        let error = pthread_create(&started, nil, runThreadBody, context.toOpaque())
        precondition(error == 0, "no thread could be started: \(error)")
        thread = Mutex(started)
    }

    deinit {
        if let started = thread.withLock({ $0 }) { pthread_detach(started) }
    }

    /// Waits until the body has returned. Blocks; the second call does nothing.
    package func join() {
        let started = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        if let started { pthread_join(started, nil) }
    }
}

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void

    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

/// Called by C on the new thread.
private func runThreadBody(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run()
    return nil
}
