/// The first bytes of an item: what it is, and a number, which is its value, its length or the count of its elements.
struct CBORHead: Equatable {
    /// What an item is.
    enum Major: UInt8 {
        case unsigned, negative, bytes, text, array, map, tag, simple

        /// The first byte for the number 0.
        var first: UInt8 { rawValue << 5 }
    }

    static let `false`: UInt8 = 0xf4
    static let `true`: UInt8 = 0xf5
    static let null: UInt8 = 0xf6
    /// Numbers below it stand in the first byte.
    static let inlineLimit: UInt64 = 24

    var major: Major
    var argument: UInt64

    init(_ major: Major, _ argument: UInt64) {
        self.major = major
        self.argument = argument
    }

    /// How many bytes it takes.
    var size: Int {
        switch argument {
        case ..<Self.inlineLimit: 1
        case ...0xff: 2
        case ...0xffff: 3
        case ...0xffff_ffff: 5
        default: 9
        }
    }
}

/// A floating-point number: its first byte, which says the width, and those that follow, as one number.
struct CBORFloat: Equatable {
    static let half: UInt8 = 0xf9
    static let single: UInt8 = 0xfa
    static let double: UInt8 = 0xfb

    var first: UInt8
    var bits: UInt64

    /// As it was read, in whatever width.
    init(first: UInt8, bits: UInt64) {
        self.first = first
        self.bits = bits
    }

    /// In the shortest of the three widths in which it is the same; of those that are no number there is one.
    init(_ value: Double) {
        if value.isNaN {
            self.init(first: Self.half, bits: UInt64(Float16.nan.bitPattern))
        } else if let half = Float16(exactly: value) {
            self.init(first: Self.half, bits: UInt64(half.bitPattern))
        } else if let single = Float(exactly: value) {
            self.init(first: Self.single, bits: UInt64(single.bitPattern))
        } else {
            self.init(first: Self.double, bits: value.bitPattern)
        }
    }

    /// The number; `nil` if the first byte is that of something else.
    var value: Double? {
        switch first {
        case Self.half: Double(Float16(bitPattern: UInt16(truncatingIfNeeded: bits)))
        case Self.single: Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits)))
        case Self.double: Double(bitPattern: bits)
        default: nil
        }
    }
}

extension [UInt8] {
    mutating func append(_ head: CBORHead) {
        switch head.size {
        case 1: append(head.major.first | UInt8(head.argument))
        case 2: append(head.major.first | 24, UInt8(head.argument))
        case 3: append(head.major.first | 25, UInt16(head.argument))
        case 5: append(head.major.first | 26, UInt32(head.argument))
        default: append(head.major.first | 27, head.argument)
        }
    }

    mutating func append(_ number: CBORFloat) {
        switch number.first {
        case CBORFloat.half: append(number.first, UInt16(truncatingIfNeeded: number.bits))
        case CBORFloat.single: append(number.first, UInt32(truncatingIfNeeded: number.bits))
        default: append(number.first, number.bits)
        }
    }

    private mutating func append(_ first: UInt8, _ number: some FixedWidthInteger) {
        append(first)
        appendBigEndian(number)
    }

    /// The head at `place`, and where it ends; `nil` if it is cut off, or is none that an encoder writes.
    ///
    /// The number has the width that is written, which need not be the least.
    @inline(__always) func head(at place: Int) -> (head: CBORHead, end: Int)? {
        guard place < count, let major = CBORHead.Major(rawValue: self[place] >> 5) else { return nil }
        let low = self[place] & 0x1f
        if low < CBORHead.inlineLimit { return (CBORHead(major, UInt64(low)), place + 1) }
        guard low < 28, count - place > 1 << (low - 24) else { return nil }
        let argument: UInt64 =
            switch low {
            case 24: UInt64(self[place + 1])
            case 25: UInt64(bigEndian(at: place + 1, as: UInt16.self))
            case 26: UInt64(bigEndian(at: place + 1, as: UInt32.self))
            default: bigEndian(at: place + 1)
            }
        return (CBORHead(major, argument), place + 1 + 1 << (low - 24))
    }

    /// Where the item at `place` of checked bytes ends.
    func end(ofItemAt place: Int) -> Int {
        var (place, missing) = (place, 1)
        while missing > 0, let (head, end) = head(at: place) {
            place = end
            missing -= 1
            switch head.major {
            case .bytes, .text: place += Int(clamping: head.argument)
            case .array: missing += Int(clamping: head.argument)
            case .map: missing += 2 * Int(clamping: head.argument)
            default: break
            }
        }
        return place
    }

    /// Whether the text at one place stands before that at another in a map: their encoded bytes are compared, the head
    /// included, so shorter ones come first.
    func isKey(at a: Int, before b: Int) -> Bool {
        let end = end(ofItemAt: a)
        // The heads say the lengths: as long as the bytes are the same, the other text is not at its end.
        for (a, b) in zip(a..<end, b...) where self[a] != self[b] { return self[a] < self[b] }
        return false
    }

    /// How the text at `place` stands to another in a map.
    func compareKey(at place: Int, with other: UnsafeBufferPointer<UInt8>) -> CBORKeyOrder {
        guard let (head, start) = head(at: place) else { return .behind }
        let count = Int(clamping: head.argument)
        if count != other.count { return count < other.count ? .before : .behind }
        for index in 0..<count where self[start + index] != other[index] {
            return self[start + index] < other[index] ? .before : .behind
        }
        return .same(end: start + count)
    }

    /// The text at `place` of checked bytes.
    func key(at place: Int) -> String {
        guard let start = head(at: place)?.end else { return "" }
        return String(decoding: self[start..<end(ofItemAt: place)], as: UTF8.self)
    }
}

/// How the text of a key stands to another.
enum CBORKeyOrder {
    case before, behind
    /// It is the same, and ends there.
    case same(end: Int)
}
