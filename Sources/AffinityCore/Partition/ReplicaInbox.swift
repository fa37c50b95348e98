internal import Synchronization

/// The events that wait for a replica's `run`. `give` can be called on any thread.
///
/// Bounded without a limit: of the coordinator's word only the newest waits, and everything else is the replica's own
/// word on an action, one an action, and is heard before the next action begins.
final class ReplicaInbox: Sendable {
    private enum Item: Sendable {
        case event(PartitionStateMachine.Event)
        /// Look at the newest word of the coordinator.
        case mastership
    }

    private let newest = Mutex<Mastership?>(nil)
    private let items: AsyncStream<Item>
    private let queue: AsyncStream<Item>.Continuation

    init() { (items, queue) = AsyncStream.makeStream() }

    func give(_ event: PartitionStateMachine.Event) {
        guard case .mastership(let mastership) = event else {
            queue.yield(.event(event))
            return
        }
        let isFirst = newest.withLock { newest in
            defer { newest = mastership }
            return newest == nil
        }
        if isFirst { queue.yield(.mastership) }
    }

    /// The next event; `nil` once the task is cancelled. Called by one task.
    func next() async -> PartitionStateMachine.Event? {
        var iterator = items.makeAsyncIterator()
        while let item = await iterator.next() {
            switch item {
            case .event(let event): return event
            case .mastership:
                if let mastership = newest.withLock({ $0.take() }) { return .mastership(mastership) }
            }
        }
        return nil
    }
}
