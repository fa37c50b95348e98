internal import Synchronization

/// The tasks that wait for a changelog to grow.
///
/// Kept by a `ChangeLog`, one for each opened changelog. Every method can be called on any thread.
package final class RecordWaiters: Sendable {
    private struct State {
        var end: Offset
        var closed: LogError?
        var waiting: [UInt64: (beyond: Offset, continuation: CheckedContinuation<LogError?, Never>)] = [:]
        var cancelled: Set<UInt64> = []
        var nextID: UInt64 = 0
    }

    private let state: Mutex<State>

    /// Waiters of a changelog that ends at `end`.
    package init(end: Offset) { state = Mutex(State(end: end)) }

    /// The changelog ends at `end` now; wakes those who waited for it.
    package func advance(to end: Offset) {
        let woken: [CheckedContinuation<LogError?, Never>] = state.withLock { state in
            if end > state.end { state.end = end }
            if state.waiting.isEmpty { return [] }
            let ready = state.waiting.filter { $0.value.beyond < state.end }.sorted { $0.key < $1.key }
            for (id, _) in ready { state.waiting[id] = nil }
            return ready.map(\.value.continuation)
        }
        for continuation in woken { continuation.resume(returning: nil) }
    }

    /// Everybody who waits, now or later, gets `error`.
    package func close(_ error: LogError) {
        let woken = state.withLock { state in
            state.closed = error
            defer { state.waiting = [:] }
            return state.waiting.sorted { $0.key < $1.key }.map(\.value.continuation)
        }
        for continuation in woken { continuation.resume(returning: error) }
    }

    /// Returns when the end is beyond `offset`.
    package func wait(beyond offset: Offset) async throws(LogError) {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        let error = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<LogError?, Never>) in
                let answer: LogError?? = state.withLock { state in
                    let isCancelled = state.cancelled.remove(id) != nil
                    if let closed = state.closed { return .some(closed) }
                    if state.end > offset { return .some(nil) }
                    if isCancelled { return .some(Self.cancelled) }
                    state.waiting[id] = (offset, continuation)
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let continuation = state.withLock { state in
                // The handler may run before the continuation stands in the table.
                guard let entry = state.waiting.removeValue(forKey: id) else {
                    state.cancelled.insert(id)
                    return nil as CheckedContinuation<LogError?, Never>?
                }
                return entry.continuation
            }
            continuation?.resume(returning: Self.cancelled)
        }
        // A cancellation that came after the answer has left its number.
        state.withLock { state in _ = state.cancelled.remove(id) }
        if let error { throw error }
    }

    private static var cancelled: LogError { LogError(.closed, "the wait for records was cancelled") }
}
