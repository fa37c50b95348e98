internal import AffinityCore
internal import Synchronization

/// One use of a partition's changelogs: from its opening to its closing, or to the next opening.
///
/// `append` runs on the partition's executor. Records that one turn of it appends are handed to librdkafka together,
/// at the end of the turn, so that its thread is woken once.
final class KafkaPartitionLog: PartitionLog {
    /// The word on one record.
    struct Word {
        var changelog: Int
        var number: UInt64
        var result: Result<Offset, LogError>
    }

    /// What is on its way to one changelog.
    private struct Lane {
        /// The number of the record that is handed over next.
        var next: UInt64 = 1
        /// The number of the record on which the word comes next.
        var awaited: UInt64 = 1
        /// Records that were taken after the failure: their word comes behind that on those before them.
        var refused = 0

        var inFlight: UInt64 { next - awaited }
    }

    private struct State {
        /// Not handed over yet, in order.
        var pending: [OutgoingRecord] = []
        var lanes: [Lane]
        var failure: LogError?
        /// A call of `handOver` is posted, or will be when there is room.
        var isHandingOver = false
        /// The word on everything is out, on records that are being handed over too.
        var isAbandoned = false
    }

    let partition: PartitionID
    let gate: AckGate
    let streams: [ChangelogStream]
    private let log: KafkaLog
    private let sender: RecordSender
    private let topics: [KafkaTopic]
    private let state: Mutex<State>
    private let prefixes = Mutex<[UInt64]>([])
    private let isEnded = Atomic(false)

    init(
        _ log: KafkaLog, _ partition: PartitionID, _ streams: [ChangelogStream], _ sender: RecordSender, _ gate: AckGate
    ) throws(LogError) {
        self.log = log
        self.partition = partition
        self.streams = streams
        self.sender = sender
        self.gate = gate
        var topics: [KafkaTopic] = []
        for stream in streams { topics.append(try sender.client.topic(stream.place.topic)) }
        self.topics = topics
        state = Mutex(State(lanes: streams.map { _ in Lane() }))
    }

    /// Enters the use with its sender. Once, before its first record.
    func begin() throws(LogError) {
        let own = try sender.register(self, changelogs: streams.count)
        prefixes.withLock { $0 = own }
    }

    private var closedError: LogError { LogError(.closed, "the log of \(partition) was closed") }

    private func checkOpen() throws(LogError) {
        if isEnded.load(ordering: .acquiring) { throw closedError }
    }

    // MARK: - Writing

    func append(_ records: [OutgoingRecord]) {
        if records.isEmpty { return }
        let tooLarge = records.lazy.compactMap { self.log.refusal($0.record) }.first
        let isFirst = state.withLock { state in
            if state.failure == nil, let tooLarge { Self.fail(&state, tooLarge) }
            if state.failure != nil {
                for record in records { state.lanes[record.changelog].refused += 1 }
            } else {
                state.pending += records
            }
            defer { state.isHandingOver = true }
            return !state.isHandingOver
        }
        if isFirst { gate.executor.post { [self] in handOver() } }
    }

    /// There may be room for records that found none. On any thread.
    func handOverSoon() { gate.executor.post { [self] in handOver() } }

    /// Hands what was appended to librdkafka, as far as there is room. On the executor only.
    private func handOver() {
        let (records, numbers) = state.withLock { state -> ([OutgoingRecord], [UInt64]) in
            state.isHandingOver = false
            defer { state.pending = [] }
            // Counted before they are handed over: the word on them may come in between.
            let numbers = state.pending.map { record in
                defer { state.lanes[record.changelog].next += 1 }
                return state.lanes[record.changelog].next
            }
            return (state.pending, numbers)
        }
        let prefixes = prefixes.withLock { $0 }
        var index = 0
        var refusal: LogError?
        while index < records.count, refusal == nil {
            let changelog = records[index].changelog
            let token = prefixes[changelog] | (numbers[index] & RecordSender.numberMask)
            let place = streams[changelog].place
            switch sender.client.produce(records[index].record, to: topics[changelog], place.partition, token: token) {
            case .taken: index += 1
            case .full:
                putBack(records[index...])
                return
            case .refused(let error): refusal = LogError(error.code, "\(place): \(error.reason)")
            }
        }
        if let refusal { refuse(records[index...], refusal) } else { deliverRefusals() }
    }

    /// Keeps records for which there was no room before all later ones.
    private func putBack(_ records: ArraySlice<OutgoingRecord>) {
        let waits = state.withLock { state in
            if state.isAbandoned { return false }
            for record in records { state.lanes[record.changelog].next -= 1 }
            guard state.failure == nil else {
                for record in records { state.lanes[record.changelog].refused += 1 }
                return false
            }
            state.pending = Array(records) + state.pending
            state.isHandingOver = true
            return true
        }
        if waits { sender.waitForRoom(self) } else { deliverRefusals() }
    }

