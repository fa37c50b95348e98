internal import AffinityCore
internal import AffinityRocksDB

/// The bytes of a record in the log.
///
/// checksum (4, CRC-32C of the offset and of all that follows), layout (1), append time (8), key length (4), key,
/// 1 and value length (4) and value or 0 for a tombstone, then for each header name length (1), name, length (4),
/// bytes. Numbers are big-endian. Whatever is read from a disk is checked before it is believed.
enum RecordCodec {
    private static let layout: UInt8 = 1

    /// The bytes of a record.
    static func encode(_ record: Record, at offset: Offset, appended: Timestamp) -> [UInt8] {
        var count = 22 + record.key.count + (record.value?.count ?? 0)
        record.headers.forEach { name, value in count += 5 + name.utf8CodeUnitCount + value.byteCount }
        var bytes = ByteWriter.bytes(count: count) { bytes in
            bytes.put(UInt32(0))
            bytes.put(layout)
            bytes.put(appended.milliseconds)
            bytes.put(UInt32(truncatingIfNeeded: record.key.count))
            bytes.put(record.key)
            bytes.put(UInt8(record.value == nil ? 0 : 1))
            if let value = record.value {
                bytes.put(UInt32(truncatingIfNeeded: value.count))
                bytes.put(value)
            }
            record.headers.forEach { name, value in
                bytes.put(UInt8(truncatingIfNeeded: name.utf8CodeUnitCount))
                bytes.put(UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
                bytes.put(UInt32(truncatingIfNeeded: value.byteCount))
                bytes.put(value)
            }
        }
        bytes.withUnsafeMutableBytes { bytes in
            let checksum = checksum(UnsafeRawBufferPointer(rebasing: bytes[4...]), at: offset)
            bytes.storeBytes(of: checksum.bigEndian, as: UInt32.self)
        }
        return bytes
    }

    /// How many bytes the record takes, at least; never less than what its key and value take.
    static func size(_ record: Record) -> Int {
        var size = 24 + record.key.count + (record.value?.count ?? 0) + 40 + 16
        for tag in record.headers.tags { size += 8 + tag.utf8.count }
        return size + (record.headers.traceparent?.utf8.count ?? 0)
    }

    /// What compaction has to know of a record; `nil` if the bytes are not one.
    static func outline(
        _ bytes: UnsafeRawBufferPointer, at offset: Offset
    ) -> (key: [UInt8], appended: Timestamp, isTombstone: Bool)? {
        guard var reader = open(bytes, at: offset) else { return nil }
        guard let time = reader.number(Int64.self), let key = reader.counted(), let flag = reader.number(UInt8.self)
        else { return nil }
        return ([UInt8](key), Timestamp(milliseconds: time), flag == 0)
    }

    /// The record; `nil` if the bytes are not one.
    static func decode(_ bytes: UnsafeRawBufferPointer, at offset: Offset) -> LoggedRecord? {
        guard var reader = open(bytes, at: offset) else { return nil }
        guard let time = reader.number(Int64.self), let key = reader.counted(), let flag = reader.number(UInt8.self),
            flag <= 1
        else { return nil }
        var record = Record(key: [UInt8](key), value: nil, headers: RecordHeaders())
        if flag == 1 {
            guard let value = reader.counted() else { return nil }
            record.value = [UInt8](value)
        }
        while !reader.isAtEnd {
            guard let length = reader.number(UInt8.self), let name = reader.bytes(Int(length)),
                let value = reader.counted()
            else { return nil }
            do {
                try record.headers.take(
                    name: UnsafeRawBufferPointer(rebasing: name).bytes, UnsafeRawBufferPointer(rebasing: value).bytes)
            } catch {
                return nil
            }
        }
        return LoggedRecord(offset: offset, appended: Timestamp(milliseconds: time), record: record)
    }

    // MARK: - Private

    private static func open(_ bytes: UnsafeRawBufferPointer, at offset: Offset) -> Reader? {
        guard bytes.count >= 5 else { return nil }
        let body = UnsafeRawBufferPointer(rebasing: bytes[4...])
        let stored = UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self))
        guard stored == checksum(body, at: offset), body[0] == layout else { return nil }
        return Reader(rest: body.dropFirst())
    }

    /// The offset counts, so that a record that turns up at another place is found out.
    private static func checksum(_ body: UnsafeRawBufferPointer, at offset: Offset) -> UInt32 {
        let first = withUnsafeBytes(of: offset.rawValue.bigEndian) { CRC32C.checksum($0) }
        return CRC32C.checksum(body, continuing: first)
    }

    /// Takes parts off the front as long as there are enough bytes.
    private struct Reader {
        var rest: Slice<UnsafeRawBufferPointer>

        var isAtEnd: Bool { rest.isEmpty }

        mutating func bytes(_ count: Int) -> Slice<UnsafeRawBufferPointer>? {
            guard count >= 0 && count <= rest.count else { return nil }
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count)
        }

        mutating func number<Number: FixedWidthInteger>(_: Number.Type) -> Number? {
            guard let bytes = bytes(MemoryLayout<Number>.size) else { return nil }
            return Number(bigEndian: UnsafeRawBufferPointer(rebasing: bytes).loadUnaligned(as: Number.self))
        }

        /// A length of four bytes and as many bytes.
        mutating func counted() -> Slice<UnsafeRawBufferPointer>? {
            guard let length = number(UInt32.self) else { return nil }
            return bytes(Int(length))
        }
    }
}
