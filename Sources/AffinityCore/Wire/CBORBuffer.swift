/// Bytes that are being written: items one behind the other.
///
/// A map or an array begins with a head of one byte, which says how many elements there are; it is set when they are
/// all there, and widened where one byte is too little.
struct CBORBuffer {
    /// How far it was written, for going back there.
    struct Mark {
        fileprivate var bytes: Int
        fileprivate var entries: Int
    }

    private(set) var bytes: [UInt8] = []
    /// Where the entries of all maps begin that are being written, those of inner maps behind those of outer ones.
    private var entries: [Int] = []

    init() { bytes.reserveCapacity(256) }

    var mark: Mark { Mark(bytes: bytes.count, entries: entries.count) }

    mutating func goBack(to mark: Mark) {
        bytes.removeSubrange(mark.bytes...)
        entries.removeSubrange(mark.entries...)
    }

    // MARK: - Values

    /// Appends a value that has no parts; returns whether it is one. In calls with a type that is known only one of the
    /// lines is left.
    @inline(__always) mutating func append<T>(_ value: T) -> Bool {
        if let value = identical(value, [UInt8].self) {
            append(value)
        } else if let value = identical(value, String.self) {
            append(value)
        } else if let value = identical(value, Int.self) {
            append(Int64(value))
        } else if let value = identical(value, UInt64.self) {
            bytes.append(CBORHead(.unsigned, value))
        } else if let value = identical(value, Bool.self) {
            bytes.append(value ? CBORHead.true : CBORHead.false)
        } else if let value = identical(value, Double.self) {
            bytes.append(CBORFloat(value))
        } else if let value = identical(value, Int64.self) {
            append(value)
        } else if let value = identical(value, Int32.self) {
            append(Int64(value))
        } else if let value = identical(value, Int16.self) {
            append(Int64(value))
        } else if let value = identical(value, Int8.self) {
            append(Int64(value))
        } else if let value = identical(value, UInt.self) {
            bytes.append(CBORHead(.unsigned, UInt64(value)))
        } else if let value = identical(value, UInt32.self) {
            bytes.append(CBORHead(.unsigned, UInt64(value)))
        } else if let value = identical(value, UInt16.self) {
            bytes.append(CBORHead(.unsigned, UInt64(value)))
        } else if let value = identical(value, UInt8.self) {
            bytes.append(CBORHead(.unsigned, UInt64(value)))
        } else if let value = identical(value, Float.self) {
            bytes.append(CBORFloat(Double(value)))
        } else if let value = identical(value, Version.self) {
            // As it codes itself: it stands in most replies.
            bytes.append(CBORHead(.unsigned, value.rawValue))
        } else {
            return false
        }
        return true
    }

    mutating func appendNull() { bytes.append(CBORHead.null) }

    private mutating func append(_ value: Int64) {
        bytes.append(CBORHead(value < 0 ? .negative : .unsigned, UInt64(bitPattern: value < 0 ? ~value : value)))
    }

    private mutating func append(_ value: [UInt8]) {
        bytes.append(CBORHead(.bytes, UInt64(value.count)))
        bytes.append(contentsOf: value)
    }

    private mutating func append(_ value: String) {
        bytes.append(CBORHead(.text, UInt64(value.utf8.count)))
        bytes.append(contentsOf: value.utf8)
    }

    // MARK: - Containers

    /// Begins a map or an array.
    mutating func begin() -> Mark {
        let mark = mark
        bytes.append(0)
        return mark
    }

    mutating func beginEntry(_ key: String) {
        entries.append(bytes.count)
        append(key)
    }

    mutating func endArray(from start: Mark, count: Int) { setHead(.array, count, at: start.bytes) }

    /// Ends a map: its entries are put into the order of their keys.
    ///
    /// - Returns: whether all keys are different.
    mutating func endMap(from start: Mark) -> Bool {
        let starts = Array(entries[start.entries...])
        entries.removeSubrange(start.entries...)
        guard isSorted(starts) || sort(starts) else { return false }
        setHead(.map, starts.count, at: start.bytes)
        return true
    }

    private func isSorted(_ keys: [Int]) -> Bool {
        zip(keys, keys.dropFirst()).allSatisfy { bytes.isKey(at: $0, before: $1) }
    }

    private mutating func sort(_ starts: [Int]) -> Bool {
        let ends = starts.dropFirst() + [bytes.count]
        let sorted = zip(starts, ends).sorted { bytes.isKey(at: $0.0, before: $1.0) }
        let first = starts[0]
        let old = Array(bytes[first...])
        let isUnique = isSorted(sorted.map(\.0))
        bytes.removeSubrange(first...)
        for (start, end) in sorted { bytes += old[(start - first)..<(end - first)] }
        return isUnique
    }

    private mutating func setHead(_ major: CBORHead.Major, _ count: Int, at place: Int) {
        guard count >= CBORHead.inlineLimit else { return bytes[place] = major.first | UInt8(count) }
        var head: [UInt8] = []
        head.append(CBORHead(major, UInt64(count)))
        bytes.replaceSubrange(place...place, with: head)
    }

    // MARK: - What was written apart

    /// Puts bytes where they belong in the container that began at `start`; its entries move with what they are.
    mutating func insert(_ parts: [(place: Mark, bytes: [UInt8])], from start: Mark) {
        guard let first = parts.first?.place.bytes else { return }
        let old = Array(bytes[first...])
        bytes.removeSubrange(first...)
        var place = 0
        for part in parts {
            bytes += old[place..<(part.place.bytes - first)]
            bytes += part.bytes
            place = part.place.bytes - first
        }
        bytes += old[place...]
        moveEntries(from: start, behind: parts)
    }

    private mutating func moveEntries(from start: Mark, behind parts: [(place: Mark, bytes: [UInt8])]) {
        var rest = parts[...]
        var distance = 0
        for index in start.entries..<entries.count {
            while let part = rest.first, part.place.bytes <= entries[index] {
                distance += part.bytes.count
                rest.removeFirst()
            }
            entries[index] += distance
        }
    }
}
