/// A changelog of a partition, as the log has to know it.
public struct ChangeLogDeclaration: Hashable, Sendable {
    /// The name of the store that it records; unique in the partition.
    public let name: String
    /// The reserved key of control records, which no user's write has (PROTOCOL §1).
    public let controlKey: [UInt8]

    /// Declares a changelog.
    public init(name: String, controlKey: [UInt8]) {
        self.name = name
        self.controlKey = controlKey
    }
}

/// A record on its way to a changelog.
public struct OutgoingRecord: Sendable {
    /// The place of the changelog in the list that the partition's log was opened with.
    public var changelog: Int
    /// Key, value and headers.
    public var record: Record

    /// A record for that changelog.
    public init(changelog: Int, record: Record) {
        self.changelog = changelog
        self.record = record
    }
}

/// A record as it stands in a changelog.
public struct LoggedRecord: Sendable, Equatable {
    /// Its place.
    public var offset: Offset
    /// When the log took it.
    public var appended: Timestamp
    /// Key, value and headers.
    public var record: Record

    /// A record at that place.
    public init(offset: Offset, appended: Timestamp, record: Record) {
        self.offset = offset
        self.appended = appended
        self.record = record
    }
}

/// Some records of a changelog, in order.
public struct LogPage: Sendable {
    /// The records; there may be holes between their offsets.
    public var records: [LoggedRecord]
    /// Where to read on: behind the last record, or behind the hole that ends the page.
    public var next: Offset
    /// The end of the changelog when the page was read: the offset that the next record will get.
    public var end: Offset
    /// Behind the last removal that compaction had forgotten when the page had been read: the last tombstone that it
    /// took although nothing came after it under its key. Who stands before it and has read anything may have missed
    /// a removal. `.zero` if none was forgotten, `nil` if the log does not know.
    public var forgotten: Offset?

    /// A page of those parts.
    public init(records: [LoggedRecord], next: Offset, end: Offset, forgotten: Offset? = nil) {
        self.records = records
        self.next = next
        self.end = end
        self.forgotten = forgotten
    }
}

/// What a log says of one record that it was handed.
public struct LogAck: Sendable {
    /// The changelog that the record was for.
    public var changelog: Int
    /// Where the record stands now, durably; or why it is uncertain whether it does.
    public var result: Result<Offset, LogError>

    /// The word on one record.
    public init(changelog: Int, result: Result<Offset, LogError>) {
        self.changelog = changelog
        self.result = result
    }
}

/// The ordered, durable, compacted records of all partitions that a node holds.
///
/// **Contract**, which every log passes the same tests for. Offsets of a changelog grow; a record that was
/// acknowledged is at its offset until compaction, which keeps the last record of a key (the control key included),
/// takes no record before the compaction lag, and keeps a tombstone that is the last of its key for the delete
/// retention. Acknowledgements of a changelog come in the order of its records. Nothing is acknowledged before it
/// would survive the loss of power. Called by the replicas through a `PartitionLog`.
public protocol ChangeLog: Sendable {
    /// Whether this process is the only one that can write, and hands over a command's records whole: then whatever
    /// stands in the log when it is opened is as good as acknowledged, and nothing in it can become void.
    var isExclusive: Bool { get }

    /// Opens the changelogs of a partition, makes those that are missing.
    ///
    /// - Parameters:
    ///   - executor: where `acknowledge` is called.
    ///   - acknowledge: gets the word on every record, in batches; never called again once `close` has returned.
    func open(
        _ partition: PartitionID, changelogs: [ChangeLogDeclaration], executor: any EventExecutor,
        acknowledge: @escaping @Sendable ([LogAck]) -> Void
    ) async throws(LogError) -> any PartitionLog
}

/// The changelogs of one partition, opened.
public protocol PartitionLog: AnyObject, Sendable {
    /// Hands over the records of one command, in order. Returns at once; the word on each comes as an
    /// acknowledgement. After a failure of one record all later ones fail, until the log is opened anew.
    ///
    /// Called on the executor that the log was opened with, and nowhere else.
    func append(_ records: [OutgoingRecord])

    /// The first offset that may hold a record, and the offset that the next record will get.
    func bounds(_ changelog: Int) async throws(LogError) -> Range<Offset>

    /// The end alone, looked up now; where beginnings cost a request of their own this is quicker than `bounds`.
    func findEnd(_ changelog: Int) async throws(LogError) -> Offset

    /// Where a changelog ends as the log last heard of it, at no cost: a log that others write to looks every
    /// `storage.poll`, so it may be that old.
    ///
    /// Called on the executor that the log was opened with (PROTOCOL W6).
    func end(_ changelog: Int) -> Offset

    /// When the log was last asked for the end that `end` says, on the clock that only goes forward: everything that was
    /// acknowledged before that moment stands before that end. `.never` where the end is always known.
    func endSeen(_ changelog: Int) -> MonotonicTime

    /// Reads records from `offset` on, at least one if there is one, about `maxBytes` of them. What takes an offset
    /// and is no record (a transaction's marker, what it aborted) is passed over: `next` lies behind it. One page of a
    /// changelog is asked for at a time.
    ///
    /// - Throws: `outOfRange` if `offset` lies beyond the end or before the first offset.
    func read(_ changelog: Int, from offset: Offset, maxBytes: Int) async throws(LogError) -> LogPage

    /// Returns when the changelog's end is beyond `offset`, at once if it is.
    ///
    /// - Throws: `closed` if the log is closed meanwhile or the task is cancelled.
    func waitForRecords(_ changelog: Int, beyond offset: Offset) async throws(LogError)

    /// Ends the use of these changelogs; records whose word is still out are uncertain.
    func close() async
}

extension PartitionLog {
    /// The end that `bounds` says.
    public func findEnd(_ changelog: Int) async throws(LogError) -> Offset { try await bounds(changelog).upperBound }

    /// `.never`: nobody else writes, so the end is always known.
    public func endSeen(_ changelog: Int) -> MonotonicTime { .never }
}

/// Why a log could not do what it was asked.
public struct LogError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public struct Code: Hashable, Sendable {
        private enum Kind { case io, full, corrupt, outOfRange, tooLarge, closed, shape }
        private let kind: Kind

        /// The log could not be read or written.
        public static let io = Code(kind: .io)
        /// There is no space left.
        public static let full = Code(kind: .full)
        /// What is in the log is not what was written.
        public static let corrupt = Code(kind: .corrupt)
        /// The offset is before the first or beyond the end.
        public static let outOfRange = Code(kind: .outOfRange)
        /// The record is larger than the log takes.
        public static let tooLarge = Code(kind: .tooLarge)
        /// The log, or this use of it, has ended.
        public static let closed = Code(kind: .closed)
        /// The log exists, but not as it is declared.
        public static let shape = Code(kind: .shape)
    }

    /// What kind of failure it is.
    public let code: Code
    /// What happened, with the name of the changelog, file or setting.
    public let reason: String

    /// A failure of that kind.
    public init(_ code: Code, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    /// Whether the same call may succeed later without anybody's help.
    public var isRetriable: Bool { code == .io || code == .full }

    /// The reason.
    public var description: String { reason }
}
