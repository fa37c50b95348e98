public import AffinityCore
internal import CBeast

/// A thread that serves connections, timers and the actors pinned to it: the executor of a node.
///
/// Called by whoever has work for it, on any thread. Calls Asio's `io_context`.
///
/// It works in turns. A turn is one event (bytes that came, a timer, a batch of posts from other threads) and all that
/// follows from it on this thread: what the turn posts to its own loop runs before the turn ends, without a system call,
/// and then every connection with output sends it once. Work from other threads wakes the loop once a batch; what a job
/// posts to another loop wakes that one when the job has ended. Turns whose events were found ready together are a round:
/// what they send over one ``TCPStream`` goes out at its end, or after a few turns.
///
/// It must never be blocked: what waits for a disk, a name server or a lock belongs on a ``ThreadPool``.
public final class EventLoop: EventExecutor {
    // Thread-safe by the contract of cbeast.h: every function of a loop can be called on any thread.
    private let handle: LoopHandle
    private let anchor: LoopAnchor

    /// Starts the thread, named `name` (the system keeps 15 bytes of it).
    ///
    /// - Throws: ``NetError`` with ``NetError/Code/noResources`` if the system has no thread to give.
    init(name: String) throws(NetError) {
        handle = LoopHandle(name: name)
        anchor = LoopAnchor()
        anchor.loop = self
        anchor.executor = asUnownedSerialExecutor()
        // The thread holds the loop until it ends: jobs refer to it without holding it.
        let context = Unmanaged.passRetained(self)
        if !cb_loop_start(handle.pointer, context.toOpaque(), releaseLoop) {
            context.release()
            throw NetError(.noResources, "no thread could be started for the event loop \(name)")
        }
    }

    /// Whether the caller runs on this loop's thread.
    public var isCurrent: Bool { cb_loop_is_current(handle.pointer) }

    /// The loop whose thread the caller runs on, if it is one's.
    package static var current: EventLoop? {
        guard let loop = cb_loop_current(), let context = cb_loop_context(loop) else { return nil }
        return Unmanaged<EventLoop>.fromOpaque(context).takeUnretainedValue()
    }

    /// Runs `work` on this loop, later, in the order of the calls of one thread; never inside this call.
    ///
    /// Once the loop's group has been shut down the work is dropped.
    public func post(_ work: @escaping @Sendable () -> Void) { _ = postIfRunning(work) }

    /// As ``post(_:)``, for whoever waits for the work: false, and never, if the loop has ended.
    package func postIfRunning(_ work: @escaping @Sendable () -> Void) -> Bool {
        let box = Unmanaged.passRetained(Work(work))
        let isPosted = cb_loop_post(handle.pointer, runWork, box.toOpaque(), nil)
        if !isPosted { box.release() }
        return isPosted
    }

    /// Runs `work` on this loop at `time` (of ``SystemClock/monotonic``) or soon after it, once.
    ///
    /// Work for the same moment runs in the order of the calls of one thread. It is dropped if the group is shut down first.
    public func schedule(at time: MonotonicTime, _ work: @escaping @Sendable () -> Void) {
        guard time != .never else { return }
        let box = Unmanaged.passRetained(Work(work))
        if !cb_loop_schedule(handle.pointer, time.nanoseconds, runWork, dropWork, box.toOpaque()) { box.release() }
    }

    /// Starts a task on this loop; called on the loop's own thread, `body` runs at once, up to its first suspension.
    ///
    /// The task is isolated to the loop, and so is `body`: after any `await` it goes on here. The first call of an actor
    /// that is pinned to this loop queues the task in the loop's own list, later ones cost no hop. A function that `body`
    /// calls stays here too, isolated if it is `nonisolated(nonsending)`, otherwise by the task's executor preference.
    @discardableResult
    public func start(_ body: nonisolated(nonsending) @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        guard isCurrent else {
            let anchor = anchor
            return Task(executorPreference: self) { await anchor.run(body) }
        }
        return anchor.assumeIsolated { $0.runNow(body) }
    }

    var pointer: OpaquePointer { handle.pointer }

    func stop() { cb_loop_stop(handle.pointer) }

    /// Blocks until the thread has ended; never on a loop's own thread.
    func join() { cb_loop_join(handle.pointer) }
}

extension EventLoop {
    /// Runs a job of Swift's concurrency on this loop; no allocation.
    public func enqueue(_ job: consuming ExecutorJob) {
        // A job is one pointer; it is handed through as such, and taken back by `runJob` exactly once.
        let bits = unsafeBitCast(UnownedJob(job), to: UnsafeMutableRawPointer.self)
        _ = cb_loop_post(handle.pointer, runJob, bits, Unmanaged.passUnretained(self).toOpaque())
    }

    /// This loop, for an actor's `unownedExecutor`.
    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

    /// This loop, for a task's executor preference.
    public func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }

    /// Stops the process if the caller does not run on this loop.
    public func checkIsolated() { precondition(isCurrent, "not on the event loop's thread") }

    /// Whether the caller runs on this loop.
    public func isIsolatingCurrentContext() -> Bool? { isCurrent }
}

/// The actor that a loop's own tasks are isolated to.
///
/// With a mere executor preference the tasks would be on the loop's thread, but in no isolation that shares its serial
/// executor, and each call of a pinned actor would be queued. Without the preference, on the other hand, Swift resumes a
/// continuation on the global executor first, which costs two thread switches: so the tasks have both.
private actor LoopAnchor {
    // Written once, before the loop's thread starts; the loop owns the anchor, so it outlives every use.
    nonisolated(unsafe) unowned(unsafe) var loop: EventLoop!
    // Kept beside it, because it is asked for several times a request, and each would count a reference.
    nonisolated(unsafe) var executor: UnownedSerialExecutor!
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor }

    private var started = 0

    func run(_ body: nonisolated(nonsending) @Sendable () async -> Void) async {
        // Swift 6.3 drops the hop to this actor from a function that only calls another; state of the actor needs it.
        started &+= 1
        await body()
    }

    func runNow(_ body: nonisolated(nonsending) @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        Task.immediate(executorPreference: loop) { await body() }
    }
}

/// Owns one reference to a loop of the C side.
private struct LoopHandle: ~Copyable, @unchecked Sendable {
    // cbeast.h: "unless said otherwise a function can be called on any thread".
    let pointer: OpaquePointer

    init(name: String) { pointer = cb_loop_new(name) }

    deinit { cb_loop_release(pointer) }
}

/// The one box of a posted closure.
private final class Work: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

// Top-level, so that they carry no isolation: C calls them on the loop's thread.
private nonisolated func runWork(_ job: UnsafeMutableRawPointer?, _: UnsafeMutableRawPointer?) {
    guard let job else { return }
    Unmanaged<Work>.fromOpaque(job).takeRetainedValue().body()
}

private nonisolated func dropWork(_ job: UnsafeMutableRawPointer?) {
    guard let job else { return }
    Unmanaged<Work>.fromOpaque(job).release()
}

private nonisolated func runJob(_ job: UnsafeMutableRawPointer?, _ context: UnsafeMutableRawPointer?) {
    guard let job, let context else { return }
    Unmanaged<EventLoop>.fromOpaque(context)._withUnsafeGuaranteedRef { loop in
        // As both: then a task of this loop that calls an actor of this loop is where it has to be already.
        unsafeBitCast(job, to: UnownedJob.self).runSynchronously(
            isolatedTo: loop.asUnownedSerialExecutor(), taskExecutor: loop.asUnownedTaskExecutor())
    }
}

private nonisolated func releaseLoop(_ context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<EventLoop>.fromOpaque(context).release()
}
