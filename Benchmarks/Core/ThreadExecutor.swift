import AffinityCore
import Glibc
import Synchronization

/// One thread with a queue: the least that a replica can run on, so that the core is measured and not the executor.
///
/// Unchecked: POSIX says that mutex and condition may be used by any thread; the thread itself is started once.
final class ThreadExecutor: EventExecutor, @unchecked Sendable {
    private enum Item {
        case job(UnownedJob)
        case closure(@Sendable () -> Void)
    }

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue: [Item] = []
    private var local: [Item] = []
    private var thread = pthread_t()
    private let started = Atomic<UInt>(0)

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
        let me = Unmanaged.passRetained(self).toOpaque()
        pthread_create(&thread, nil, runThread, me)
    }

    fileprivate func loop() {
        started.store(UInt(pthread_self()), ordering: .releasing)
        while true {
            pthread_mutex_lock(mutex)
            while queue.isEmpty { pthread_cond_wait(condition, mutex) }
            swap(&queue, &local)
            pthread_mutex_unlock(mutex)
            for item in local {
                switch item {
                case .job(let job): job.runSynchronously(on: asUnownedSerialExecutor())
                case .closure(let work): work()
                }
            }
            local.removeAll(keepingCapacity: true)
        }
    }

    private func put(_ item: Item) {
        pthread_mutex_lock(mutex)
        queue.append(item)
        let isFirst = queue.count == 1
        pthread_mutex_unlock(mutex)
        if isFirst, !isCurrent { pthread_cond_signal(condition) }
    }

    var isCurrent: Bool { started.load(ordering: .relaxed) == UInt(pthread_self()) }
    func post(_ work: @escaping @Sendable () -> Void) { put(.closure(work)) }
    /// Nothing here runs as long as a deadline.
    func schedule(at time: MonotonicTime, _ work: @escaping @Sendable () -> Void) {}
    func enqueue(_ job: consuming ExecutorJob) { put(.job(UnownedJob(job))) }
    func checkIsolated() { precondition(isCurrent) }
    func isIsolatingCurrentContext() -> Bool? { isCurrent }
}

private func runThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let context { Unmanaged<ThreadExecutor>.fromOpaque(context).takeRetainedValue().loop() }
    return nil
}

/// The machine's clocks.
struct SystemClock: NodeClock {
    var now: Timestamp { Timestamp(milliseconds: read(CLOCK_REALTIME) / 1_000_000) }
    var monotonic: MonotonicTime { MonotonicTime(nanoseconds: read(CLOCK_MONOTONIC)) }

    /// What all threads of the process have used of the processors, in nanoseconds.
    var processor: Int64 { read(CLOCK_PROCESS_CPUTIME_ID) }

    private func read(_ id: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(id, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
