internal import AffinityCore

/// A producer of a process: after an error that it does not survive, another one takes its place.
final class SimulatedProducer: @unchecked Sendable {
    let process: SimulatedProcess
    unowned let connection: SimulatedLogConnection
    private(set) var hasFailed = false
    /// What is held back of what it sends and hears.
    private(set) var holds: Set<Hold> = []

    struct Hold: Hashable {
        var traffic: LogTraffic
        /// Of which changelogs; `nil` for all.
        var changelog: String?
    }

    init(_ connection: SimulatedLogConnection) {
        process = connection.process
        self.connection = connection
    }

    var name: String { process.name }
    var isAlive: Bool { !hasFailed && !process.isDead }
    /// A process that stands still sends and hears nothing.
    var reachesBrokers: Bool { !process.isStopped && !connection.isCut }

    func fail() { hasFailed = true }

    func hold(_ traffic: LogTraffic, of changelog: String?) {
        holds.insert(Hold(traffic: traffic, changelog: changelog))
    }

    func endHolds(_ traffic: LogTraffic) { holds = holds.filter { $0.traffic != traffic } }

    func isHeld(_ traffic: LogTraffic, of changelog: String) -> Bool {
        holds.contains(Hold(traffic: traffic, changelog: nil))
            || holds.contains(Hold(traffic: traffic, changelog: changelog))
    }
}

/// The simulated log as one process sees it.
final class SimulatedLogConnection: ChangeLog, @unchecked Sendable {
    let log: SimulatedLog
    let process: SimulatedProcess
    var isCut = false
    private(set) lazy var producer = SimulatedProducer(self)
    private var uses: [PartitionID: SimulatedPartitionLog] = [:]
    private var isPolling = false

    init(_ log: SimulatedLog, _ process: SimulatedProcess) {
        self.log = log
        self.process = process
    }

    let isExclusive = false
    var isReachable: Bool { !log.isAway && !isCut && !process.isDead }
    var orderedUses: [SimulatedPartitionLog] {
        uses.values.sorted {
            ($0.partition.keyspace, $0.partition.number) < ($1.partition.keyspace, $1.partition.number)
        }
    }

    func open(
        _ partition: PartitionID, changelogs: [ChangeLogDeclaration], executor: any EventExecutor,
        acknowledge: @escaping @Sendable ([LogAck]) -> Void
    ) async throws(LogError) -> any PartitionLog {
        try await request()
        if producer.hasFailed { producer = SimulatedProducer(self) }
        await uses[partition]?.close()
        let use = SimulatedPartitionLog(
            self, producer, partition, changelogs.map(\.name), AckGate(executor: executor, acknowledge: acknowledge))
        uses[partition] = use
        poll()
        return use
    }

    /// Returns when the brokers have answered.
    ///
    /// - Throws: `.io` if they do not.
    func request() async throws(LogError) {
        await process.sleep(log.latency)
        if process.isDead { throw LogError(.closed, "the process has died") }
        if isReachable { return }
        await process.sleep(log.settings.patience)
        if !isReachable { throw LogError(.io, "the brokers do not answer") }
    }

    /// The producer meets an error that it does not survive.
    func failProducer() {
        producer.fail()
        for use in orderedUses { use.fail(LogError(.io, "the producer has failed")) }
    }

    func dismantle() { uses = [:] }

    func remove(_ use: SimulatedPartitionLog) { if uses[use.partition] === use { uses[use.partition] = nil } }

    /// Looks up the ends of all changelogs, again and again.
    private func poll() {
        guard !isPolling, !uses.isEmpty, !process.isDead else { return }
        isPolling = true
        let asked = process.local(log.simulation.now)
        log.simulation.after(log.latency) { [self] in
            if isReachable, !process.isStopped { for use in orderedUses { use.seeEnds(asked) } }
            log.simulation.after(log.settings.poll) { [self] in
                isPolling = false
                poll()
            }
        }
    }
}

/// One use of a partition of the simulated log.
final class SimulatedPartitionLog: PartitionLog, @unchecked Sendable {
    let connection: SimulatedLogConnection
    let producer: SimulatedProducer
    let partition: PartitionID
    private let names: [String]
    private let gate: AckGate
    private let waiters: [RecordWaiters]
    /// The ends as they were last heard of; those before which no transaction is open, and when they were asked for.
    private var ends: [Offset]
    private var stables: [Offset]
    private var seen: [MonotonicTime]
    private var outstanding: [Int]
    private var failure: LogError?
    private var isClosed = false
    private var parked: [UInt64: CheckedContinuation<Void, Never>] = [:]
    private var lastParked: UInt64 = 0

    init(
        _ connection: SimulatedLogConnection, _ producer: SimulatedProducer, _ partition: PartitionID,
        _ names: [String],
        _ gate: AckGate
    ) {
        self.connection = connection
        self.producer = producer
        self.partition = partition
        self.names = names
        self.gate = gate
        waiters = names.map { _ in RecordWaiters(end: .zero) }
        ends = names.map { _ in .zero }
        stables = ends
        seen = names.map { _ in .notYet }
        outstanding = names.map { _ in 0 }
    }

