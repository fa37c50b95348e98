/// Writes values into one array of bytes.
///
/// A map or an array begins with a head of one byte, which says how many elements there are; the head is set when they
/// are all there, and widened where one byte is too little.
final class CBORWriter {
    /// What can be undone.
    struct Mark {
        fileprivate var bytes: Int
        fileprivate var entries: Int
        fileprivate var writing: ObjectIdentifier?
    }

    private(set) var bytes: [UInt8] = []
    /// Where the entries of all maps begin that are being written, those of inner maps behind those of outer ones.
    private(set) var entries: [Int] = []
    /// The encoder whose turn it is: of a value that is being written, all others wait or have ended.
    var writing: ObjectIdentifier?
    /// The first mistake that was made where nothing can be thrown.
    var failure: CBORError?

    // MARK: - Values

    /// Writes a value, or nothing if that throws.
    ///
    /// - Parameter key: where it stands within `parent`; `nil` if it is all that the parent writes.
    func write<T: Encodable>(_ value: T, within parent: CBOREncoder?, _ key: (some CodingKey)?) throws {
        if writeAtom(value) { return }
        let mark = mark
        defer { writing = mark.writing }
        do {
            let encoder = try CBOREncoder(self, within: parent, key)
            writing = ObjectIdentifier(encoder)
            try value.encode(to: encoder)
            try encoder.finish()
        } catch {
            undo(to: mark)
            throw error
        }
    }

    /// Writes a value that has no parts; returns whether it is one. In calls with a type that is known only one of the
    /// lines is left.
    @inline(__always) private func writeAtom<T>(_ value: T) -> Bool {
        if let value = identical(value, [UInt8].self) {
            writeBytes(value)
        } else if let value = identical(value, String.self) {
            writeText(value)
        } else if let value = identical(value, Int.self) {
            writeSigned(value)
        } else if let value = identical(value, UInt64.self) {
            writeHead(.unsigned, value)
        } else if let value = identical(value, Bool.self) {
            bytes.append(value ? CBORHead.true : CBORHead.false)
        } else if let value = identical(value, Double.self) {
            writeFloat(value)
        } else if let value = identical(value, ArraySlice<UInt8>.self) {
            writeBytes(value)
        } else if let value = identical(value, Int64.self) {
            writeSigned(value)
        } else if let value = identical(value, Int32.self) {
            writeSigned(value)
        } else if let value = identical(value, Int16.self) {
            writeSigned(value)
        } else if let value = identical(value, Int8.self) {
            writeSigned(value)
        } else if let value = identical(value, UInt.self) {
            writeHead(.unsigned, UInt64(value))
        } else if let value = identical(value, UInt32.self) {
            writeHead(.unsigned, UInt64(value))
        } else if let value = identical(value, UInt16.self) {
            writeHead(.unsigned, UInt64(value))
        } else if let value = identical(value, UInt8.self) {
            writeHead(.unsigned, UInt64(value))
        } else if let value = identical(value, Float.self) {
            writeFloat(Double(value))
        } else {
            return false
        }
        return true
    }

    func writeNull() { bytes.append(CBORHead.null) }

    private func writeSigned(_ value: some SignedInteger & FixedWidthInteger) {
        let value = Int64(value)
        writeHead(value < 0 ? .negative : .unsigned, UInt64(bitPattern: value < 0 ? ~value : value))
    }

    private func writeBytes(_ value: some Collection<UInt8>) {
        writeHead(.bytes, UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    private func writeText(_ value: String) {
        writeHead(.text, UInt64(value.utf8.count))
        bytes.append(contentsOf: value.utf8)
    }

    private func writeFloat(_ value: Double) { bytes += CBORFloat(value).bytes }

    private func writeHead(_ major: CBORHead.Major, _ argument: UInt64) {
        if argument < CBORHead.inlineLimit {
            bytes.append(major.first | UInt8(argument))
        } else {
            bytes += CBORHead(major, argument).bytes
        }
    }

    // MARK: - Containers

    /// Leaves room for the head of a map or an array.
    func reserveHead() { bytes.append(0) }

    func beginEntry(_ key: some CodingKey) {
        entries.append(bytes.count)
        writeText(key.stringValue)
    }

    /// Sets the head that was reserved at `place`.
    func setHead(_ major: CBORHead.Major, _ count: Int, at place: Int) {
        let head = CBORHead(major, UInt64(count)).bytes
        if head.count == 1 { bytes[place] = head[0] } else { bytes.replaceSubrange(place...place, with: head) }
    }

    /// Puts texts that were written apart where they belong; the entries from `first` on are moved with what they are.
    func insert(_ texts: [(place: Int, bytes: [UInt8])], movingEntriesFrom first: Int) {
        guard var place = texts.first?.place else { return }
        let tail = bytes[place...]
        bytes.removeSubrange(place...)
        for text in texts {
            bytes += tail[place..<text.place]
            bytes += text.bytes
            place = text.place
        }
        bytes += tail[place...]
        moveEntries(from: first, behind: texts)
    }

    private func moveEntries(from first: Int, behind texts: [(place: Int, bytes: [UInt8])]) {
        var rest = texts[...]
        var distance = 0
        for index in first..<entries.count {
            while let text = rest.first, text.place <= entries[index] {
                distance += text.bytes.count
                rest.removeFirst()
            }
            entries[index] += distance
        }
    }

    /// Puts the entries from `first` on into the order of their keys, and forgets where they begin.
    ///
    /// - Returns: how many there are; `nil` if a key is there twice.
    func endEntries(from first: Int) -> Int? {
        defer { entries.removeSubrange(first...) }
        let starts = entries[first...]
        if zip(starts, starts.dropFirst()).allSatisfy(bytes.isKey(at:before:)) { return starts.count }
        let ends = starts.dropFirst() + [bytes.count]
        let sorted = zip(starts, ends).sorted { bytes.isKey(at: $0.0, before: $1.0) }
        for (a, b) in zip(sorted, sorted.dropFirst()) where !bytes.isKey(at: a.0, before: b.0) { return nil }
        let old = bytes[entries[first]...]
        bytes.removeSubrange(entries[first]...)
        for (start, end) in sorted { bytes += old[start..<end] }
        return starts.count
    }

    // MARK: - Undoing

    var mark: Mark { Mark(bytes: bytes.count, entries: entries.count, writing: writing) }

    func undo(to mark: Mark) {
        bytes.removeSubrange(mark.bytes...)
        entries.removeSubrange(mark.entries...)
        writing = mark.writing
    }
}
