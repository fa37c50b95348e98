internal import AffinityCore
internal import Glibc
internal import Synchronization

/// Makes the topics of stores and checks them, each once a process.
///
/// A topic that this process has seen and that is gone was deleted by somebody: it is not made again.
final class TopicKeeper: Sendable {
    private struct State {
        var seen: Set<String> = []
        /// What is being looked at, and who waits for the result because he needs the same topic.
        var running: [String: [CheckedContinuation<LogError?, Never>]] = [:]
    }

    private let configuration: KafkaLogConfiguration
    private let pool: BlockingPool
    private let report: Reporter
    private let state = Mutex(State())

    init(_ configuration: KafkaLogConfiguration, _ pool: BlockingPool, report: @escaping Reporter) {
        self.configuration = configuration
        self.pool = pool
        self.report = report
    }

    /// Returns when the topic is there and as it has to be.
    ///
    /// - Throws: `shape` if it is not; `io` if no broker says so within the patience.
    func ensure(_ name: String, partitions: Int, _ client: KafkaClient) async throws(LogError) {
        let failure = await withCheckedContinuation { waiter in
            let isFirst = state.withLock { state in
                state.running[name, default: []].append(waiter)
                return state.running[name]?.count == 1
            }
            if isFirst { pool.start { [self] in look(name, partitions, client) } }
        }
        if let failure { throw failure }
    }

    // MARK: - In the blocking pool

    private func look(_ name: String, _ partitions: Int, _ client: KafkaClient) {
        var failure: LogError?
        do throws(LogError) {
            try check(name, partitions, client)
        } catch {
            failure = error
        }
        let waiters = state.withLock { $0.running.removeValue(forKey: name) }
        for waiter in waiters ?? [] { waiter.resume(returning: failure) }
    }

    private func check(_ name: String, _ partitions: Int, _ client: KafkaClient) throws(LogError) {
        let deadline = ContinuousClock.now + configuration.patience
        let topic = try client.topic(name)
        let isKnown = state.withLock { $0.seen.contains(name) }
        var facts = try facts(topic, name, client, deadline)
        // A broker that has just started, or has just missed the making of the topic, does not know it for a moment.
        while facts == nil, isKnown || !configuration.createsTopics, ContinuousClock.now < deadline {
            usleep(50_000)
            facts = try self.facts(topic, name, client, deadline)
        }
        if facts == nil {
            if isKnown { throw LogError(.shape, "topic \(name) was deleted while this process used it") }
            facts = try make(name, partitions, topic, client, deadline)
        }
        guard let facts else { throw LogError(.io, "topic \(name) is not known to the brokers yet") }
        var settings: [String: String]?
        if !isKnown {
            settings = try retrying(until: deadline) { () throws(LogError) in
                try client.settings(ofTopic: name, within: left(deadline))
            }
        }
        let findings = TopicFindings(name, facts, settings, partitions: partitions, configuration)
        if !findings.mistakes.isEmpty { throw LogError(.shape, findings.mistakes.joined(separator: "; ")) }
        if isKnown { return }
        for warning in findings.warnings { report(Report(.warning, "a topic is not as it should be", warning)) }
        state.withLock { _ = $0.seen.insert(name) }
    }

    private func facts(
        _ topic: KafkaTopic, _ name: String, _ client: KafkaClient, _ deadline: ContinuousClock.Instant
    ) throws(LogError) -> KafkaTopicFacts? {
        do {
            return try client.facts(topic, name, within: left(deadline))
        } catch {
            throw LogError(error.code, "the brokers \(configuration.brokers): \(error.reason)")
        }
    }

    /// Makes the topic, and waits until every partition of it has a leader.
    private func make(
        _ name: String, _ partitions: Int, _ topic: KafkaTopic, _ client: KafkaClient,
        _ deadline: ContinuousClock.Instant
    ) throws(LogError) -> KafkaTopicFacts? {
        guard configuration.createsTopics else {
            throw LogError(.shape, "there is no topic \(name), and storage.topics.create is false")
        }
        let plan = KafkaTopicPlan(
            name: name, partitions: partitions, replication: configuration.replication,
            settings: TopicFindings.settings(configuration))
        if try client.create(plan, within: left(deadline)) {
            report(Report(.info, "a topic was made", [("topic", name), ("partitions", "\(partitions)")]))
        }
        while ContinuousClock.now < deadline {
            if let facts = try facts(topic, name, client, deadline), facts.leaderless.isEmpty { return facts }
            usleep(20_000)
        }
        return nil
    }

    private func left(_ deadline: ContinuousClock.Instant) -> Duration {
        max(.milliseconds(100), deadline - ContinuousClock.now)
    }
}

/// Calls `body` until it succeeds, or fails for good, or the time is over. In the blocking pool.
func retrying<Result>(
    until deadline: ContinuousClock.Instant, _ body: () throws(LogError) -> Result
) throws(LogError) -> Result {
    while true {
        do {
            return try body()
        } catch {
            guard error.isRetriable && ContinuousClock.now < deadline else { throw error }
        }
        usleep(20_000)
    }
}
