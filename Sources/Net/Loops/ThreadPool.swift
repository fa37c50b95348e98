public import AffinityCore
internal import CBeast

/// A few threads for calls that block: opening a database, syncing a file, resolving a name.
///
/// A thread is started when it is first needed. What is submitted while all are busy waits in order; its callers bound
/// how much that can be (a node submits a handful at a time). When the pool is freed, what was submitted still runs.
public final class ThreadPool: Sendable {
    private let handle: PoolHandle

    /// A pool of at most `threads` threads (at least 1), named `name` (the system keeps 15 bytes of it).
    public init(threads: Int, name: String = "blocking") {
        handle = PoolHandle(threads: max(threads, 1), name: name)
    }

    /// Runs `work` on one of the threads, later. Can be called on any thread.
    public func submit(_ work: @escaping @Sendable () -> Void) {
        cb_pool_post(handle.pointer, runPoolWork, Unmanaged.passRetained(PoolWork(work)).toOpaque())
    }

    /// This pool as the core knows it; it holds the pool.
    public var blocking: BlockingPool { BlockingPool { work in self.submit(work) } }
}

/// Owns a pool of the C side.
private struct PoolHandle: ~Copyable, @unchecked Sendable {
    // cbeast.h: "unless said otherwise a function can be called on any thread".
    let pointer: OpaquePointer

    init(threads: Int, name: String) { pointer = cb_pool_new(threads, name) }

    deinit { cb_pool_release(pointer) }
}

private final class PoolWork: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

private nonisolated func runPoolWork(_ job: UnsafeMutableRawPointer?, _: UnsafeMutableRawPointer?) {
    guard let job else { return }
    Unmanaged<PoolWork>.fromOpaque(job).takeRetainedValue().body()
}
