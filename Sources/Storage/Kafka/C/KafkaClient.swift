internal import AffinityCore
internal import CRdKafka
internal import Synchronization

/// The one owner of a producer or consumer of librdkafka, and of its topic handles.
///
/// Every method can be called on any thread (librdkafka's functions can); those that wait for a broker say so.
/// Unchecked for that reason. Nothing can be called too late, because the handle goes with the last reference to this
/// object; what that takes runs in the blocking pool.
final class KafkaClient: @unchecked Sendable {
    enum Kind {
        case producer, consumer
    }

    let handle: OpaquePointer
    private let lines: Unmanaged<KafkaLogLines>
    private let disposal: KafkaDisposal
    private let topics = Mutex<[String: KafkaTopic]>([:])

    /// A client with its threads; it connects in the background.
    ///
    /// - Throws: `shape` if a property will not do, `io` if librdkafka cannot start.
    init(
        _ kind: Kind, _ properties: KafkaProperties, _ disposal: KafkaDisposal, report: @escaping Reporter
    ) throws(LogError) {
        let name = kind == .producer ? "producer" : "consumer"
        let lines = Unmanaged.passRetained(KafkaLogLines(name, report))
        var created: OpaquePointer?
        do {
            try properties.withConfiguration { configuration throws(LogError) in
                rd_kafka_conf_set_opaque(configuration, lines.toOpaque())
                rd_kafka_conf_set_log_cb(configuration, takeKafkaLogLine)
                if kind == .producer {
                    rd_kafka_conf_set_events(configuration, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR)
                }
                var buffer = [CChar](repeating: 0, count: 512)
                let type = kind == .producer ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER
                created = rd_kafka_new(type, configuration, &buffer, buffer.count)
                guard created != nil else {
                    throw LogError(.shape, "the Kafka \(name) cannot start: \(KafkaErrors.text(buffer))")
                }
                return true
            }
        } catch {
            lines.release()
            throw error
        }
        guard let handle = created else {
            lines.release()
            throw LogError(.io, "the Kafka \(name) cannot start")
        }
        self.handle = handle
        self.lines = lines
        self.disposal = disposal
    }

    deinit {
        let remains = KafkaRemains(handle: handle, topics: topics.withLock { $0.values.map(\.handle) }, lines: lines)
        disposal.run { remains.destroy() }
    }

    /// The handle of a topic, which lives as long as the client.
    func topic(_ name: String) throws(LogError) -> KafkaTopic {
        let found = topics.withLock { topics -> KafkaTopic? in
            if let topic = topics[name] { return topic }
            guard let handle = rd_kafka_topic_new(handle, name, nil) else { return nil }
            let topic = KafkaTopic(handle: handle)
            topics[name] = topic
            return topic
        }
        guard let found else { throw KafkaErrors.error(rd_kafka_last_error(), "topic \(name)") }
        return found
    }

    /// Serves what librdkafka has to say outside of log lines. Returns at once.
    func poll() { rd_kafka_poll(handle, 0) }

    /// Gives up what has not been written: for a producer that is of no use any more.
    func purge() {
        rd_kafka_purge(handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING)
    }

    /// Why the producer is of no use any more; `nil` if it is.
    var fatalError: LogError? {
        var buffer = [CChar](repeating: 0, count: 512)
        let code = rd_kafka_fatal_error(handle, &buffer, buffer.count)
        if code == RD_KAFKA_RESP_ERR_NO_ERROR { return nil }
        return LogError(.io, "the Kafka producer has failed for good: \(KafkaErrors.text(buffer))")
    }

    /// How many records wait to be written, or for somebody to take the word on them.
    var outstanding: Int { Int(rd_kafka_outq_len(handle)) }
}

/// A topic's handle; whoever made it sees that it outlives its use.
struct KafkaTopic: @unchecked Sendable {
    let handle: OpaquePointer
}

/// What is left of a client that nobody uses any more.
private struct KafkaRemains: @unchecked Sendable {
    let handle: OpaquePointer
    let topics: [OpaquePointer]
    let lines: Unmanaged<KafkaLogLines>

    /// Blocks until librdkafka's threads have ended.
    func destroy() {
        for topic in topics { rd_kafka_topic_destroy(topic) }
        rd_kafka_destroy(handle)
        lines.release()
    }
}

/// Where clients end, and who waits for that.
final class KafkaDisposal: Sendable {
    private struct State {
        var running = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let pool: BlockingPool
    private let state = Mutex(State())

    init(_ pool: BlockingPool) { self.pool = pool }

    func run(_ body: @escaping @Sendable () -> Void) {
        state.withLock { $0.running += 1 }
        pool.start { [self] in
            body()
            let waiting = state.withLock { state in
                state.running -= 1
                guard state.running == 0 else { return [] as [CheckedContinuation<Void, Never>] }
                defer { state.waiting = [] }
                return state.waiting
            }
            for continuation in waiting { continuation.resume() }
        }
    }

    /// Returns when every client that was given up has ended.
    func drain() async {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if state.running > 0 { state.waiting.append(continuation) }
                return state.running == 0
            }
            if isDone { continuation.resume() }
        }
    }
}
