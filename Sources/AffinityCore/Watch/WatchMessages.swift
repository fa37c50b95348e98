/// What a node asks the node of a master for its watches: a long poll, of which each session has one on its way.
///
/// What is added, removed and wanted is repeated until a batch answers a poll that had it: a poll that is taken back may
/// or may not have been heard.
struct WatchPoll: Sendable {
    /// One more watch of a part.
    struct Addition: Sendable {
        var number: UInt64
        var partition: Int
        var store: String
        var scope: WatchScope
        var after: Version?
        var hasBegun: Bool
        var options: WatchOptions
    }

    /// The name of the requests between nodes.
    static let requestType = "watch"

    var keyspace: String
    var session: UInt64
    /// 1, 2, 3, … within the session.
    var number: UInt64
    /// The last batch that has come.
    var received: UInt64
    var additions: [Addition] = []
    var removals: [UInt64] = []
    /// The parts whose next page is wanted.
    var pages: [UInt64] = []

    /// Whether it has more than the wish to hear: then it is answered at once, because what it says is repeated until then.
    var saysSomething: Bool { !additions.isEmpty || !removals.isEmpty || !pages.isEmpty }

    var bytes: [UInt8] {
        var fields = FieldWriter(capacity: 64 + additions.count * 64 + (removals.count + pages.count) * 8)
        fields.write(keyspace)
        fields.write(session)
        fields.write(number)
        fields.write(received)
        fields.write(UInt32(clamping: additions.count))
        for addition in additions { addition.write(&fields) }
        fields.write(removals.map(Int64.init(bitPattern:)))
        fields.write(pages.map(Int64.init(bitPattern:)))
        return fields.bytes
    }

    init(keyspace: String, session: UInt64, number: UInt64, received: UInt64) {
        self.keyspace = keyspace
        self.session = session
        self.number = number
        self.received = received
    }

    init(bytes: [UInt8]) throws(CBORError) {
        var fields = FieldReader(bytes)
        keyspace = try fields.text()
        session = try fields.number()
        number = try fields.number()
        received = try fields.number()
        // Read one by one: what is not there makes no room.
        for _ in 0..<(try fields.number(UInt32.self)) { additions.append(try Addition(&fields)) }
        removals = try fields.position().map(UInt64.init(bitPattern:))
        pages = try fields.position().map(UInt64.init(bitPattern:))
    }
}

extension WatchPoll.Addition {
    fileprivate func write(_ fields: inout FieldWriter) {
        fields.write(number)
        fields.write(UInt32(clamping: partition))
        fields.write(store)
        switch scope.kind {
        case .key(let key):
            fields.write(UInt8(0))
            fields.write(key)
        case .prefix(let prefix):
            fields.write(UInt8(1))
            fields.write(prefix)
        case .all:
            fields.write(UInt8(2))
            fields.write([UInt8]())
        }
        fields.write(UInt8((after == nil ? 0 : 1) | (hasBegun ? 2 : 0)))
        fields.write(after?.rawValue ?? 0)
        fields.write(options.overflow.rawValue)
        fields.write(UInt32(clamping: options.events))
        fields.write(UInt64(clamping: options.bytes))
    }

    fileprivate init(_ fields: inout FieldReader) throws(CBORError) {
        number = try fields.number()
        partition = Int(try fields.number(UInt32.self))
        store = try fields.text()
        let kind = try fields.number(UInt8.self)
        let key = try fields.field()
        guard kind <= 2 else { throw CBORError(.malformed, "a scope of kind \(kind)") }
        scope = kind == 0 ? .key(key) : kind == 1 ? .prefix(key) : .all
        let flags = try fields.number(UInt8.self)
        let version = try fields.version()
        after = flags & 1 == 0 ? nil : version
        hasBegun = flags & 2 != 0
        let overflow = WatchOptions.Overflow(rawValue: try fields.number()) ?? .close
        let events = Int(try fields.number(UInt32.self))
        options = WatchOptions(overflow: overflow, events: events, bytes: Int(clamping: try fields.number(UInt64.self)))
    }
}

/// What came of a poll.
struct WatchBatch: Sendable {
    /// What is said to one watch.
    struct Item: Sendable {
        enum Kind: UInt8, Sendable {
            case current, change, missed, page, level, startOver, progress, end

            /// Whether its value is the place of a change.
            var isOfChange: Bool { self == .current || self == .change || self == .missed }
            /// Whether everything that was missed has been said when it comes last.
            var isLevel: Bool { self == .change || self == .level || self == .progress }
        }

