internal import Synchronization

/// A number of places that may be taken at once; whoever finds none waits, in the order of arrival.
final class Turns: Sendable {
    private struct State {
        var free: Int
        var waiting = Queue<UnsafeContinuation<Void, Never>>()
    }

    private let state: Mutex<State>

    init(_ places: Int) { state = Mutex(State(free: max(1, places))) }

    /// Returns when there is a place, which is the caller's until it calls `end`.
    func begin() async {
        await withUnsafeContinuation { continuation in
            let isFree = state.withLock { state in
                if state.free == 0 {
                    state.waiting.append(continuation)
                    return false
                }
                state.free -= 1
                return true
            }
            if isFree { continuation.resume() }
        }
    }

    /// Gives the place to whoever has waited longest.
    func end() {
        let next = state.withLock { state in
            let next = state.waiting.popFirst()
            if next == nil { state.free += 1 }
            return next
        }
        next?.resume()
    }
}
