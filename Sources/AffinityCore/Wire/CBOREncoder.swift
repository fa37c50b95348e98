/// What a type's `encode(to:)` is given: writes one value.
///
/// What is written by a call that has returned stands in the writer. Only what a type asks for by `nestedContainer` or
/// `superEncoder` may be written later; so it has a writer of its own, and is put into its place in the end.
final class CBOREncoder: Encoder {
    private enum Kind { case nothing, single, array, map }

    private let writer: CBORWriter
    private let depth: Int
    private let parent: CBOREncoder?
    /// Where a value stands that has no parent.
    private let path: [any CodingKey]
    private let key: (any CodingKey)?
    private var kind = Kind.nothing
    /// Where a container begins.
    private var start: CBORBuffer.Mark
    /// How many elements an array has.
    fileprivate private(set) var count = 0
    private var nested: [(place: CBORBuffer.Mark, encoder: CBOREncoder)] = []

    /// Writes a value by `writer`, the one of its parent if it has one.
    init(_ writer: CBORWriter, within parent: CBOREncoder?, _ key: (any CodingKey)?) throws(CBORError) {
        self.writer = writer
        self.parent = parent
        self.key = key
        path = []
        start = writer.buffer.mark
        depth = (parent?.depth ?? 0) + 1
        if depth > CBOR.maxDepth { throw .tooDeep }
    }

    /// Writes apart. The outer encoder keeps this one, and is not kept by it.
    private init(apartFrom outer: CBOREncoder, _ key: any CodingKey) {
        writer = CBORWriter()
        parent = nil
        path = outer.codingPath
        start = writer.buffer.mark
        self.key = key
        depth = outer.depth + 1
        writer.writing = ObjectIdentifier(self)
        if depth > CBOR.maxDepth { writer.failure = .tooDeep }
    }

    var codingPath: [any CodingKey] { (parent?.codingPath ?? path) + (key.map { [$0] } ?? []) }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        begin(.map)
        return KeyedEncodingContainer(CBORMapEncoder(encoder: self))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        begin(.array)
        return CBORArrayEncoder(encoder: self)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }

    // MARK: - What containers do

    /// A type may ask for its container as often as it likes: its superclass has the same one.
    private func begin(_ kind: Kind) {
        if self.kind == kind { return }
        guard self.kind == .nothing, isWriting else { return fail() }
        self.kind = kind
        start = writer.buffer.begin()
    }

    private var isWriting: Bool { writer.writing == ObjectIdentifier(self) }

    private var misuse: CBORError {
        CBORError(.misuse, "encodes two values in one place, or into one whose turn is over", at: codingPath)
    }

    private func fail() { writer.failure = writer.failure ?? misuse }

    /// Writes an entry of a map, or nothing if that throws.
    fileprivate func entry<Key: CodingKey>(_ key: Key, _ write: () throws -> Void) throws {
        guard isWriting, kind == .map else { throw misuse }
        let name = key.stringValue
        try writer.undoingFailure {
            writer.buffer.beginEntry(name)
            try write()
        }
    }

    /// Writes an element of an array.
    fileprivate func element(_ write: () throws -> Void) throws {
        guard isWriting, kind == .array else { throw misuse }
        try writer.undoingFailure(write)
        count += 1
    }

    fileprivate func write<T: Encodable>(_ value: T, _ key: (any CodingKey)?) throws {
        try writer.write(value, within: self, key)
    }

    fileprivate func writeNull() { writer.buffer.appendNull() }

    /// An encoder for what is put here in the end.
    fileprivate func nest(_ key: some CodingKey) -> CBOREncoder {
        let encoder = CBOREncoder(apartFrom: self, key)
        nested.append((writer.buffer.mark, encoder))
        return encoder
    }

    fileprivate func nestEntry(_ key: some CodingKey) -> CBOREncoder {
        do { try entry(key) {} } catch { fail() }
        return nest(key)
    }

    fileprivate func nestElement() -> CBOREncoder {
        let key = CBORKey.index(count)
        do { try element {} } catch { fail() }
        return nest(key)
    }

    // MARK: - The end

    /// Completes the value; a type that asks for no container is an empty map.
    func finish() throws(CBORError) {
        if kind == .nothing { begin(.map) }
        defer { writer.writing = nil }
        if kind == .single { return }
        try insertNested()
        if kind == .array { return writer.buffer.endArray(from: start, count: count) }
        guard writer.buffer.endMap(from: start) else {
            throw CBORError(.misuse, "encodes a key twice", at: codingPath)
        }
    }

    private func insertNested() throws(CBORError) {
        if nested.isEmpty { return }
        var parts: [(place: CBORBuffer.Mark, bytes: [UInt8])] = []
        for (place, encoder) in nested { parts.append((place, try encoder.finished())) }
        nested = []
        writer.buffer.insert(parts, from: start)
    }

    private func finished() throws(CBORError) -> [UInt8] {
        try finish()
        if let failure = writer.failure { throw failure }
        return writer.buffer.bytes
    }
}

extension CBORError {
    fileprivate static let tooDeep = CBORError(.tooDeep, "more than \(CBOR.maxDepth) values in each other")
}

// MARK: - Containers

extension CBOREncoder: SingleValueEncodingContainer {
    func encodeNil() throws { try single { writeNull() } }
    func encode<T: Encodable>(_ value: T) throws { try single { try write(value, nil) } }

    private func single(_ write: () throws -> Void) throws {
        guard isWriting, kind == .nothing else { throw misuse }
        try writer.undoingFailure(write)
        kind = .single
    }
}

/// Writes the entries of a map.
private struct CBORMapEncoder<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let encoder: CBOREncoder

    var codingPath: [any CodingKey] { encoder.codingPath }

    func encodeNil(forKey key: Key) throws { try encoder.entry(key) { encoder.writeNull() } }

    func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
        try encoder.entry(key) { try encoder.write(value, key) }
    }

    func nestedContainer<NestedKey: CodingKey>(
        keyedBy type: NestedKey.Type, forKey key: Key
    ) -> KeyedEncodingContainer<NestedKey> { encoder.nestEntry(key).container(keyedBy: type) }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        encoder.nestEntry(key).unkeyedContainer()
    }

    func superEncoder() -> any Encoder { encoder.nestEntry(CBORKey.superclass) }
    func superEncoder(forKey key: Key) -> any Encoder { encoder.nestEntry(key) }
}

/// Writes the elements of an array.
private struct CBORArrayEncoder: UnkeyedEncodingContainer {
    let encoder: CBOREncoder

    var codingPath: [any CodingKey] { encoder.codingPath }
    var count: Int { encoder.count }

    func encodeNil() throws { try encoder.element { encoder.writeNull() } }

    func encode<T: Encodable>(_ value: T) throws {
        try encoder.element { try encoder.write(value, CBORKey.index(encoder.count)) }
    }

    func nestedContainer<NestedKey: CodingKey>(keyedBy type: NestedKey.Type) -> KeyedEncodingContainer<NestedKey> {
        encoder.nestElement().container(keyedBy: type)
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { encoder.nestElement().unkeyedContainer() }
    func superEncoder() -> any Encoder { encoder.nestElement() }
}
