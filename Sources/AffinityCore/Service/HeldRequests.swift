internal import Synchronization

/// Requests that wait until their partition has a master: bounded in number and bytes, none past its time.
///
/// Kept by a `Router`, one a keyspace. Every method can be called on any thread.
final class HeldRequests: Sendable {
    /// Why a wait has ended.
    enum End: Sendable { case changed, late, full }

    fileprivate struct Waiter {
        var bytes: Int
        var continuation: UnsafeContinuation<End, Never>
    }

    fileprivate struct State {
        /// How often what is known of each partition has changed.
        var changes: [UInt64]
        var waiting: [[UInt64: Waiter]]
        var next: UInt64 = 0
        var count = 0
        var bytes = 0
    }

    private let state: Mutex<State>
    private let maxCount: Int
    private let maxBytes: Int
    private let executor: any EventExecutor

    /// - Parameter executor: where waits end whose time has come.
    init(partitions: Int, count: Int, bytes: Int, executor: any EventExecutor) {
        state = Mutex(
            State(
                changes: Array(repeating: 0, count: partitions), waiting: Array(repeating: [:], count: partitions)))
        (maxCount, maxBytes) = (count, bytes)
        self.executor = executor
    }

    /// How much there is of what waits.
    var count: Int { state.withLock { $0.count } }
    var bytes: Int { state.withLock { $0.bytes } }

    /// To be asked for before a partition is looked at, and handed to `wait`: then no change in between is missed.
    func changes(_ partition: Int) -> UInt64 { state.withLock { $0.changes[partition] } }

    /// Something has changed that the requests of these partitions may wait for.
    func wake(_ partitions: some Sequence<Int>) {
        let woken = state.withLock { state in
            var woken: [Waiter] = []
            for partition in partitions where state.changes.indices.contains(partition) {
                state.changes[partition] += 1
                // In the order in which they came.
                woken += state.waiting[partition].sorted { $0.key < $1.key }.map(\.value)
                state.waiting[partition] = [:]
            }
            for waiter in woken { state.release(waiter) }
            return woken
        }
        for waiter in woken { waiter.continuation.resume(returning: .changed) }
    }

    /// Waits until something has changed since `changes`, but not beyond `time`.
    func wait(_ partition: Int, since changes: UInt64, bytes: Int, until time: MonotonicTime) async -> End {
        await withUnsafeContinuation { continuation in
            let (end, id) = state.withLock { state -> (End?, UInt64) in
                if state.changes[partition] != changes { return (.changed, 0) }
                let (sum, overflow) = state.bytes.addingReportingOverflow(bytes)
                if overflow || state.count >= maxCount || sum > maxBytes { return (.full, 0) }
                state.next += 1
                state.count += 1
                state.bytes = sum
                state.waiting[partition][state.next] = Waiter(bytes: bytes, continuation: continuation)
                return (nil, state.next)
            }
            if let end { return continuation.resume(returning: end) }
            executor.schedule(at: time) { [weak self] in self?.expire(partition, id) }
        }
    }

    private func expire(_ partition: Int, _ id: UInt64) {
        let late = state.withLock { state in
            let waiter = state.waiting[partition].removeValue(forKey: id)
            if let waiter { state.release(waiter) }
            return waiter
        }
        late?.continuation.resume(returning: .late)
    }
}

extension HeldRequests.State {
    fileprivate mutating func release(_ waiter: HeldRequests.Waiter) {
        count -= 1
        bytes -= waiter.bytes
    }
}
