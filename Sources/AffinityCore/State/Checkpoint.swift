/// What a memstore commits atomically with each batch (PROTOCOL §7), so that a replica resumes from exactly there.
struct Checkpoint: Equatable {
    /// The place in one changelog, under its name, so that stores can be added and put in another order.
    struct Place: Equatable {
        var changelog: String
        /// The offset of the next record to apply.
        var next: Offset
        /// The last record that was applied, and a hash of it; recognises another log under the same name.
        var last = Offset.zero
        var fingerprint: UInt64 = 0
        /// The first record that was applied and is not covered by an `a` (R3); `next` if all are.
        var covered: Offset
        /// The doubtful keys of the changelog, and when the newest doubtful record of each was appended.
        var doubtful: [[UInt8]: Timestamp] = [:]

        init(changelog: String, next: Offset) {
            self.changelog = changelog
            self.next = next
            covered = next
        }
    }

    /// The random number that the log was given when it was first claimed; 0 while it is not known.
    var log: UInt64
    /// The epoch whose records are applied.
    var epoch: Epoch
    /// Whether the settled of the epoch is still to come: then nothing of it counts yet (R2, C4).
    var isOpen = false
    /// The number of the last command of the epoch that was applied.
    var number: UInt64 = 0
    /// The greatest `a` of the epoch that was read.
    var acknowledged: UInt64 = 0
    /// When the position was last level with the end of the log.
    var level: Timestamp
    var places: [Place]

    init(log: UInt64 = 0, epoch: Epoch = .none, level: Timestamp, places: [Place]) {
        self.log = log
        self.epoch = epoch
        self.level = level
        self.places = places
    }

    var position: Position { Position(places.map(\.next)) }

    /// Keeps what is unsettled at this position.
    mutating func note(_ unsettled: UnsettledKeys) {
        for changelog in places.indices {
            places[changelog].covered = unsettled.firstUncovered(changelog) ?? places[changelog].next
            places[changelog].doubtful = unsettled.doubtful(changelog)
        }
    }
}

/// The bytes of a checkpoint.
extension Checkpoint {
    private static let layout: UInt8 = 2

    var bytes: [UInt8] {
        ByteWriter.bytes(count: 44 + places.reduce(0) { $0 + $1.byteCount }) { bytes in
            bytes.put(Self.layout)
            bytes.put(log)
            bytes.put(epoch.rawValue)
            bytes.put(UInt8(isOpen ? 1 : 0))
            bytes.put(number)
            bytes.put(acknowledged)
            bytes.put(level.milliseconds)
            bytes.put(UInt16(places.count))
            for place in places { place.put(&bytes) }
        }
    }

    /// Reads what `bytes` wrote; `nil` for anything else.
    init?(bytes: [UInt8]) {
        var reader = ByteReader(bytes)
        guard reader.number(UInt8.self) == Self.layout, let log = reader.number(UInt64.self),
            let epoch = reader.number(UInt64.self), let isOpen = reader.number(UInt8.self),
            let number = reader.number(UInt64.self), let acknowledged = reader.number(UInt64.self),
            let level = reader.number(Int64.self), let count = reader.number(UInt16.self)
        else { return nil }
        self.init(log: log, epoch: Epoch(rawValue: epoch), level: Timestamp(milliseconds: level), places: [])
        (self.isOpen, self.number, self.acknowledged) = (isOpen != 0, number, acknowledged)
        for _ in 0..<count {
            guard let place = Place(&reader) else { return nil }
            places.append(place)
        }
        guard reader.isAtEnd else { return nil }
    }
}

extension Checkpoint.Place {
    fileprivate var byteCount: Int {
        let count = 2 + changelog.utf8.count + 36
        return doubtful.isEmpty ? count : doubtful.keys.reduce(count) { $0 + 12 + $1.count }
    }

    fileprivate func put(_ bytes: inout ByteWriter) {
        bytes.put(UInt16(changelog.utf8.count))
        bytes.put(changelog.utf8)
        bytes.put(next.rawValue)
        bytes.put(last.rawValue)
        bytes.put(fingerprint)
        bytes.put(covered.rawValue)
        bytes.put(UInt32(clamping: doubtful.count))
        for (key, appended) in doubtful {
            bytes.put(UInt32(clamping: key.count))
            bytes.put(key)
            bytes.put(appended.milliseconds)
        }
    }

    fileprivate init?(_ reader: inout ByteReader) {
        guard let length = reader.number(UInt16.self), let name = reader.bytes(Int(length)),
            let next = reader.number(Int64.self), let last = reader.number(Int64.self),
            let fingerprint = reader.number(UInt64.self), let covered = reader.number(Int64.self),
            let count = reader.number(UInt32.self)
        else { return nil }
        self.init(changelog: String(decoding: name, as: UTF8.self), next: Offset(next))
        (self.last, self.fingerprint, self.covered) = (Offset(last), fingerprint, Offset(covered))
        for _ in 0..<count {
            guard let length = reader.number(UInt32.self), let key = reader.bytes(Int(length)),
                let appended = reader.number(Int64.self)
            else { return nil }
            doubtful[key] = Timestamp(milliseconds: appended)
        }
    }
}

/// Reads numbers and bytes one after the other, and never beyond the end.
struct ByteReader {
    private let source: [UInt8]
    private var index = 0

    init(_ source: [UInt8]) { self.source = source }

    var isAtEnd: Bool { index == source.count }

    mutating func number<Number: FixedWidthInteger>(_ type: Number.Type) -> Number? {
        let size = MemoryLayout<Number>.size
        guard source.count - index >= size else { return nil }
        defer { index += size }
        return source.bigEndian(at: index)
    }

    mutating func bytes(_ count: Int) -> [UInt8]? {
        guard count >= 0, source.count - index >= count else { return nil }
        defer { index += count }
        return Array(source[index..<index + count])
    }

    /// All that is left.
    mutating func rest() -> [UInt8] {
        defer { index = source.count }
        return Array(source[index...])
    }
}

extension LoggedRecord {
    /// A hash of the record and its place (FNV-1a, 64 bits): tells a log from another one, not friend from foe.
    static func fingerprint(key: [UInt8], value: [UInt8]?, at offset: Offset, epoch: Epoch) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func mix(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        for byte in key { mix(byte) }
        mix(value == nil ? 0 : 1)
        for byte in value ?? [] { mix(byte) }
        hash = (hash ^ UInt64(bitPattern: offset.rawValue)) &* 0x100_0000_01b3
        return (hash ^ epoch.rawValue) &* 0x100_0000_01b3
    }

    var fingerprint: UInt64 {
        Self.fingerprint(
            key: record.key, value: record.value, at: offset, epoch: record.headers.stamp?.epoch ?? .none)
    }
}
