import AffinityCore
import AffinityLocalLog
import AffinityRocksDB
import AffinityTestSupport
import AffinityTesting
import CRdKafka
import Foundation
import Synchronization
import Testing

@testable import AffinityKafka

let shared = RocksDBShared(cacheBytes: 8 << 20, writeBufferBytes: 64 << 20)
let pool = BlockingPool { work in Thread { work() }.start() }
let partition = PartitionID(keyspace: "accounts", number: 3)
let changelogs = [
    ChangeLogDeclaration(name: "balances", controlKey: [0]), ChangeLogDeclaration(name: "names", controlKey: [0]),
]

/// Collects reports of a log.
final class Reports: Sendable {
    private let all = Mutex<[Report]>([])

    var reporter: Reporter { { report in self.all.withLock { $0.append(report) } } }
    var messages: [String] { all.withLock { $0.map(\.message) } }
    /// Messages with all their fields.
    var texts: [String] { all.withLock { $0.map { "\($0)" } } }
}

/// Collects acknowledgements, and wakes who waits for them.
final class Acks: Sendable {
    private struct State {
        var batches: [[LogAck]] = []
        var waiter: (count: Int, continuation: CheckedContinuation<Void, Never>)?
        var count: Int { batches.reduce(0) { $0 + $1.count } }
    }

    private let state = Mutex(State())

    var batches: [[LogAck]] { state.withLock { $0.batches } }
    var all: [LogAck] { batches.flatMap { $0 } }
    /// `changelog:offset`, or the code of the failure.
    var texts: [String] { all.map { text($0) } }

    func take(_ acks: [LogAck]) {
        let ready = state.withLock { state in
            state.batches.append(acks)
            guard let waiter = state.waiter, state.count >= waiter.count else {
                return nil as CheckedContinuation<Void, Never>?
            }
            state.waiter = nil
            return waiter.continuation
        }
        ready?.resume()
    }

    /// Returns when there are `count` acknowledgements. One waiter at a time.
    func wait(for count: Int) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.count >= count { return true }
                state.waiter = (count, continuation)
                return false
            }
            if isThere { continuation.resume() }
        }
    }
}

func text(_ ack: LogAck) -> String {
    switch ack.result {
    case .success(let offset): "\(ack.changelog):\(offset)"
    case .failure(let error): "\(ack.changelog):\(name(error.code))"
    }
}

func name(_ code: LogError.Code) -> String {
    let names: [LogError.Code: String] = [
        .io: "io", .full: "full", .corrupt: "corrupt", .outOfRange: "outOfRange", .tooLarge: "tooLarge",
        .closed: "closed", .shape: "shape",
    ]
    return names[code] ?? "?"
}

func record(_ key: String, _ value: String?, _ number: UInt64 = 1) -> Record {
    Record(
        key: Array(key.utf8), value: value.map { Array($0.utf8) },
        headers: RecordHeaders(
            stamp: RecordStamp(epoch: Epoch(grant: 7, run: 1), number: number, count: 1, acknowledged: number - 1),
            time: Timestamp(milliseconds: 5)))
}

/// A log that a test can close and open again.
final class LogFixture: Sendable {
    enum Kind: String, CaseIterable, CustomTestStringConvertible {
        case memory, local, faulty, kafka
        /// Those that can be tested here, and those of them that compact when they are told to.
        static let available = allCases.filter { $0 != .kafka || KafkaCluster.isAvailable }
        static let compactable = available.filter { $0 != .kafka }
        var testDescription: String { rawValue }
    }

    let kind: Kind
    let clock = ManualClock()
    let executor: ManualExecutor
    let reports = Reports()
    let folder: TemporaryFolder
    private let memory: InMemoryChangeLog
    /// The topics of a fixture are its own.
    let system = "contract-\(UInt64.random(in: .min ... .max))"

    init(_ kind: Kind) throws {
        self.kind = kind
        executor = ManualExecutor(clock: clock)
        folder = try TemporaryFolder()
        memory = InMemoryChangeLog(clock: clock, compactionLag: .seconds(100), deleteRetention: .seconds(300))
    }

    var configuration: LocalLogConfiguration {
        var configuration = LocalLogConfiguration()
        configuration.compactionInterval = .zero
        configuration.compactionLag = .seconds(100)
        configuration.deleteRetention = .seconds(300)
        return configuration
    }

