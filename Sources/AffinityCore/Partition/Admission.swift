/// The door to a partition: bounds the commands in flight, and those who wait for a place among them.
struct Admission {
    private let limits: StateLimits
    private var waiting = Queue<Waiting>()
    /// Callers that were let in and have not arrived yet.
    private var reserved = 0

    private struct Waiting {
        var deadline: MonotonicTime
        /// Resumed exactly once: with `nil` when there is a place, with the refusal otherwise.
        var continuation: UnsafeContinuation<AskError?, Never>?
    }

    init(_ limits: StateLimits) { self.limits = limits }

    /// Whether a command can go in now: there is room, and nobody waits before it.
    func hasPlace(_ commands: Int, _ bytes: Int) -> Bool { waiting.isEmpty && hasRoom(commands, bytes) }

    private func hasRoom(_ commands: Int, _ bytes: Int) -> Bool {
        commands + reserved < limits.commands && bytes < limits.bytes
    }

    var canWait: Bool { waiting.count < limits.waiting }

    mutating func wait(_ deadline: MonotonicTime, _ continuation: UnsafeContinuation<AskError?, Never>) {
        waiting.append(Waiting(deadline: deadline, continuation: continuation))
    }

    /// A caller that was let in is here.
    mutating func arrived() { reserved -= 1 }

    /// Lets in as many as there is room for, in the order of their coming.
    mutating func admit(_ commands: Int, _ bytes: Int) {
        while let first = waiting.first, hasRoom(commands, bytes) {
            _ = waiting.popFirst()
            guard let continuation = first.continuation else { continue }
            reserved += 1
            continuation.resume(returning: nil)
        }
    }

    mutating func refuseAll(_ error: AskError) {
        while let first = waiting.popFirst() { first.continuation?.resume(returning: error) }
    }

    var earliestDeadline: MonotonicTime {
        var queue = waiting
        var earliest = MonotonicTime.never
        queue.updateAll { if $0.continuation != nil { earliest = min(earliest, $0.deadline) } }
        return earliest
    }

    mutating func expire(at time: MonotonicTime) {
        waiting.updateAll { waiting in
            guard waiting.deadline <= time, let continuation = waiting.continuation.take() else { return }
            continuation.resume(
                returning: AskError(.notApplied, .deadline, "the deadline passed before there was a place"))
        }
    }
}