    /// The use has failed with the first of these records.
    private func refuse(_ records: ArraySlice<OutgoingRecord>, _ error: LogError) {
        state.withLock { state in
            if state.isAbandoned { return }
            for record in records {
                state.lanes[record.changelog].next -= 1
                state.lanes[record.changelog].refused += 1
            }
            Self.fail(&state, error)
        }
        deliverRefusals()
    }

    /// Fails what was refused and has nothing in flight before it. On the executor only.
    private func deliverRefusals() {
        let acks = state.withLock { Self.takeRefusals(&$0) }
        if !acks.isEmpty { gate.deliver(acks) }
    }

    // MARK: - Reports

    /// Turns the words of librdkafka into acknowledgements, and delivers them. On the executor only, as refusals are:
    /// none overtakes the other.
    func deliver(_ words: [Word]) {
        let acks = take(words)
        if !acks.isEmpty { gate.deliver(acks) }
    }

    private func take(_ words: [Word]) -> [LogAck] {
        state.withLock { state in
            if state.isAbandoned { return [] }
            var acks: [LogAck] = []
            acks.reserveCapacity(words.count)
            for word in words {
                let isInOrder = word.number == state.lanes[word.changelog].awaited
                state.lanes[word.changelog].awaited += 1
                if case .success(let offset) = word.result { streams[word.changelog].advanceStable(to: offset.next) }
                if state.failure == nil, case .failure(let error) = word.result {
                    Self.fail(&state, LogError(error.code, "\(streams[word.changelog].place): \(error.reason)"))
                }
                if state.failure == nil, !isInOrder {
                    Self.fail(&state, LogError(.io, "\(streams[word.changelog].place): reports came out of order"))
                }
                acks.append(
                    LogAck(changelog: word.changelog, result: state.failure.map { .failure($0) } ?? word.result))
            }
            return acks + Self.takeRefusals(&state)
        }
    }

    /// The word on everything that is out, now: it fails. On any thread.
    func abandon(_ error: LogError) {
        let acks = state.withLock { state in
            Self.fail(&state, error)
            state.isAbandoned = true
            for index in state.lanes.indices {
                state.lanes[index].refused += Int(state.lanes[index].inFlight)
                state.lanes[index].awaited = state.lanes[index].next
            }
            return Self.takeRefusals(&state)
        }
        if !acks.isEmpty { gate.executor.post { [self] in gate.deliver(acks) } }
    }

    /// Takes no more records; what was not handed over never will be. The first reason stays.
    private static func fail(_ state: inout State, _ error: LogError) {
        if state.failure == nil { state.failure = error }
        for record in state.pending { state.lanes[record.changelog].refused += 1 }
        state.pending = []
    }

    private static func takeRefusals(_ state: inout State) -> [LogAck] {
        guard let failure = state.failure else { return [] }
        var acks: [LogAck] = []
        for index in state.lanes.indices where state.lanes[index].inFlight == 0 && state.lanes[index].refused > 0 {
            let ack = LogAck(changelog: index, result: .failure(failure))
            acks += Array(repeating: ack, count: state.lanes[index].refused)
            state.lanes[index].refused = 0
        }
        return acks
    }

    // MARK: - Reading

    func bounds(_ changelog: Int) async throws(LogError) -> Range<Offset> {
        try checkOpen()
        return try await log.bounds([streams[changelog]])[0]
    }

    func findEnd(_ changelog: Int) async throws(LogError) -> Offset {
        try checkOpen()
        return try await log.ends([streams[changelog]])[0]
    }

    func end(_ changelog: Int) -> Offset { streams[changelog].stable }

    func endSeen(_ changelog: Int) -> MonotonicTime { streams[changelog].stableSeen }

    func read(_ changelog: Int, from offset: Offset, maxBytes: Int) async throws(LogError) -> LogPage {
        try checkOpen()
        let stream = streams[changelog]
        if offset == stream.end { return LogPage(records: [], next: offset, end: offset) }
        if offset < .zero || offset > stream.end {
            let bounds = try await log.bounds([stream])[0]
            guard bounds.lowerBound <= offset && offset <= bounds.upperBound else {
                throw LogError(
                    .outOfRange,
                    "\(stream.place): offset \(offset) is not in \(bounds.lowerBound)...\(bounds.upperBound)")
            }
            if offset == bounds.upperBound { return LogPage(records: [], next: offset, end: offset) }
        }
        return try await log.reader.read(stream, from: offset, maxBytes: maxBytes)
    }

    func waitForRecords(_ changelog: Int, beyond offset: Offset) async throws(LogError) {
        // Who has read a moment ago hears of records as the broker sends them, others from the next look at the ends.
        try await streams[changelog].waiters.wait(beyond: offset)
    }

    // MARK: - Closing

    func close() async {
        end(closedError)
        log.remove(self)
    }

    /// Ends the use: no acknowledgement comes after this has returned. Its records may still be written.
    func end(_ error: LogError) {
        isEnded.store(true, ordering: .releasing)
        state.withLock { Self.fail(&$0, error) }
        gate.end()
        sender.unregister(prefixes.withLock { $0 })
        for stream in streams {
            stream.close(error)
            log.reader.end(stream, error)
        }
    }
}