    private var log: SimulatedLog { connection.log }
    private var closed: LogError { LogError(.closed, "the log of \(partition) was closed") }
    private func changelog(_ index: Int) -> SimulatedLog.Changelog {
        log.changelog(SimulatedLog.Place(partition: partition, name: names[index]))
    }

    // MARK: - Writing

    func append(_ records: [OutgoingRecord]) {
        if isClosed { return }
        guard failure == nil else {
            return deliver(records.map { LogAck(changelog: $0.changelog, result: .failure(failure ?? closed)) })
        }
        for record in records {
            outstanding[record.changelog] += 1
            let place = SimulatedLog.Place(partition: partition, name: names[record.changelog])
            log.append(record.record, place, producer, self, record.changelog)
        }
    }

    /// A record is committed.
    func take(_ changelog: Int, _ offset: Offset) {
        guard failure == nil, !isClosed else { return }
        outstanding[changelog] -= 1
        stables[changelog] = max(stables[changelog], offset.next)
        advance(changelog, to: offset.next)
        deliver([LogAck(changelog: changelog, result: .success(offset))])
    }

    /// The producer has failed: what is on its way may land, and no more word of it comes.
    func fail(_ error: LogError) {
        guard failure == nil, !isClosed else { return }
        failure = error
        var acks: [LogAck] = []
        for changelog in outstanding.indices {
            acks += Array(
                repeating: LogAck(changelog: changelog, result: .failure(error)), count: outstanding[changelog])
            outstanding[changelog] = 0
        }
        deliver(acks)
    }

    private func deliver(_ acks: [LogAck]) {
        if acks.isEmpty { return }
        gate.executor.post { [gate] in gate.deliver(acks) }
    }

    // MARK: - Reading

    func end(_ changelog: Int) -> Offset { stables[changelog] }

    func endSeen(_ changelog: Int) -> MonotonicTime { seen[changelog] }

    func bounds(_ changelog: Int) async throws(LogError) -> Range<Offset> {
        try await connection.request()
        if isClosed { throw closed }
        // Not the end of what can be read: a claimant must not overlook what stands behind an open transaction.
        let end = Offset(Int64(self.changelog(changelog).committed))
        advance(changelog, to: end)
        return .zero..<end
    }

    func read(_ changelog: Int, from offset: Offset, maxBytes: Int) async throws(LogError) -> LogPage {
        if isClosed { throw closed }
        if offset == ends[changelog] { return LogPage(records: [], next: offset, end: offset) }
        let contents = self.changelog(changelog)
        var isReached = false
        // Behind a transaction that is open there is nothing to read yet.
        repeat {
            await park()
            isReached = connection.isReachable && (offset >= ends[changelog] || offset.rawValue < contents.stable)
        } while !isReached && !isClosed && !connection.process.isDead
        if isClosed || connection.process.isDead { throw closed }
        let end = Offset(Int64(contents.stable))
        advance(changelog, to: end)
        guard offset >= .zero, offset <= end else {
            throw LogError(.outOfRange, "\(partition) \(names[changelog]): offset \(offset) is not in 0...\(end)")
        }
        var page = LogPage(records: [], next: offset, end: end)
        let limit = log.simulation.share(of: maxBytes == 1 ? 1 : 20)
        while page.next < end, page.records.count < limit {
            if let record = contents.slots[Int(page.next.rawValue)] { page.records.append(record) }
            page.next = page.next.next
        }
        return page
    }

    /// Waits for as long as a request takes, or until the log is closed.
    private func park() async {
        lastParked += 1
        let number = lastParked
        await withCheckedContinuation { continuation in
            parked[number] = continuation
            log.simulation.after(connection.isReachable ? log.latency : .milliseconds(50)) { [self] in
                parked.removeValue(forKey: number)?.resume()
            }
        }
    }

    func waitForRecords(_ changelog: Int, beyond offset: Offset) async throws(LogError) {
        try await waiters[changelog].wait(beyond: offset)
    }

    /// The answer to a look-up of the ends has come.
    func seeEnds(_ asked: MonotonicTime) {
        for index in names.indices {
            let stable = Offset(Int64(changelog(index).stable))
            stables[index] = max(stables[index], stable)
            advance(index, to: stable)
            seen[index] = max(seen[index], asked)
        }
    }

    private func advance(_ changelog: Int, to end: Offset) {
        guard end > ends[changelog] else { return }
        ends[changelog] = end
        waiters[changelog].advance(to: end)
    }

    func close() async {
        isClosed = true
        gate.end()
        for waiter in waiters { waiter.close(closed) }
        for (_, continuation) in parked.sorted(by: { $0.key < $1.key }) { continuation.resume() }
        parked = [:]
        connection.remove(self)
    }
}
