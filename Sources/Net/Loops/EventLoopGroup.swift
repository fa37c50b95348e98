internal import AffinityCore
internal import Synchronization

/// The event loops of a process: a fixed number, made at once, ended together.
///
/// Called by whoever builds a node. Shut it down after everything that runs on it: what is posted later is dropped, and
/// a task or an actor that needs one of its loops then never goes on. A group that is not shut down runs until the
/// process ends.
public final class EventLoopGroup: Sendable {
    /// The loops, in a fixed order.
    public let loops: [EventLoop]

    private let turn = Atomic<Int>(0)
    private let isShutDown = Atomic<Bool>(false)

    /// Starts the threads.
    ///
    /// - Parameters:
    ///   - count: how many, at least 1; a node takes one a core.
    ///   - name: the beginning of the threads' names, as `top` and `perf` show them.
    /// - Throws: ``NetError`` with ``NetError/Code/noResources`` if the system has no thread to give.
    public init(count: Int, name: String = "loop") throws(NetError) {
        guard count > 0 else { throw NetError(.badConfiguration, "an event loop group needs at least one loop") }
        var loops: [EventLoop] = []
        for index in 0..<count {
            do {
                loops.append(try EventLoop(name: "\(name)-\(index)"))
            } catch {
                for loop in loops { loop.stop() }
                throw error
            }
        }
        self.loops = loops
    }

    /// How many loops there are.
    public var count: Int { loops.count }

    /// The loops one after the other, for spreading work over them.
    public func next() -> EventLoop {
        let index = turn.wrappingAdd(1, ordering: .relaxed).oldValue
        return loops[Int(UInt(bitPattern: index) % UInt(loops.count))]
    }

    /// Closes what is open on the loops, runs what has been posted, and returns when every thread has ended.
    ///
    /// Must not be awaited by an actor or a task of one of the loops: it could not go on. A second call returns at once.
    public func shutdown() async {
        guard isShutDown.compareExchange(expected: false, desired: true, ordering: .acquiringAndReleasing).exchanged
        else { return }
        for loop in loops { loop.stop() }
        let loops = loops
        // Joining blocks: on a thread of its own.
        let pool = ThreadPool(threads: 1, name: "loops-join")
        try? await pool.blocking.run { for loop in loops { loop.join() } }
    }
}
