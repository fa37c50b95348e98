/// Writes fields one behind the other: numbers in network order, texts and bytes behind their length.
struct FieldWriter {
    private(set) var bytes: [UInt8]

    /// - Parameter capacity: about how many bytes there will be.
    init(capacity: Int) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    mutating func write<Number: FixedWidthInteger>(_ number: Number) {
        withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func write(_ text: String) {
        var text = text
        text.withUTF8 { utf8 in
            write(UInt32(clamping: utf8.count))
            bytes.append(contentsOf: utf8)
        }
    }

    mutating func write(_ field: [UInt8]) {
        write(UInt32(clamping: field.count))
        bytes.append(contentsOf: field)
    }

    mutating func write(_ position: [Int64]) {
        write(UInt32(clamping: position.count))
        for offset in position { write(offset) }
    }

    /// What is left needs no length.
    mutating func writeRest(_ field: [UInt8]) { bytes.append(contentsOf: field) }
}

/// Reads what a `FieldWriter` has written; everything is checked, for it comes from another node.
struct FieldReader {
    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func number<Number: FixedWidthInteger>(_ type: Number.Type = Number.self) throws(CBORError) -> Number {
        let width = MemoryLayout<Number>.size
        let range = try take(width)
        return bytes.withUnsafeBytes {
            Number(bigEndian: $0.loadUnaligned(fromByteOffset: range.lowerBound, as: Number.self))
        }
    }

    mutating func text() throws(CBORError) -> String {
        let range = try takeField()
        guard let text = String(validating: bytes[range], as: UTF8.self) else { throw damaged }
        return text
    }

    mutating func field() throws(CBORError) -> [UInt8] { Array(bytes[try takeField()]) }

    mutating func position() throws(CBORError) -> [Int64] {
        let count = Int(try number(UInt32.self))
        // Before anything is made room for.
        guard count <= (bytes.count - place) / 8 else { throw damaged }
        var position: [Int64] = []
        position.reserveCapacity(count)
        for _ in 0..<count { position.append(try number()) }
        return position
    }

    mutating func rest() -> [UInt8] {
        defer { place = bytes.count }
        return Array(bytes[place...])
    }

    private mutating func takeField() throws(CBORError) -> Range<Int> { try take(Int(try number(UInt32.self))) }

    private mutating func take(_ count: Int) throws(CBORError) -> Range<Int> {
        guard count <= bytes.count - place else { throw damaged }
        defer { place += count }
        return place..<place + count
    }

    private var damaged: CBORError { CBORError(.malformed, "field at byte \(place) of \(bytes.count) is damaged") }
}
