internal import AffinityCore
internal import AffinityThreads
internal import Synchronization

/// Looks up, all the time, where the changelogs of a node end: two requests to each broker for all of them.
///
/// Its thread may wait for a broker. Every method can be called on any thread.
final class EndWatcher: Sendable {
    private struct State {
        var streams: [ObjectIdentifier: ChangelogStream] = [:]
        /// Changelogs whose fetching should go on.
        var kicks: Set<KafkaPlace> = []
        var isStopping = false
    }

    private let state = Mutex(State())
    private let wakeUp = Semaphore()
    private let interval: Duration
    private let clock: any NodeClock
    private let report: Reporter
    private static let timeout = Duration.seconds(2)

    init(every interval: Duration, clock: any NodeClock, report: @escaping Reporter) {
        self.interval = interval
        self.clock = clock
        self.report = report
    }

    func add(_ streams: [ChangelogStream]) {
        state.withLock { state in
            for stream in streams { state.streams[ObjectIdentifier(stream)] = stream }
        }
        wakeUp.signal()
    }

    func remove(_ streams: [ChangelogStream]) {
        state.withLock { state in
            for stream in streams { state.streams[ObjectIdentifier(stream)] = nil }
        }
    }

    /// Makes the consumer look whether it can fetch on: any request to the partition's broker does.
    func kick(_ place: KafkaPlace) {
        state.withLock { _ = $0.kicks.insert(place) }
        wakeUp.signal()
    }

    /// `run` returns soon.
    func stop() {
        state.withLock { $0.isStopping = true }
        wakeUp.signal()
    }

    /// Looks until `stop` is called. On the thread that belongs to the watcher.
    ///
    /// - Parameters:
    ///   - consumer: is asked for the ends, because it is told those before which no transaction is open.
    ///   - producer: a client that is told the high watermarks, once there is one.
    func run(_ consumer: KafkaClient, producer: () -> KafkaClient?) {
        var nextLook = ContinuousClock.now
        var leaderless: Set<KafkaPlace> = []
        while true {
            let (kicks, streams, isStopping) = state.withLock { state in
                defer { state.kicks = [] }
                return (state.kicks, Array(state.streams.values), state.isStopping)
            }
            if isStopping { return }
            if !kicks.isEmpty { _ = try? consumer.offsets(.end, of: Array(kicks), within: .milliseconds(500)) }
            if ContinuousClock.now >= nextLook {
                consumer.poll()
                look(streams, consumer, producer(), &leaderless)
                nextLook = .now + interval
            }
            wakeUp.wait(atMost: streams.isEmpty ? .seconds(1) : max(.zero, nextLook - .now))
        }
    }

    /// - Parameter leaderless: the partitions that had no leader when somebody looked; they would hold up all others.
    private func look(
        _ streams: [ChangelogStream], _ client: KafkaClient, _ producer: KafkaClient?,
        _ leaderless: inout Set<KafkaPlace>
    ) {
        let known = streams.filter { !leaderless.contains($0.place) }.sorted {
            ($0.place.topic, $0.place.partition) < ($1.place.topic, $1.place.partition)
        }
        let asked = clock.monotonic
        do throws(LogError) {
            let places = known.map(\.place)
            // First these, so that a changelog that grows does not look like one that is held up.
            let marks = try producer?.offsets(.end, of: places, within: Self.timeout)
            let ends = try client.offsets(.end, of: places, within: Self.timeout)
            for (index, end) in ends.enumerated() {
                guard case .success(let end) = end else { continue }
                // Behind an open transaction stands what was acknowledged and cannot be read: then nobody is level.
                guard case .success(let mark)? = marks?[index], mark <= end else {
                    known[index].advanceStable(to: end)
                    continue
                }
                known[index].advanceStable(to: end, seen: asked)
            }
            if !leaderless.isEmpty { leaderless = Self.leaderless(streams, client) }
        } catch {
            report(Report(.debug, "the ends of changelogs could not be looked up", [("reason", error.reason)]))
            leaderless = Self.leaderless(streams, client)
        }
    }

    private static func leaderless(_ streams: [ChangelogStream], _ client: KafkaClient) -> Set<KafkaPlace> {
        var places: Set<KafkaPlace> = []
        for name in Set(streams.map(\.place.topic)) {
            guard let topic = try? client.topic(name), let facts = try? client.facts(topic, name, within: timeout)
            else {
                continue
            }
            for partition in facts.leaderless { places.insert(KafkaPlace(topic: name, partition: partition)) }
        }
        return places
    }
}
