public import AffinityCore
internal import AffinityThreads
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// An executor that runs what it is given only when a test says so, on the test's thread and in the order it came.
///
/// With nothing else that starts threads, the same test takes the same course every time. Timers are run by
/// `advance(by:)`, each at its own time. Jobs and closures can be handed over on any thread; one thread at a time runs
/// them.
public final class ManualExecutor: EventExecutor {
    private enum Item: Sendable {
        case job(UnownedJob)
        case closure(@Sendable () -> Void)
    }

    private struct Timer: Sendable {
        var time: MonotonicTime
        var number: UInt64
        var work: @Sendable () -> Void
    }

    private struct State {
        var queue: [Item] = []
        var head = 0
        var timers: [Timer] = []
        var timerCount: UInt64 = 0
        var drivers = 0
    }

    /// The clock that timers go by.
    public let clock: ManualClock
    private let state = Mutex(State())
    /// The thread that runs the queue at this moment, 0 for none.
    private let runner = Atomic<UInt>(0)
    private let wakeUp = Semaphore()

    /// An executor whose timers go by `clock`.
    public init(clock: ManualClock = ManualClock()) { self.clock = clock }

    // MARK: - Running

    /// Runs everything that is there, and what that brings, until nothing is left; timers only if they are due.
    ///
    /// - Returns: how many jobs and closures ran.
    @discardableResult
    public func run() -> Int {
        var count = 0
        while runOne() { count += 1 }
        return count
    }

    /// Runs the first job or closure; returns whether there was one.
    @discardableResult
    public func runOne() -> Bool {
        queueDueTimers()
        let item: Item? = state.withLock { state in
            guard state.head < state.queue.count else { return nil }
            defer {
                state.head += 1
                if state.head == state.queue.count {
                    state.queue.removeAll(keepingCapacity: true)
                    state.head = 0
                }
            }
            return state.queue[state.head]
        }
        guard let item else { return false }
        let outer = runner.exchange(Self.thread, ordering: .acquiringAndReleasing)
        precondition(outer == 0 || outer == Self.thread, "two threads run one ManualExecutor")
        switch item {
        case .job(let job): job.runSynchronously(on: asUnownedSerialExecutor())
        case .closure(let work): work()
        }
        runner.store(outer, ordering: .releasing)
        return true
    }

    /// Moves the clock forward, and runs everything on the way: each timer at its own time.
    public func advance(by duration: Duration) {
        let end = clock.monotonic.advanced(by: duration)
        run()
        while let next = nextTimer, next <= end {
            clock.advance(to: next)
            run()
        }
        clock.advance(to: end)
        run()
    }

    /// The time of the earliest timer; `nil` if there is none.
    public var nextTimer: MonotonicTime? { state.withLock { $0.timers.map(\.time).min() } }

    /// Whether there is something to run without moving the clock.
    public var isIdle: Bool { state.withLock { $0.head == $0.queue.count } }

    /// Runs `body` as a task of this executor, and everything else, until `body` has ended.
    ///
    /// The calling thread does the running and waits while other threads work for `body`. Time stands still unless
    /// `advancingTime` is given: then the clock goes to the next timer whenever there is nothing else to do.
    ///
    /// - Throws: what `body` throws.
    public func complete<Result: Sendable>(
        advancingTime: Bool = false, _ body: @escaping @Sendable () async throws -> Result
    ) throws -> Result {
        let box = Box<Swift.Result<Result, any Error>>()
        // The task ends before this method returns, which waits for it.
        Task(executorPreference: self) {
            do {
                let value = try await body()
                box.value.withLock { $0 = .success(value) }
            } catch {
                box.value.withLock { $0 = .failure(error) }
            }
            self.wakeUp.signal()
        }
        state.withLock { $0.drivers += 1 }
        defer { state.withLock { $0.drivers -= 1 } }
        while true {
            run()
            if let result = box.value.withLock({ $0 }) { return try result.get() }
            if advancingTime, isIdle, let next = nextTimer {
                clock.advance(to: next)
            } else {
                wakeUp.wait()
            }
        }
    }

    // MARK: - EventExecutor

    /// Whether the caller is being run by this executor.
    public var isCurrent: Bool { runner.load(ordering: .acquiring) == Self.thread }

    /// Puts `work` at the end of the queue.
    public func post(_ work: @escaping @Sendable () -> Void) { append(.closure(work)) }

    /// Puts `work` among the timers; those of one time run in the order in which they came.
    public func schedule(at time: MonotonicTime, _ work: @escaping @Sendable () -> Void) {
        state.withLock { state in
            state.timerCount += 1
            state.timers.append(Timer(time: time, number: state.timerCount, work: work))
        }
    }

    /// Puts a job of an actor or a task at the end of the queue.
    public func enqueue(_ job: consuming ExecutorJob) { append(.job(UnownedJob(job))) }

    /// Stops the program if the caller is not being run by this executor.
    public func checkIsolated() { precondition(isCurrent, "not on this ManualExecutor") }

    /// Whether the caller is being run by this executor.
    public func isIsolatingCurrentContext() -> Bool? { isCurrent }

    // MARK: - Private

    private func append(_ item: Item) {
        let hasDriver = state.withLock { state in
            state.queue.append(item)
            return state.drivers > 0
        }
        if hasDriver { wakeUp.signal() }
    }

    private func queueDueTimers() {
        let now = clock.monotonic
        state.withLock { state in
            guard state.timers.contains(where: { $0.time <= now }) else { return }
            let due = state.timers.filter { $0.time <= now }
            state.timers.removeAll { $0.time <= now }
            for timer in due.sorted(by: { ($0.time, $0.number) < ($1.time, $1.number) }) {
                state.queue.append(.closure(timer.work))
            }
        }
    }

    private static var thread: UInt {
        #if canImport(Darwin)
            UInt(bitPattern: pthread_self())
        #else
            UInt(pthread_self())
        #endif
    }
}

/// A place for the result of a task.
private final class Box<Value: Sendable>: Sendable {
    let value = Mutex<Value?>(nil)
}
