public import AffinityCore
internal import AffinityThreads
internal import Synchronization

/// The changelogs of a node's partitions in a Kafka cluster: one compacted topic a store.
///
/// All partitions share one producer, one consumer, and a thread each for the producer's reports, for reading, and
/// for looking up ends. Others write to the same topics, so `isExclusive` is false and the core's protocol decides
/// what counts. A record without a key (a compacted topic takes none) reads as one with an empty key.
///
/// A log has to be closed; then it gives back its threads and connections.
public final class KafkaLog: ChangeLog {
    /// False: other nodes write to the same topics.
    public var isExclusive: Bool { false }
    let reader: RecordReader

    private struct State {
        var uses: [PartitionID: KafkaPartitionLog] = [:]
        var sender: RecordSender?
        var isClosed = false
    }

    private let configuration: KafkaLogConfiguration
    private let pool: BlockingPool
    private let report: Reporter
    private let disposal: KafkaDisposal
    private let keeper: TopicKeeper
    private let watcher: EndWatcher
    private let boundsLookup: OffsetLookup<Range<Offset>>
    private let endLookup: OffsetLookup<Offset>
    private let state = Mutex(State())
    private let threads = Mutex<[ServiceThread]>([])
    /// Held while a producer is made, so that there is one: in the blocking pool only.
    private let making = Mutex(())

    static var closedError: LogError { LogError(.closed, "the log was closed") }

    // MARK: - Opening and closing

    /// Starts the clients; they connect in the background, so this says nothing about the brokers.
    ///
    /// - Parameters:
    ///   - clock: tells when the ends of changelogs were looked up.
    ///   - pool: where calls run that wait for a broker.
    ///   - report: called on any thread.
    /// - Throws: `shape` if a property will not do.
    public static func open(
        _ configuration: KafkaLogConfiguration, clock: any NodeClock, pool: BlockingPool, report: @escaping Reporter
    ) async throws(LogError) -> KafkaLog {
        do {
            return try await pool.run { try KafkaLog(configuration, clock, pool, report) }
        } catch {
            throw logError(error)
        }
    }

    private init(
        _ configuration: KafkaLogConfiguration, _ clock: any NodeClock, _ pool: BlockingPool,
        _ report: @escaping Reporter
    ) throws(LogError) {
        self.configuration = configuration
        self.pool = pool
        self.report = report
        let disposal = KafkaDisposal(pool)
        let watcher = EndWatcher(every: configuration.poll, clock: clock, report: report)
        let reader = RecordReader(report: report) { watcher.kick($0) }
        self.disposal = disposal
        self.watcher = watcher
        boundsLookup = OffsetLookup(pool)
        endLookup = OffsetLookup(pool)
        self.reader = reader
        keeper = TopicKeeper(configuration, pool, report: report)
        if let doubt = configuration.consumer.doubt { report(doubt) }
        let consumer = try KafkaClient(.consumer, configuration.consumer, disposal, report: report)
        _ = try makeSender()
        let started = [
            ServiceThread { reader.run(consumer) },
            ServiceThread { [weak self] in watcher.run(consumer) { self?.sender?.client } },
        ]
        threads.withLock { $0 += started }
    }

    /// Ends all uses and gives back what the clients hold. What was handed over may still be written, or not.
    public func close() async {
        await endUses()
        await disposal.drain()
    }

    /// Holds nothing of a client any more when it has returned.
    private func endUses() async {
        let (uses, sender) = state.withLock { state in
            defer { (state.uses, state.sender, state.isClosed) = ([:], nil, true) }
            return (Array(state.uses.values), state.sender)
        }
        for use in uses { use.end(Self.closedError) }
        sender?.stop()
        reader.stop()
        watcher.stop()
        let threads = threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        _ = try? await pool.run { for thread in threads { thread.join() } }
        sender?.client.purge()
    }

    // MARK: - ChangeLog

    /// Opens the changelogs of a partition, makes the topics that are missing; a former use of them ends.
    ///
    /// - Throws: `shape` if a topic is not as it has to be; `io` if the brokers do not answer: later they may.
    public func open(
        _ partition: PartitionID, changelogs: [ChangeLogDeclaration], executor: any EventExecutor,
        acknowledge: @escaping @Sendable ([LogAck]) -> Void
    ) async throws(LogError) -> any PartitionLog {
        let places = try places(partition, changelogs)
        let sender = try await currentSender()
        let count = configuration.partitions[partition.keyspace] ?? 0
        for place in places { try await keeper.ensure(place.topic, partitions: count, sender.client) }
        return try await use(partition, places, sender, AckGate(executor: executor, acknowledge: acknowledge))
    }

    /// Begins a use of changelogs whose topics are as they have to be; a former one ends.
    func use(
        _ partition: PartitionID, _ places: [KafkaPlace], _ sender: RecordSender, _ gate: AckGate
    ) async throws(LogError) -> KafkaPartitionLog {
        let former = state.withLock { $0.uses[partition] }
        await former?.close()
        let streams = places.map { ChangelogStream($0, end: .zero) }
        _ = try await bounds(streams)
        let use = try KafkaPartitionLog(self, partition, streams, sender, gate)
        try enter(use)
        return use
    }

    private func enter(_ use: KafkaPartitionLog) throws(LogError) {
        let refusal = state.withLock { state -> LogError? in
            if state.isClosed { return Self.closedError }
            // Acknowledgements would go to one of them only.
            if state.uses[use.partition] != nil {
                return LogError(.io, "\(use.partition): opened twice at the same time")
            }
            state.uses[use.partition] = use
            return nil
        }
        if let refusal { throw refusal }
        do {
            try use.begin()
            watcher.add(use.streams)
        } catch {
            remove(use)
            throw error
        }
    }

