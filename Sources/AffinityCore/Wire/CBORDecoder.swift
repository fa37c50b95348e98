/// What a type's `init(from:)` is given: reads one value from checked bytes.
final class CBORDecoder: Decoder {
    fileprivate let bytes: [UInt8]
    private let place: Int
    private let parent: CBORDecoder?
    private let key: (any CodingKey)?

    /// Reads the item at `place`.
    init(_ bytes: [UInt8], at place: Int, within parent: CBORDecoder?, key: (any CodingKey)?) {
        self.bytes = bytes
        self.place = place
        self.parent = parent
        self.key = key
    }

    var codingPath: [any CodingKey] { (parent?.codingPath ?? []) + (key.map { [$0] } ?? []) }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        KeyedDecodingContainer(CBORMapDecoder(decoder: self, places: try places()))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        let (count, start) = try elements(.array, "an array")
        return CBORArrayDecoder(decoder: self, place: start, total: count)
    }

    func singleValueContainer() -> any SingleValueDecodingContainer { self }

    /// Where the keys of a map begin.
    private func places() throws(CBORError) -> [Int] {
        let (count, start) = try elements(.map, "a map")
        var place = start
        var places: [Int] = []
        places.reserveCapacity(count)
        for _ in 0..<count {
            places.append(place)
            place = bytes.end(ofItemAt: bytes.end(ofItemAt: place))
        }
        return places
    }

    /// How many elements this value has, and where the first begins.
    private func elements(_ major: CBORHead.Major, _ wanted: String) throws(CBORError) -> (count: Int, start: Int) {
        guard let (head, end) = bytes.head(at: place), head.major == major else {
            throw mismatch(wanted, at: place, nil)
        }
        return (Int(clamping: head.argument), end)
    }

    // MARK: - Values

    /// Reads the item at `place`.
    ///
    /// - Parameter key: where it stands within this value; `nil` if it is this value.
    fileprivate func value<T: Decodable>(_ type: T.Type, at place: Int, _ key: (any CodingKey)?) throws -> T {
        if type == [UInt8].self { return same(Array(try payload(.bytes, at: place, key)), type) }
        if type == String.self {
            return same(String(decoding: try payload(.text, at: place, key), as: UTF8.self), type)
        }
        if type == Int.self { return same(try integer(Int.self, at: place, key), type) }
        if type == UInt64.self { return same(try integer(UInt64.self, at: place, key), type) }
        if type == Bool.self { return same(try bool(at: place, key), type) }
        if type == Double.self { return same(try float(Double.self, at: place, key), type) }
        if type == Int64.self { return same(try integer(Int64.self, at: place, key), type) }
        if type == Int32.self { return same(try integer(Int32.self, at: place, key), type) }
        if type == Int16.self { return same(try integer(Int16.self, at: place, key), type) }
        if type == Int8.self { return same(try integer(Int8.self, at: place, key), type) }
        if type == UInt.self { return same(try integer(UInt.self, at: place, key), type) }
        if type == UInt32.self { return same(try integer(UInt32.self, at: place, key), type) }
        if type == UInt16.self { return same(try integer(UInt16.self, at: place, key), type) }
        if type == UInt8.self { return same(try integer(UInt8.self, at: place, key), type) }
        if type == Float.self { return same(try float(Float.self, at: place, key), type) }
        if type == Version.self { return same(Version(try integer(UInt64.self, at: place, key)), type) }
        return try T(from: CBORDecoder(bytes, at: place, within: self, key: key))
    }

    fileprivate func isNull(at place: Int) -> Bool { bytes[place] == CBORHead.null }

    private func payload(
        _ major: CBORHead.Major, at place: Int, _ key: (any CodingKey)?
    ) throws(CBORError) -> ArraySlice<UInt8> {
        guard let (head, end) = bytes.head(at: place), head.major == major else {
            throw mismatch(major == .text ? "a text" : "bytes", at: place, key)
        }
        return bytes[end..<end + Int(head.argument)]
    }

    private func integer<Number: FixedWidthInteger>(
        _ type: Number.Type, at place: Int, _ key: (any CodingKey)?
    ) throws(CBORError) -> Number {
        guard let head = bytes.head(at: place)?.head, head.major == .unsigned || head.major == .negative else {
            throw mismatch("an integer", at: place, key)
        }
        // The negative number is -1 - argument.
        let isNegative = head.major == .negative
        let number =
            isNegative ? Int64(exactly: head.argument).flatMap { Number(exactly: ~$0) } : Number(exactly: head.argument)
        guard let number else { throw error("\(isNegative ? "-1 - " : "")\(head.argument) is no \(type)", key) }
        return number
    }

    private func bool(at place: Int, _ key: (any CodingKey)?) throws(CBORError) -> Bool {
        switch bytes[place] {
        case CBORHead.true: true
        case CBORHead.false: false
        default: throw mismatch("a Bool", at: place, key)
        }
    }

    private func float<Number: BinaryFloatingPoint>(
        _ type: Number.Type, at place: Int, _ key: (any CodingKey)?
    ) throws(CBORError) -> Number {
        let bits = bytes.head(at: place)?.head.argument ?? 0
        guard let value = CBORFloat(first: bytes[place], bits: bits).value else {
            throw mismatch("a floating-point number", at: place, key)
        }
        guard let number = value.isNaN ? .nan : Number(exactly: value) else {
            throw error("\(value) is no \(type)", key)
        }
        return number
    }

    // MARK: - Errors

    fileprivate func error(_ reason: String, _ key: (any CodingKey)?) -> CBORError {
        CBORError(.mismatch, reason, at: codingPath + (key.map { [$0] } ?? []))
    }

    fileprivate func mismatch(_ wanted: String, at place: Int, _ key: (any CodingKey)?) -> CBORError {
        error("\(found(at: place)) instead of \(wanted)", key)
    }

    private func found(at place: Int) -> String {
        switch bytes.head(at: place)?.head.major {
        case .unsigned, .negative: "an integer"
        case .bytes: "bytes"
        case .text: "a text"
        case .array: "an array"
        case .map: "a map"
        case .simple where isNull(at: place): "null"
        case .simple: bytes[place] <= CBORHead.true ? "a Bool" : "a floating-point number"
        case .tag, nil: "nothing"
        }
    }
}