        var watch: UInt64
        var kind: Kind
        /// The place of a change among those of the batch, or a version.
        var value: UInt64
    }

    /// 1, 2, 3, … within the session.
    var number: UInt64
    /// The poll that is answered: what it had is known.
    var poll: UInt64
    var items: [Item] = []
    var changes: [Change] = []
    /// The watches that nobody here fills any longer.
    var lost: [UInt64] = []
    /// How far each partition goes that was said everything of.
    var progress: [Int: Position] = [:]

    init(number: UInt64, poll: UInt64) { (self.number, self.poll) = (number, poll) }

    var bytes: [UInt8] {
        var fields = FieldWriter(capacity: 64 + items.count * 17 + changes.reduce(0) { $0 + $1.size })
        fields.write(number)
        fields.write(poll)
        // Changes of one batch have the same position.
        var last: Position?
        fields.write(UInt32(clamping: changes.count))
        for change in changes {
            fields.write(UInt32(clamping: change.partition))
            fields.write(change.store)
            fields.write(change.key)
            fields.write(change.version.rawValue)
            fields.write(UInt8((change.value == nil ? 0 : 1) | (last == change.position ? 2 : 0)))
            if last != change.position { fields.write(change.position.offsets.map(\.rawValue)) }
            last = change.position
            if let value = change.value {
                fields.write(value)
                fields.write(change.time?.milliseconds ?? 0)
            }
            fields.write(UInt16(clamping: change.tags.count))
            for tag in change.tags.prefix(Int(UInt16.max)) { fields.write(tag) }
        }
        fields.write(UInt32(clamping: items.count))
        for item in items {
            fields.write(item.watch)
            fields.write(item.kind.rawValue)
            fields.write(item.value)
        }
        fields.write(lost.map(Int64.init(bitPattern:)))
        fields.write(UInt32(clamping: progress.count))
        for (partition, position) in progress.sorted(by: { $0.key < $1.key }) {
            fields.write(UInt32(clamping: partition))
            fields.write(position.offsets.map(\.rawValue))
        }
        return fields.bytes
    }

    init(bytes: [UInt8]) throws(CBORError) {
        var fields = FieldReader(bytes)
        number = try fields.number()
        poll = try fields.number()
        var last = Position([])
        for _ in 0..<(try fields.number(UInt32.self)) { changes.append(try Self.change(&fields, &last)) }
        for _ in 0..<(try fields.number(UInt32.self)) {
            let watch = try fields.number(UInt64.self)
            let kind = Item.Kind(rawValue: try fields.number())
            let value = try fields.number(UInt64.self)
            guard let kind, value < (kind.isOfChange ? UInt64(changes.count) : 1 << 63) else {
                throw CBORError(.malformed, "an item of a watch is damaged")
            }
            items.append(Item(watch: watch, kind: kind, value: value))
        }
        lost = try fields.position().map(UInt64.init(bitPattern:))
        for _ in 0..<(try fields.number(UInt32.self)) {
            let partition = Int(try fields.number(UInt32.self))
            let position = Position(try fields.position().map(Offset.init))
            guard position.offsets.allSatisfy({ $0 >= .zero }) else {
                throw CBORError(.malformed, "a position before the beginning of a changelog")
            }
            progress[partition] = position
        }
    }

    private static func change(_ fields: inout FieldReader, _ last: inout Position) throws(CBORError) -> Change {
        let partition = Int(try fields.number(UInt32.self))
        let store = try fields.text()
        let key = try fields.field()
        let version = try fields.version()
        let flags = try fields.number(UInt8.self)
        if flags & 2 == 0 { last = Position(try fields.position().map(Offset.init)) }
        var entry: StoredEntry?
        if flags & 1 != 0 {
            let value = try fields.field()
            entry = StoredEntry(
                value: value, version: version, time: Timestamp(milliseconds: try fields.number(Int64.self)))
        }
        var tags: [String] = []
        for _ in 0..<(try fields.number(UInt16.self)) { tags.append(try fields.text()) }
        return Change(
            partition: partition, store: store, key: key, entry: entry, version: version, position: last, tags: tags)
    }
}

extension FieldReader {
    /// A version; one that no log gives would silence a watch for ever.
    fileprivate mutating func version() throws(CBORError) -> Version {
        let number = try number(UInt64.self)
        guard number < 1 << 63 else { throw CBORError(.malformed, "a version beyond all offsets") }
        return Version(number)
    }
}
