/// Values as deterministic CBOR (RFC 8949, section 4.2), in which messages go from node to node.
///
/// A `[UInt8]` is a byte string wherever it is met (a slice has no coding in Swift); keyed containers are maps with text
/// keys. What is decoded has to be what the encoder writes and nothing else: the shortest heads and numbers, keys in
/// order and each once, no tags, no indefinite lengths, nothing behind the end. Keys that nobody asks for are passed
/// over, so that a newer node can say more. Equal values have equal bytes, but for sets, and dictionaries whose keys
/// are neither texts nor integers: Swift gives their elements in another order each time.
package enum CBOR {
    /// How deep values can be nested in each other.
    package static let maxDepth = 512

    /// The bytes of `value`.
    ///
    /// - Throws: `CBORError` for what cannot be written, and with what the value's own encoding throws.
    package static func encode<T: Encodable>(_ value: T) throws(CBORError) -> [UInt8] {
        let writer = CBORWriter()
        do { try writer.write(value, within: nil, nil) } catch { throw CBORError(wrapping: error) }
        if let failure = writer.failure { throw failure }
        return writer.buffer.bytes
    }

    /// The value that `bytes` stand for; they may come from anywhere.
    ///
    /// - Throws: `CBORError` for bytes that are not as described, and with what the type's own decoding throws.
    package static func decode<T: Decodable>(_ type: T.Type, from bytes: [UInt8]) throws(CBORError) -> T {
        try CBORCheck.check(bytes)
        do {
            return try CBORDecoder(bytes, at: 0, within: nil, key: nil).decode(type)
        } catch {
            throw CBORError(wrapping: error)
        }
    }
}

/// Why a value could not be encoded or decoded.
package struct CBORError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    package struct Code: Hashable, Sendable {
        private enum Kind { case malformed, mismatch, tooDeep, misuse, thrown }
        private let kind: Kind

        /// The bytes are not what an encoder writes.
        package static let malformed = Code(kind: .malformed)
        /// The bytes stand for something, but not for a value of the type.
        package static let mismatch = Code(kind: .mismatch)
        /// Values are nested in each other deeper than the limit.
        package static let tooDeep = Code(kind: .tooDeep)
        /// The type's own encoding does what cannot be written: a key twice, two values in one place.
        package static let misuse = Code(kind: .misuse)
        /// The type's own encoding or decoding throws.
        package static let thrown = Code(kind: .thrown)
    }

    /// What kind of failure it is.
    package let code: Code
    /// What is wrong, and where.
    package let reason: String

    /// The reason.
    package var description: String { reason }

    init(_ code: Code, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    init(_ code: Code, _ reason: String, at path: [any CodingKey]) {
        self.init(code, path.isEmpty ? reason : "\(CBORKey.text(path)): \(reason)")
    }

    /// What comes out of a type's own coding: this error, or another one in its words.
    init(wrapping error: any Error) {
        switch error {
        case let error as CBORError: self = error
        case let error as DecodingError: self.init(error)
        case EncodingError.invalidValue(_, let context):
            self.init(.thrown, context.debugDescription, at: context.codingPath)
        default: self.init(.thrown, "\(error)")
        }
    }

    private init(_ error: DecodingError) {
        switch error {
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context),
            .dataCorrupted(let context):
            self.init(.mismatch, context.debugDescription, at: context.codingPath)
        @unknown default: self.init(.thrown, "\(error)")
        }
    }
}

/// A key that no type declares: an element's place, or a key of the protocol's own.
enum CBORKey: CodingKey {
    case index(Int)
    case name(String)

    /// Where the value of a superclass is put that is given no key.
    static let superclass = CBORKey.name("super")

    init(stringValue: String) { self = .name(stringValue) }
    init(intValue: Int) { self = .index(intValue) }

    var stringValue: String {
        switch self {
        case .index(let index): "\(index)"
        case .name(let name): name
        }
    }

    var intValue: Int? {
        guard case .index(let index) = self else { return nil }
        return index
    }

    /// A path as it stands in errors: `orders[3].price`.
    static func text(_ path: [any CodingKey]) -> String {
        path.reduce("") { text, key in
            if case .index(let index)? = key as? CBORKey { return "\(text)[\(index)]" }
            return text.isEmpty ? key.stringValue : "\(text).\(key.stringValue)"
        }
    }
}

/// `value` itself if it is of type `Other`: for nothing where the compiler knows, and else for the comparison of two
/// pointers, where a cast would take many times as long.
@inline(__always) func identical<Value, Other>(_ value: Value, _ type: Other.Type) -> Other? {
    Value.self == type ? same(value, type) : nil
}

/// `value` in the type's other name.
///
/// - Precondition: the two types are the same.
@inline(__always) func same<Value, Other>(_ value: Value, _ type: Other.Type) -> Other {
    unsafeBitCast(value, to: type)
}
