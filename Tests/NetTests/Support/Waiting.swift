import AffinityNet
import AffinityTestSupport
import Glibc
import Synchronization

/// Counts from any thread.
final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    func add() { count.wrappingAdd(1, ordering: .sequentiallyConsistent) }
    var value: Int { count.load(ordering: .sequentiallyConsistent) }
}

/// Holds whoever passes until it is opened.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var visitors = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private let state = Mutex(State())

    nonisolated(nonsending) func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                state.visitors += 1
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    func waitForVisitors(_ count: Int) async throws {
        try await onThread { try waitUntil("visitors") { self.state.withLock { $0.visitors } >= count } }
    }
}

/// For being busy a little.
func waitBriefly() { usleep(1000) }

/// A test's own promise that it hands a value from thread to thread, one at a time.
struct UncheckedBox<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