    /// Forgets a use that was closed.
    func remove(_ use: KafkaPartitionLog) {
        watcher.remove(use.streams)
        state.withLock { state in
            if state.uses[use.partition] === use { state.uses[use.partition] = nil }
        }
    }

    private func places(
        _ partition: PartitionID, _ changelogs: [ChangeLogDeclaration]
    ) throws(LogError) -> [KafkaPlace] {
        guard Set(changelogs.map(\.name)).count == changelogs.count else {
            throw LogError(.shape, "\(partition): two changelogs of one name among \(changelogs.map(\.name))")
        }
        guard let count = configuration.partitions[partition.keyspace], (0..<count).contains(partition.number) else {
            throw LogError(.shape, "\(partition): the log was not told of this partition")
        }
        var places: [KafkaPlace] = []
        for changelog in changelogs {
            let topic = "\(configuration.system).\(partition.keyspace).\(changelog.name)"
            guard Self.isTopicName(topic) else {
                throw LogError(
                    .shape, "\"\(topic)\" cannot be a topic: Kafka takes letters, digits, '.', '_', '-', at most 249")
            }
            places.append(KafkaPlace(topic: topic, partition: Int32(clamping: partition.number)))
        }
        return places
    }

    private static func isTopicName(_ name: String) -> Bool {
        name.utf8.count <= 249
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    // MARK: - For uses

    /// Why a record is not taken; `nil` if it is. A broker that refused it would end the producer.
    func refusal(_ record: Record) -> LogError? {
        var size = record.key.count + (record.value?.count ?? 0) + Self.recordOverhead
        record.headers.forEach { name, value in size += name.utf8CodeUnitCount + value.byteCount + Self.headerOverhead }
        if size <= configuration.maxMessageBytes { return nil }
        return LogError(.tooLarge, "a record of \(size) bytes; the log takes \(configuration.maxMessageBytes)")
    }

    /// The batch that a record goes in alone, and the lengths of its parts.
    private static let recordOverhead = 61 + 40
    private static let headerOverhead = 10

    /// First offset and end of changelogs, from the brokers.
    func bounds(_ streams: [ChangelogStream]) async throws(LogError) -> [Range<Offset>] {
        try await lookUp(boundsLookup, streams, patience: .seconds(2)) { [self] streams, client throws(LogError) in
            let firsts = try client.offsets(.first, of: streams.map(\.place), within: configuration.patience)
            let ends = try ends(of: streams, client)
            var bounds: [Range<Offset>] = []
            for (first, end) in zip(firsts, ends) { bounds.append(min(try first.get(), end)..<end) }
            return bounds
        }
    }

    /// The ends of changelogs, from the brokers, with one request to each.
    func ends(_ streams: [ChangelogStream]) async throws(LogError) -> [Offset] {
        try await lookUp(endLookup, streams, patience: .milliseconds(500)) { [self] streams, client throws(LogError) in
            try ends(of: streams, client)
        }
    }

    /// - Parameters:
    ///   - patience: how long it is tried again what failed for all of those who asked together.
    ///   - find: is called in the blocking pool.
    private func lookUp<Found>(
        _ lookup: OffsetLookup<Found>, _ streams: [ChangelogStream], patience: Duration,
        _ find: @escaping @Sendable ([ChangelogStream], KafkaClient) throws(LogError) -> [Found]
    ) async throws(LogError) -> [Found] {
        let client = try await currentSender().client
        return try await lookup.offsets(of: streams) { [self] streams, isAlone throws(LogError) in
            guard isAlone else { return try find(streams, client) }
            // Partitions get leaders, and lose them: a new topic's are not ready at once.
            return try retrying(until: .now + min(configuration.patience, patience)) { () throws(LogError) in
                try find(streams, client)
            }
        }
    }

    private func ends(of streams: [ChangelogStream], _ client: KafkaClient) throws(LogError) -> [Offset] {
        let found = try client.offsets(.end, of: streams.map(\.place), within: configuration.patience)
        var ends: [Offset] = []
        for (stream, end) in zip(streams, found) {
            ends.append(try end.get())
            stream.advance(to: ends[ends.count - 1])
        }
        return ends
    }

    // MARK: - The producer

    /// The sender that was made last.
    var sender: RecordSender? { state.withLock { $0.sender } }

    /// The sender; a new one if the last has failed.
    func currentSender() async throws(LogError) -> RecordSender {
        if let sender, sender.failure == nil { return sender }
        do {
            return try await pool.run { [self] in try makeSender() }
        } catch {
            throw logError(error)
        }
    }

    private func makeSender() throws(LogError) -> RecordSender {
        do {
            return try making.withLock { _ in
                let former = sender
                if let former {
                    guard let failure = former.failure else { return former }
                    former.fail(failure)
                    former.stop()
                }
                let client = try KafkaClient(.producer, configuration.producer, disposal, report: report)
                let sender = try RecordSender(client, report: report)
                let isClosed = state.withLock { state in
                    if !state.isClosed { state.sender = sender }
                    return state.isClosed
                }
                if isClosed { throw Self.closedError }
                threads.withLock { $0.append(ServiceThread { sender.run() }) }
                return sender
            }
        } catch {
            throw logError(error)
        }
    }
}

/// What was thrown where the type got lost.
private func logError(_ error: any Error) -> LogError { error as? LogError ?? LogError(.io, "\(error)") }