// MARK: - Containers

extension CBORDecoder: SingleValueDecodingContainer {
    func decodeNil() -> Bool { isNull(at: place) }

    func decode<T: Decodable>(_ type: T.Type) throws -> T { try value(type, at: place, nil) }
}

/// Reads the entries of a map.
private struct CBORMapDecoder<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let decoder: CBORDecoder
    /// Where the keys begin, in their order.
    let places: [Int]

    var codingPath: [any CodingKey] { decoder.codingPath }
    var allKeys: [Key] { places.compactMap { Key(stringValue: decoder.bytes.key(at: $0)) } }

    func contains(_ key: Key) -> Bool { place(of: key) != nil }
    func decodeNil(forKey key: Key) throws -> Bool { decoder.isNull(at: try found(key)) }
    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
        try decoder.value(type, at: try found(key), key)
    }

    func nestedContainer<NestedKey: CodingKey>(
        keyedBy type: NestedKey.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<NestedKey> { try nested(key).container(keyedBy: type) }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try nested(key).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder { try nested(CBORKey.superclass) }
    func superDecoder(forKey key: Key) throws -> any Decoder { try nested(key) }

    private func nested(_ key: some CodingKey) throws(CBORError) -> CBORDecoder {
        CBORDecoder(decoder.bytes, at: try found(key), within: decoder, key: key)
    }

    private func found(_ key: some CodingKey) throws(CBORError) -> Int {
        guard let place = place(of: key) else { throw decoder.error("no value", key) }
        return place
    }

    /// Where the value begins that stands under a key.
    private func place(of key: some CodingKey) -> Int? {
        let name = key.stringValue.utf8
        return name.withContiguousStorageIfAvailable(search) ?? Array(name).withUnsafeBufferPointer(search)
    }

    private func search(_ name: UnsafeBufferPointer<UInt8>) -> Int? {
        var range = places.indices
        while let middle = range.isEmpty ? nil : range.lowerBound + range.count / 2 {
            switch decoder.bytes.compareKey(at: places[middle], with: name) {
            case .same(let end): return end
            case .before: range = middle + 1..<range.upperBound
            case .behind: range = range.lowerBound..<middle
            }
        }
        return nil
    }
}

/// Reads the elements of an array.
private struct CBORArrayDecoder: UnkeyedDecodingContainer {
    let decoder: CBORDecoder
    /// Where the next element begins.
    var place: Int
    let total: Int
    var currentIndex = 0

    var codingPath: [any CodingKey] { decoder.codingPath }
    var count: Int? { total }
    var isAtEnd: Bool { currentIndex >= total }

    mutating func decodeNil() throws -> Bool {
        guard decoder.isNull(at: try next()) else { return false }
        advance()
        return true
    }

    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T {
        let value = try decoder.value(type, at: try next(), CBORKey.index(currentIndex))
        advance()
        return value
    }

    mutating func nestedContainer<NestedKey: CodingKey>(
        keyedBy type: NestedKey.Type
    ) throws -> KeyedDecodingContainer<NestedKey> { try nested { try $0.container(keyedBy: type) } }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        try nested { try $0.unkeyedContainer() }
    }

    mutating func superDecoder() throws -> any Decoder { try nested { $0 } }

    private mutating func nested<Result>(_ body: (CBORDecoder) throws -> Result) throws -> Result {
        let key = CBORKey.index(currentIndex)
        let result = try body(CBORDecoder(decoder.bytes, at: try next(), within: decoder, key: key))
        advance()
        return result
    }

    private func next() throws(CBORError) -> Int {
        if isAtEnd { throw decoder.error("no more elements", CBORKey.index(currentIndex)) }
        return place
    }

    private mutating func advance() {
        place = decoder.bytes.end(ofItemAt: place)
        currentIndex += 1
    }
}
