#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A counting semaphore. Unchecked: POSIX says that its functions may be called by any thread at any time.
package final class Semaphore: @unchecked Sendable {
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    package init() { sem_init(semaphore, 0, 0) }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    /// Lets one waiter go on, now or later.
    package func signal() { sem_post(semaphore) }

    /// Waits for a signal.
    package func wait() {
        while sem_wait(semaphore) != 0 {}
    }

    /// Waits for a signal, no longer than `duration`.
    package func wait(atMost duration: Duration) {
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
