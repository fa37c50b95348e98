internal import Synchronization

/// Runs what commands leave to be done after their commit: delivers events to subscribers, runs effects.
///
/// At most once, and bounded: what does not fit into a queue is dropped and reported. Events of a partition are
/// delivered in order and never wait for effects; effects run beside each other. Called by replicas on any thread; its
/// `run` is a service's.
final class EffectRunner: Sendable {
    private typealias Inbox<Item> = (stream: AsyncStream<Item>, continuation: AsyncStream<Item>.Continuation)

    private let subscribers = Mutex<[@Sendable (any Event) -> Void]>([])
    private let events: Inbox<any Event>
    private let work: Inbox<StateStore.EffectWork>
    private let effects: Effects
    private let report: Reporter
    private let concurrency: Int

    init(capacity: Int = 4096, concurrency: Int = 16, effects: Effects, report: @escaping Reporter) {
        events = AsyncStream.makeStream(of: (any Event).self, bufferingPolicy: .bufferingOldest(capacity))
        work = AsyncStream.makeStream(of: StateStore.EffectWork.self, bufferingPolicy: .bufferingOldest(capacity))
        self.effects = effects
        self.report = report
        self.concurrency = concurrency
    }

    func subscribe(_ body: @escaping @Sendable (any Event) -> Void) { subscribers.withLock { $0.append(body) } }

    func deliver(_ events: [any Event], _ work: [StateStore.EffectWork]) {
        var dropped = 0
        for event in events { if case .dropped = self.events.continuation.yield(event) { dropped += 1 } }
        for effect in work { if case .dropped = self.work.continuation.yield(effect) { dropped += 1 } }
        guard dropped > 0 else { return }
        report(Report(.warning, "events or effects were dropped: too many wait", [("count", String(dropped))]))
    }

    /// Ends `run` once what is queued has been done.
    func finish() {
        events.continuation.finish()
        work.continuation.finish()
    }

    /// Works until `finish`, or until the task is cancelled; then effects under way are cancelled too.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                for await event in events.stream {
                    for subscriber in subscribers.withLock({ $0 }) { subscriber(event) }
                }
            }
            group.addTask { [self] in await runWork() }
        }
    }

    private func runWork() async {
        await withTaskGroup(of: Void.self) { group in
            var running = 0
            for await work in work.stream {
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
