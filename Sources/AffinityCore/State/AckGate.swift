internal import Synchronization

/// Where the acknowledgements of one opened partition go, and the promise that none comes after its end.
///
/// A `ChangeLog` makes one at `open` and calls `deliver` on the executor it was given there; `end` may be called on
/// any thread.
@usableFromInline package final class AckGate: Sendable {
    /// Where `deliver` has to be called.
    @usableFromInline package let executor: any EventExecutor
    private let acknowledge: @Sendable ([LogAck]) -> Void
    private let isEnded = Atomic(false)
    private let delivering = Mutex(())

    /// A gate to `acknowledge`, which is called on `executor`.
    package init(executor: any EventExecutor, acknowledge: @escaping @Sendable ([LogAck]) -> Void) {
        self.executor = executor
        self.acknowledge = acknowledge
    }

    /// Posts batches to the executors of their gates, one closure each: a thread of the log wakes a loop once for all.
    ///
    /// Inlinable, so that it is specialised for the log's batches.
    @inlinable package static func post<Batch: Sendable>(
        _ batches: [Batch], gate: (Batch) -> AckGate, _ deliver: @escaping @Sendable (Batch) -> Void
    ) {
        // There are as few executors as cores.
        var groups: [(executor: any EventExecutor, batches: [Batch])] = []
        for batch in batches {
            let executor = gate(batch).executor
            if let group = groups.firstIndex(where: { $0.executor === executor }) {
                groups[group].batches.append(batch)
            } else {
                groups.append((executor, [batch]))
            }
        }
        for (executor, batches) in groups { executor.post { for batch in batches { deliver(batch) } } }
    }

    /// Hands the acknowledgements over, unless the gate is closed. On the executor only.
    package func deliver(_ acks: [LogAck]) {
        delivering.withLock { _ in
            if !isEnded.load(ordering: .acquiring) { acknowledge(acks) }
        }
    }

    /// Nothing is handed over once this has returned.
    package func end() {
        isEnded.store(true, ordering: .releasing)
        // On the executor itself no delivery can be under way elsewhere; on another thread one that is has to end.
        if !executor.isCurrent { delivering.withLock { _ in } }
    }
}
