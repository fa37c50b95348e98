internal import AffinityCore
internal import Glibc

/// Where lines go: a file descriptor that may be slow, full, or gone.
///
/// Used by the writer's thread only. The descriptor is not closed: standard error is not ours.
struct LineOutput {
    let descriptor: Int32

    /// Whether somebody reads the lines on a terminal.
    var isTerminal: Bool { isatty(descriptor) == 1 }

    /// Writes all of `bytes`, by one `write(2)` unless the descriptor takes less; waits as long as that takes.
    ///
    /// - Returns: whether they were written; `false` once nobody can read them any more.
    func write(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if count < 0, errno == EAGAIN {
                    // Whoever started us may have made the pipe non-blocking for itself, and so for us.
                    var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&wait, 1, 1_000)
                } else if count == 0 || errno != EINTR {
                    return false
                }
            }
            return true
        }
    }
}

/// A thread that runs one function and ends with it.
///
/// It blocks every signal: handlers belong to the program's threads, and `SIGPIPE` of a closed pipe, which comes to
/// the thread that wrote, becomes an error of `write(2)` that way.
enum LogThread {
    private final class Body {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// - Returns: whether there is such a thread now.
    static func start(_ run: @escaping @Sendable () -> Void) -> Bool {
        var blocked = sigset_t()
        var before = sigset_t()
        sigfillset(&blocked)
        // A thread inherits the mask, so there is no moment at which it has another.
        pthread_sigmask(SIG_SETMASK, &blocked, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        // The thread takes the reference back; if there is no thread, we do.
        let context = Unmanaged.passRetained(Body(run))
        var thread = pthread_t()
        guard pthread_create(&thread, &attributes, logThreadMain, context.toOpaque()) == 0 else {
            context.release()
            return false
        }
        return true
    }

    fileprivate static func enter(_ context: UnsafeMutableRawPointer) {
        Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()
    }
}

/// A function, not a closure: C calls it on a thread of its own, where no isolation holds.
private nonisolated func logThreadMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let context { LogThread.enter(context) }
    return nil
}

/// A semaphore between those who log, the writer's thread, and those who wait for it.
///
/// `@unchecked Sendable`: POSIX says that `sem_post`, `sem_wait` and `sem_timedwait` may be called on any thread; the
/// pointer never changes and lives as long as this object.
final class LogSignal: @unchecked Sendable {
    private let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        semaphore = .allocate(capacity: 1)
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func raise() { sem_post(semaphore) }

    func wait() { while sem_wait(semaphore) != 0 && errno == EINTR {} }

    /// Waits a twentieth of a second at most, so that a jump of the calendar's clock, which is the one that
    /// `sem_timedwait` goes by, does no harm. Whether it was raised is for the caller to find out.
    func waitBriefly() {
        var until = timespec()
        clock_gettime(CLOCK_REALTIME, &until)
        until.tv_nsec += 50_000_000
        if until.tv_nsec >= 1_000_000_000 {
            until.tv_sec += 1
            until.tv_nsec -= 1_000_000_000
        }
        _ = sem_timedwait(semaphore, &until)
    }
}

/// What has to happen when the process ends.
enum AtExit {
    /// Lets standard error's lines out, but does not hold up the end of the process for a blocked reader.
    static func flushStandardError() { _ = atexit(flushAtExit) }
}

private nonisolated func flushAtExit() { LogWriter.standardError.flush(within: .seconds(1)) }

/// The machine's clock, for those who have no `NodeClock`.
enum WallClock {
    static func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000)
    }
}
