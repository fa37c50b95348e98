/// Reads the fields of a payload one after the other.
struct FieldReader {
    private(set) var rest: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    mutating func bytes(_ count: Int) throws(MalformedFrame) -> UnsafeRawBufferPointer {
        guard count <= rest.count else { throw MalformedFrame("a frame ends within a field") }
        defer { rest = UnsafeRawBufferPointer(rebasing: rest[count...]) }
        return UnsafeRawBufferPointer(rebasing: rest[..<count])
    }

    mutating func number<Number: FixedWidthInteger>(_: Number.Type) throws(MalformedFrame) -> Number {
        Number(bigEndian: try bytes(MemoryLayout<Number>.size).loadUnaligned(as: Number.self))
    }

    mutating func name() throws(MalformedFrame) -> UnsafeRawBufferPointer {
        try bytes(Int(try number(UInt8.self)))
    }

    /// A name as text; what is no UTF-8 comes as replacement characters, which no name here has.
    mutating func text() throws(MalformedFrame) -> String { String(decoding: try name(), as: UTF8.self) }
}

/// Writes fields one after the other to a buffer that has room for them.
struct FieldWriter {
    private let buffer: UnsafeMutableRawBufferPointer
    private var at = 0

    init(_ buffer: UnsafeMutableRawBufferPointer) { self.buffer = buffer }

    mutating func put<Number: FixedWidthInteger>(_ number: Number) {
        buffer.storeBytes(of: number.bigEndian, toByteOffset: at, as: Number.self)
        at += MemoryLayout<Number>.size
    }

    mutating func put(_ bytes: [UInt8]) {
        UnsafeMutableRawBufferPointer(rebasing: buffer[at...]).copyBytes(from: bytes)
        at += bytes.count
    }

    mutating func put(_ text: inout String) {
        at += text.withUTF8 { utf8 in
            UnsafeMutableRawBufferPointer(rebasing: buffer[at...]).copyBytes(from: utf8)
            return utf8.count
        }
    }

    /// The header of a frame with `payload` bytes behind it.
    mutating func putHeader(_ kind: FrameKind, _ id: UInt64, payload: Int) {
        put(UInt32(truncatingIfNeeded: FrameHeader.count - FrameHeader.uncounted + payload))
        put(kind.rawValue)
        put(id)
    }
}

extension [UInt8] {
    /// Appends a length and the bytes.
    ///
    /// - Precondition: there are at most 255.
    mutating func appendName(_ name: some Sequence<UInt8>) {
        let bytes = Array(name)
        append(UInt8(bytes.count))
        append(contentsOf: bytes)
    }
}
