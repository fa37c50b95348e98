internal import AffinityCore

/// A changelog that is being read: on the reader's thread only.
final class Cursor {
    struct Request {
        var from: Offset
        var maxBytes: Int
        var answer: RecordReader.Answer
    }

    let stream: ChangelogStream
    var request: Request?
    private let client: KafkaClient
    private let consumed: @Sendable (KafkaPlace) -> Void
    private let announce: @Sendable () -> Void
    private var fetch: KafkaFetch?
    /// What was taken from librdkafka and not handed out; `head` is the first of it.
    private var buffer: [LoggedRecord] = []
    private var head = 0
    private var bufferedBytes = 0
    /// Where the buffer begins, or will.
    private var position = Offset.zero
    /// Behind everything that was taken: holes at the end included.
    private var frontier = Offset.zero
    private var lastUse = ContinuousClock.now
    /// Since when nothing can be read although there is something.
    private var stalledSince: ContinuousClock.Instant?
    private var reportedStall: Offset?
    private var countSinceKick = 0
    private var bytesSinceKick = 0

    /// How long a changelog stays fetched from when there is nothing to read: every one that is fetched from costs the
    /// broker something in each of its answers, and where nothing happens a look-up of ends is as good.
    private static let idleTime = Duration.milliseconds(250)
    /// How long a read waits for a transaction before that is reported.
    private static let stallTime = Duration.seconds(5)
    /// How much is taken from librdkafka for those who only wait.
    private static let listenBytes = 256 << 10
    /// A half of what librdkafka fetches ahead by default.
    private static let kickCount = 25_000
    private static let kickBytes = 4 << 20

    init(
        _ stream: ChangelogStream, _ client: KafkaClient, consumed: @escaping @Sendable (KafkaPlace) -> Void,
        announce: @escaping @Sendable () -> Void
    ) {
        self.stream = stream
        self.client = client
        self.consumed = consumed
        self.announce = announce
    }

    // MARK: - What happens to it

    /// Goes to `offset`, unless it is there already.
    func seek(_ offset: Offset) {
        if fetch != nil && position == offset { return }
        // The former one first: there can be only one of a partition.
        fetch = nil
        (buffer, head, bufferedBytes) = ([], 0, 0)
        (position, frontier) = (offset, offset)
        stalledSince = nil
        do throws(LogError) {
            fetch = try KafkaFetch(client, stream.place, from: offset, announce: announce)
        } catch {
            fail(error)
        }
    }

    /// There are records after there were none.
    func arrived() {
        if request != nil { serve() } else { listen() }
    }

    /// Takes some records for those who wait for them, and says where the changelog ends.
    func listen() {
        let before = frontier
        if bufferedBytes < Self.listenBytes { fill(Self.listenBytes) }
        if frontier > before { lastUse = .now }
        advance()
    }

    /// Answers the request if there is something to answer.
    func serve() {
        guard let request, fetch != nil else { return }
        lastUse = .now
        if bufferedBytes < request.maxBytes || head == buffer.count { fill(request.maxBytes) }
        // It may have failed, and been answered.
        guard self.request != nil else { return }
        advance()
        if head < buffer.count {
            stalledSince = nil
            answer(.success(page(request.maxBytes)))
        } else if frontier > request.from {
            position = frontier
            answer(.success(LogPage(records: [], next: frontier, end: max(stream.end, frontier))))
        }
    }

    func answer(_ result: Result<LogPage, LogError>) {
        request?.answer.resume(returning: result)
        request = nil
        lastUse = .now
    }

    // MARK: - Looking after it

    /// Whether nobody has any use for it.
    func isIdle(_ now: ContinuousClock.Instant) -> Bool {
        request == nil && now - lastUse > Self.idleTime
    }

    /// The offset at which a read has waited for long, although there are records; once for each.
    func takeStall(_ now: ContinuousClock.Instant) -> Offset? {
        guard request != nil, frontier < stream.end, reportedStall != frontier, let stalledSince,
            now - stalledSince > Self.stallTime
        else { return nil }
        reportedStall = frontier
        return frontier
    }

    // MARK: - Private

    /// Takes records from librdkafka until the buffer holds `bytes` of them, or there are no more.
    private func fill(_ bytes: Int) {
        if head == buffer.count { (buffer, head) = ([], 0) }
        var isDry = false
        var failure: LogError?
        while !isDry, failure == nil, bufferedBytes < max(bytes, 1) {
            isDry = true
            let before = (buffer.count, bufferedBytes)
            fetch?.take { item in
                isDry = false
                switch item {
                case .record(let record):
                    bufferedBytes += Self.size(record)
                    frontier = record.offset.next
                    buffer.append(record)
                case .end(let offset):
                    frontier = max(frontier, offset)
                    if stalledSince == nil { stalledSince = .now }
                case .failure(let error): failure = error
                }
            }
            noteConsumed(buffer.count - before.0, bufferedBytes - before.1)
        }
        if let failure { fail(failure) }
    }

    /// librdkafka stops fetching when its queue is full, and looks again once a second unless something wakes it.
    private func noteConsumed(_ count: Int, _ bytes: Int) {
        countSinceKick += count
        bytesSinceKick += bytes
        guard countSinceKick >= Self.kickCount || bytesSinceKick >= Self.kickBytes else { return }
        (countSinceKick, bytesSinceKick) = (0, 0)
        consumed(stream.place)
    }

    private func advance() {
        stream.advance(to: max(frontier, client.fetchedEnd(stream.place) ?? .zero))
    }

    private func page(_ maxBytes: Int) -> LogPage {
        var bytes = 0
        var index = head
        repeat {
            bytes += Self.size(buffer[index])
            index += 1
        } while index < buffer.count && bytes < maxBytes
        bufferedBytes -= bytes
        var records: [LoggedRecord]
        if head == 0 && index == buffer.count {
            records = []
            swap(&records, &buffer)
        } else {
            records = Array(buffer[head..<index])
            head = index
        }
        position = head < buffer.count ? records[records.count - 1].offset.next : frontier
        return LogPage(records: records, next: position, end: max(stream.end, position))
    }

    private func fail(_ error: LogError) {
        fetch = nil
        // What was taken before is good, but goes too: the next read begins anew.
        (buffer, head, bufferedBytes) = ([], 0, 0)
        answer(.failure(error))
    }

    private static func size(_ record: LoggedRecord) -> Int {
        record.record.key.count + (record.record.value?.count ?? 0)
    }
}
