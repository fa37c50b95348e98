internal import Synchronization

/// Runs what commands leave to be done after their commit: delivers events to subscribers, runs effects.
///
/// At most once, and bounded: what does not fit into the queue is dropped and reported. Events of a partition are
/// delivered in order; effects run beside each other. Called by replicas on any thread; its `run` is a service's.
final class EffectRunner: Sendable {
    private enum Item: Sendable {
        case event(any Event)
        case work(StateStore.EffectWork)
    }

    private let subscribers = Mutex<[@Sendable (any Event) -> Void]>([])
    private let items: AsyncStream<Item>
    private let queue: AsyncStream<Item>.Continuation
    private let effects: Effects
    private let report: Reporter
    private let concurrency: Int

    init(capacity: Int = 4096, concurrency: Int = 16, effects: Effects, report: @escaping Reporter) {
        (items, queue) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(capacity))
        self.effects = effects
        self.report = report
        self.concurrency = concurrency
    }

    func subscribe(_ body: @escaping @Sendable (any Event) -> Void) { subscribers.withLock { $0.append(body) } }

    func deliver(_ events: [any Event], _ work: [StateStore.EffectWork]) {
        for event in events { enqueue(.event(event)) }
        for effect in work { enqueue(.work(effect)) }
    }

    private func enqueue(_ item: Item) {
        if case .dropped = queue.yield(item) {
            report(Report(.warning, "an effect was dropped: too many wait"))
        }
    }

    /// Ends `run` once what is queued has been done.
    func finish() { queue.finish() }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            var running = 0
            for await item in items {
                switch item {
                case .event(let event):
                    for subscriber in subscribers.withLock({ $0 }) { subscriber(event) }
                case .work(let work):
                    if running == concurrency {
                        await group.next()
                        running -= 1
                    }
                    running += 1
                    group.addTask { [effects, report] in
                        do { try await work(effects) } catch {
                            report(Report(.warning, "an effect failed", [("error", "\(error)")]))
                        }
                    }
                }
            }
        }
    }
}