    /// The embedded log; compaction has so little memory that it needs several rounds.
    func local(_ path: String? = nil, compactionMemoryBytes: Int = 1000) async throws -> LocalLog {
        var configuration = configuration
        configuration.compactionMemoryBytes = compactionMemoryBytes
        return try await LocalLog.open(
            folder: path ?? folder.path + "/log", configuration: configuration, shared: shared, clock: clock,
            pool: pool, report: reports.reporter)
    }

    func start() async throws -> any ChangeLog {
        switch kind {
        case .memory: memory
        case .local: try await local()
        case .faulty: FaultyChangeLog(memory)
        case .kafka: try await kafka()
        }
    }

    /// A log of the broker that all tests share, not quite as it would be otherwise.
    func kafka(
        clock: ManualClock = ManualClock(), _ change: (inout KafkaLogConfiguration) -> Void = { _ in }
    ) async throws -> KafkaLog {
        var configuration = kafkaConfiguration
        configuration.brokers = try KafkaCluster.shared.get().brokers
        change(&configuration)
        return try await KafkaLog.open(configuration, clock: clock, pool: pool, report: reports.reporter)
    }

    var kafkaConfiguration: KafkaLogConfiguration {
        let partitions = ["accounts": 4, "a": 12, "a-1": 2, "b": 1]
        var configuration = KafkaLogConfiguration(system: system, brokers: "", partitions: partitions)
        configuration.replication = 1
        return configuration
    }

    func delete(_ topic: String, _ client: KafkaClient) throws {
        var topics = [rd_kafka_DeleteTopic_new(topic)]
        let queue = rd_kafka_queue_new(client.handle)
        rd_kafka_DeleteTopics(client.handle, &topics, 1, nil, queue)
        rd_kafka_event_destroy(rd_kafka_queue_poll(queue, 30_000))
        rd_kafka_queue_destroy(queue)
        rd_kafka_DeleteTopic_destroy(topics[0])
    }

    /// Looks again and again until it is so, without keeping the executor from its work.
    func waitUntil(_ what: String, _ isSo: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while try await !isSo() {
            guard ContinuousClock.now < deadline else { throw Failure("waited for \(what)") }
            _ = try await pool.run { usleep(5_000) }
        }
    }

    func open(_ log: any ChangeLog, _ partition: PartitionID = partition) async throws -> (any PartitionLog, Acks) {
        let acks = Acks()
        let executor = executor
        let opened = try await log.open(partition, changelogs: changelogs, executor: executor) { batch in
            precondition(executor.isCurrent)
            acks.take(batch)
        }
        return (opened, acks)
    }

    func compact(_ log: any ChangeLog) async throws {
        if let log = log as? LocalLog { try await log.compact() } else { memory.compact() }
    }

    func stop(_ log: any ChangeLog) async {
        await (log as? LocalLog)?.close()
        await (log as? KafkaLog)?.close()
    }

    func run(_ body: @escaping @Sendable () async throws -> Void) throws { try executor.complete(body) }
}

extension PartitionLog {
    func append(_ changelog: Int, _ records: Record...) {
        append(records.map { OutgoingRecord(changelog: changelog, record: $0) })
    }

    func readAll(_ changelog: Int, maxBytes: Int = 1 << 20) async throws -> [LoggedRecord] {
        var records: [LoggedRecord] = []
        var next = try await bounds(changelog).lowerBound
        while true {
            let page = try await read(changelog, from: next, maxBytes: maxBytes)
            records += page.records
            if page.next == page.end { return records }
            precondition(page.next > next)
            next = page.next
        }
    }

    func keys(_ changelog: Int) async throws -> [String] {
        try await readAll(changelog).map {
            String(decoding: $0.record.key, as: UTF8.self) + "@\($0.offset)" + ($0.record.value == nil ? "-" : "")
        }
    }
}

extension KafkaClient {
    /// The broker that leads a partition.
    func leader(_ topic: KafkaTopic, _ partition: Int) throws -> Int {
        var found: UnsafePointer<rd_kafka_metadata>?
        rd_kafka_metadata(handle, 0, topic.handle, &found, 10_000)
        guard let found, found.pointee.topic_cnt == 1 else { throw Failure("no metadata") }
        defer { rd_kafka_metadata_destroy(found) }
        let topic = found.pointee.topics[0]
        let partitions = UnsafeBufferPointer(start: topic.partitions, count: Int(topic.partition_cnt))
        guard let leader = partitions.first(where: { $0.id == Int32(partition) })?.leader, leader > 0 else {
            throw Failure("no leader")
        }
        return Int(leader)
    }
}
