import AffinityCore
import AffinityTesting

@testable import AffinityCore

/// The changelogs of one partition as several nodes use them: records land when the schedule says so, and compaction
/// takes what the schedule says.
///
/// Unchecked, as everything here: it never leaves its test.
final class ModelLog: @unchecked Sendable {
    /// Everything that ever landed; `nil` for what takes an offset and is no record.
    private(set) var raw: [[LoggedRecord?]]
    /// What compaction has taken.
    private(set) var isGone: [[Bool]]
    let clock: ManualClock

    init(changelogs: Int, clock: ManualClock) {
        raw = (0..<changelogs).map { _ in [] }
        isGone = raw.map { _ in [] }
        self.clock = clock
    }

    /// A copy that others cannot change, for looking at what compaction would do.
    init(_ other: ModelLog) { (raw, isGone, clock) = (other.raw, other.isGone, other.clock) }

    var ends: [Offset] { raw.map { Offset(Int64($0.count)) } }
    func end(_ changelog: Int) -> Offset { Offset(Int64(raw[changelog].count)) }

    func land(_ record: Record?, on changelog: Int) -> Offset {
        let offset = end(changelog)
        raw[changelog].append(record.map { LoggedRecord(offset: offset, appended: clock.now, record: $0) })
        isGone[changelog].append(false)
        return offset
    }

    /// A mistake that some schedules plant: the record was acknowledged, and is not there.
    func lose(_ changelog: Int, _ offset: Offset) { raw[changelog][Int(offset.rawValue)] = nil }

    func record(_ changelog: Int, _ offset: Offset) -> LoggedRecord? {
        let place = Int(offset.rawValue)
        guard raw[changelog].indices.contains(place), !isGone[changelog][place] else { return nil }
        return raw[changelog][place]
    }

    /// At most `limit` records from `offset` on.
    func page(_ changelog: Int, from offset: Offset, limit: Int) -> LogPage {
        var records: [LoggedRecord] = []
        var next = offset
        while next < end(changelog), records.count < limit {
            if let record = record(changelog, next) { records.append(record) }
            next = next.next
        }
        return LogPage(records: records, next: next, end: end(changelog))
    }

    /// Keeps the last record of each key below `bound`, of those that were appended before `time`.
    func compact(_ changelog: Int, below bound: Int, appendedBefore time: Timestamp) -> Bool {
        var seen = Set<[UInt8]>()
        var hasTaken = false
        let places = raw[changelog].prefix(bound).prefix { $0.map { $0.appended <= time } ?? true }
        for place in places.indices.reversed() {
            guard let record = places[place], !isGone[changelog][place] else { continue }
            if !seen.insert(record.record.key).inserted {
                isGone[changelog][place] = true
                hasTaken = true
            }
        }
        return hasTaken
    }

    /// As if compaction had never run.
    func forgetCompaction() { isGone = raw.map { $0.map { _ in false } } }

    /// The changelog in words, for whoever looks into a violation.
    func shown(_ changelog: Int, _ stores: [AnyStore]) -> String {
        raw[changelog].enumerated().map { place, record in
            let gone = isGone[changelog][place] ? "~" : ""
            guard let record else { return "\(place):-" }
            return "\(place):\(gone)" + shown(record.record, stores[changelog].controlKey)
        }.joined(separator: " ")
    }

    private func shown(_ record: Record, _ controlKey: [UInt8]) -> String {
        let key = String(decoding: record.key.filter { $0 >= 32 }, as: UTF8.self)
        guard let stamp = record.headers.stamp else { return "\(key)=\(record.value.map { "\($0)" } ?? "-")*" }
        let place = "/\(stamp.epoch)#\(stamp.number)of\(stamp.count)a\(stamp.acknowledged)"
        if record.key == controlKey {
            return (record.value.flatMap(ControlRecord.init(bytes:))?.kind.rawValue ?? "?") + place
        }
        return "\(key)=\(record.value.map { "\($0.prefix(24))" } ?? "-")" + place
    }
}

/// A node's producer: a queue for each changelog, whose records land in order, later or, once it has ended, never.
final class Producer: @unchecked Sendable {
    let node: Int
    var isAlive = true
    var queues: [[(record: Record, use: LogUse)]]
    /// The words on what has landed, which have not arrived.
    var acks: [[(offset: Offset, use: LogUse)]]

    init(node: Int, changelogs: Int) {
        self.node = node
        queues = (0..<changelogs).map { _ in [] }
        acks = (0..<changelogs).map { _ in [] }
    }
}

/// The log as one opening of it sees it.
final class LogUse: PartitionLog, @unchecked Sendable {
    let log: ModelLog
    let producer: Producer

    init(_ log: ModelLog, _ producer: Producer) {
        self.log = log
        self.producer = producer
    }

    func append(_ records: [OutgoingRecord]) {
        for record in records { producer.queues[record.changelog].append((record.record, self)) }
    }

    func end(_ changelog: Int) -> Offset { log.end(changelog) }
    func bounds(_ changelog: Int) async throws(LogError) -> Range<Offset> { .zero..<log.end(changelog) }
    func read(_ changelog: Int, from offset: Offset, maxBytes: Int) async throws(LogError) -> LogPage {
        log.page(changelog, from: offset, limit: maxBytes)
    }
    func waitForRecords(_ changelog: Int, beyond offset: Offset) async throws(LogError) {}
    func close() async {}
}

/// What a memstore leaves on disk: its last batches, each whole and with its checkpoint, so that a crash can lose some.
final class ModelDisk: @unchecked Sendable {
    struct Image {
        var entries: [[[UInt8]: StoredEntry]]
        var checkpoint: [UInt8]?
    }

    private(set) var images: [Image]
    var newest: Image { images[images.count - 1] }

    init(stores: Int) { images = [Image(entries: (0..<stores).map { _ in [:] })] }

    init(_ image: Image) { images = [image] }

    func commit(_ writes: [MemStoreWrite], _ checkpoint: [UInt8]) {
        var image = newest
        for write in writes { image.entries[write.store][write.key] = write.entry }
        image.checkpoint = checkpoint
        images.append(image)
        if images.count > 8 { images.removeFirst() }
    }

    /// A crash: the last `count` batches were not flushed.
    func lose(_ count: Int) { images.removeLast(min(count, images.count - 1)) }

    func loseEverything() { images = [Image(entries: newest.entries.map { _ in [:] })] }
}

/// A memstore over such a disk.
final class ModelMemStore: MemStore {
    private let disk: ModelDisk

    init(_ disk: ModelDisk) { self.disk = disk }

    var checkpoint: [UInt8]? { disk.newest.checkpoint }
    func get(_ store: Int, _ key: [UInt8]) throws(MemStoreError) -> StoredEntry? { disk.newest.entries[store][key] }
    func scan(
        _ store: Int, _ range: KeyRange, _ direction: ScanDirection,
        _ visit: (_ key: [UInt8], _ entry: StoredEntry) -> Bool
    ) throws(MemStoreError) {
        for (key, entry) in disk.newest.entries[store] where range.contains(key) {
            if !visit(key, entry) { return }
        }
    }
    func count(_ store: Int) throws(MemStoreError) -> Int { disk.newest.entries[store].count }
    func commit(_ writes: [MemStoreWrite], checkpoint: [UInt8]) throws(MemStoreError) {
        disk.commit(writes, checkpoint)
    }
    nonisolated(nonsending) func flush() async throws(MemStoreError) {}
    nonisolated(nonsending) func copy(to path: String) async throws(MemStoreError) {}
    nonisolated(nonsending) func close() async {}
}
