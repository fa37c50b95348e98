/// What a master writes into each of its records: the header `affinity` (PROTOCOL §1).
public struct RecordStamp: Hashable, Sendable {
    /// `e`: the epoch of the master.
    public var epoch: Epoch
    /// `n`: the number of the command within the epoch, from 1, without a gap. 0 for control records.
    public var number: UInt64
    /// `k`: how many records the command has, over all changelogs.
    public var count: UInt32
    /// `a`: when the record was handed over, every command of the epoch up to this number was acknowledged.
    public var acknowledged: UInt64

    /// A stamp of those parts.
    public init(epoch: Epoch, number: UInt64, count: UInt32, acknowledged: UInt64) {
        self.epoch = epoch
        self.number = number
        self.count = count
        self.acknowledged = acknowledged
    }

    /// The layout that this version writes.
    static let layout: UInt8 = 1
    /// The bytes of the header.
    static let length = 29

    var bytes: InlineArray<29, UInt8> {
        var bytes = InlineArray<29, UInt8>(repeating: Self.layout)
        bytes.put(epoch.rawValue, at: 1)
        bytes.put(number, at: 9)
        bytes.put(count, at: 17)
        bytes.put(acknowledged, at: 21)
        return bytes
    }
}

extension InlineArray where Element == UInt8 {
    /// Writes the bytes of `value` from `index` on, the most significant first.
    fileprivate mutating func put<Number: FixedWidthInteger>(_ value: Number, at index: Int) {
        var rest = value
        for place in (index..<index + MemoryLayout<Number>.size).reversed() {
            self[place] = UInt8(truncatingIfNeeded: rest)
            rest >>= 8
        }
    }
}

/// The headers of a record that Affinity reads and writes.
///
/// On a log they are a list of names and bytes: `affinity` (fixed layout), `t` (event time, 8 bytes, milliseconds),
/// `tag` (UTF-8, repeated), `traceparent` (ASCII). Numbers are big-endian. Headers of other names are not ours and
/// are ignored.
public struct RecordHeaders: Hashable, Sendable {
    /// `nil` for a foreign record: one that no master wrote.
    public var stamp: RecordStamp?
    /// The event time.
    public var time: Timestamp?
    /// What the command said of the change.
    public var tags: [String]
    /// The W3C trace context of the request.
    public var traceparent: String?

    /// Headers of those parts.
    public init(
        stamp: RecordStamp? = nil, time: Timestamp? = nil, tags: [String] = [], traceparent: String? = nil
    ) {
        self.stamp = stamp
        self.time = time
        self.tags = tags
        self.traceparent = traceparent
    }

    /// Calls `body` with each header's name and bytes, in the order in which they are written.
    ///
    /// The bytes are lent: `body` copies what it keeps.
    public func forEach(_ body: (_ name: StaticString, _ value: borrowing RawSpan) -> Void) {
        if let stamp {
            let bytes = stamp.bytes
            body("affinity", bytes.span.bytes)
        }
        if let time {
            var bytes = InlineArray<8, UInt8>(repeating: 0)
            bytes.put(time.milliseconds, at: 0)
            body("t", bytes.span.bytes)
        }
        for tag in tags { body("tag", Array(tag.utf8).span.bytes) }
        if let traceparent { body("traceparent", Array(traceparent.utf8).span.bytes) }
    }

    /// Takes in one header of a record that was read. Names that are not ours are ignored.
    ///
    /// - Throws: `corrupt` if the bytes are not what the name says.
    public mutating func take(_ name: some StringProtocol, _ value: [UInt8]) throws(LogError) {
        try take(name: Array(name.utf8).span.bytes, value.span.bytes)
    }

    /// The same without a copy of either: a log calls it some times for each record that it reads.
    package mutating func take(name: RawSpan, _ value: RawSpan) throws(LogError) {
        if name.holds("affinity") {
            guard value.byteCount == RecordStamp.length, value.bigEndian(at: 0, as: UInt8.self) == RecordStamp.layout
            else { throw LogError(.corrupt, "header affinity: \(value.byteCount) bytes of no known layout") }
            stamp = RecordStamp(
                epoch: Epoch(rawValue: value.bigEndian(at: 1)), number: value.bigEndian(at: 9),
                count: value.bigEndian(at: 17), acknowledged: value.bigEndian(at: 21))
        } else if name.holds("t") {
            guard value.byteCount == 8 else {
                throw LogError(.corrupt, "header t: \(value.byteCount) bytes instead of 8")
            }
            time = Timestamp(milliseconds: value.bigEndian(at: 0))
        } else if name.holds("tag") {
            tags.append(value.text)
        } else if name.holds("traceparent") {
            traceparent = value.text
        }
    }
}

extension RawSpan {
    /// Whether these are the bytes of `text`.
    fileprivate func holds(_ text: StaticString) -> Bool {
        guard byteCount == text.utf8CodeUnitCount else { return false }
        return withUnsafeBytes { $0.elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: byteCount)) }
    }

    fileprivate var text: String { withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }

    /// The number that stands at `index`, the most significant byte first. The caller has checked the length.
    fileprivate func bigEndian<Number: FixedWidthInteger>(
        at index: Int, as type: Number.Type = Number.self
    ) -> Number {
        precondition(index >= 0 && index + MemoryLayout<Number>.size <= byteCount)
        return withUnsafeBytes { Number(bigEndian: $0.loadUnaligned(fromByteOffset: index, as: Number.self)) }
    }
}

/// One record: key bytes, value bytes or none (a tombstone), and headers.
public struct Record: Hashable, Sendable {
    /// The key in the bytes of the store's serde.
    public var key: [UInt8]
    /// The value in the bytes of the store's serde; `nil` for a tombstone.
    public var value: [UInt8]?
    /// The headers.
    public var headers: RecordHeaders

    /// A record of those parts.
    public init(key: [UInt8], value: [UInt8]?, headers: RecordHeaders) {
        self.key = key
        self.value = value
        self.headers = headers
    }
}

extension [UInt8] {
    /// Appends the bytes of `value`, the most significant first.
    @inlinable package mutating func appendBigEndian<Number: FixedWidthInteger>(_ value: Number) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }

    /// The number that stands at `index`, the most significant byte first. The caller has checked the length.
    @inlinable package func bigEndian<Number: FixedWidthInteger>(
        at index: Int, as type: Number.Type = Number.self
    ) -> Number {
        precondition(index >= 0 && index + MemoryLayout<Number>.size <= count)
        return withUnsafeBytes { Number(bigEndian: $0.loadUnaligned(fromByteOffset: index, as: Number.self)) }
    }
}
