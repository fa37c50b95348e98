internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A thread of the operating system for work that blocks for as long as the process runs.
final class ServiceThread: Sendable {
    private let thread: Mutex<pthread_t?>

    /// Starts a thread that runs `body`.
    init(_ body: @escaping @Sendable () -> Void) {
        var started = pthread_t()
        // The thread takes the reference over.
        let context = Unmanaged.passRetained(ThreadBody(body))
        let error = pthread_create(&started, nil, runThreadBody, context.toOpaque())
        precondition(error == 0, "no thread could be started: \(error)")
        thread = Mutex(started)
    }

    /// Waits until the body has returned. Blocks; the second call does nothing.
    func join() {
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

/// A counting semaphore. Unchecked: POSIX says that its functions may be called by any thread at any time.
final class Semaphore: @unchecked Sendable {
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(semaphore, 0, 0) }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    /// Lets one waiter go on, now or later.
    func signal() { sem_post(semaphore) }

    /// Waits for a signal.
    func wait() {
        while sem_wait(semaphore) != 0 {}
    }

    /// Waits for a signal, no longer than `duration`.
    func wait(atMost duration: Duration) {
        var end = timespec()
        clock_gettime(CLOCK_REALTIME, &end)
        let (seconds, attoseconds) = duration.components
        end.tv_sec += Int(min(seconds, 1_000_000_000))
        end.tv_nsec += Int(attoseconds / 1_000_000_000)
        if end.tv_nsec >= 1_000_000_000 {
            end.tv_nsec -= 1_000_000_000
            end.tv_sec += 1
        }
        while sem_timedwait(semaphore, &end) != 0 && errno == EINTR {}
    }
}
