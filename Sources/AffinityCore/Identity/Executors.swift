/// What runs a partition replica: an event loop in a node, a scheduler with a seeded order in a simulation.
///
/// It is the serial executor of the actors that are pinned to it and the task executor of the tasks that belong to
/// it, so that a request whose partition lives where its connection does never leaves its thread.
public protocol EventExecutor: SerialExecutor, TaskExecutor {
    /// Whether the caller runs on this executor.
    var isCurrent: Bool { get }

    /// Runs `work` on this executor, later, in the order of the calls of one thread; never inside this call.
    ///
    /// Can be called on any thread. Whoever has much to hand over posts once, not once an item.
    func post(_ work: @escaping @Sendable () -> Void)

    /// Runs `work` on this executor at `time` or soon after it, once. Can be called on any thread.
    func schedule(at time: MonotonicTime, _ work: @escaping @Sendable () -> Void)
}

/// The threads for calls that block: opening a database, syncing a file, deleting a folder.
///
/// The core starts no thread; a node lends it a small pool, a simulation runs the work in its own order.
public struct BlockingPool: Sendable {
    private let submit: @Sendable (@escaping @Sendable () -> Void) -> Void

    /// A pool that hands its work to `submit`, which may run it on any thread.
    public init(submit: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void) {
        self.submit = submit
    }

    /// Runs the work where it is called: for tests, and for engines that never block.
    public static let inline = BlockingPool { work in work() }

    /// Runs `body` in the pool and waits for its result without blocking a thread.
    ///
    /// - Throws: what `body` throws.
    public nonisolated(nonsending) func run<Result: Sendable>(
        _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            submit { continuation.resume(with: Swift.Result { try body() }) }
        }
    }

    /// Hands `body` to the pool and returns at once.
    public func start(_ body: @escaping @Sendable () -> Void) { submit(body) }
}
