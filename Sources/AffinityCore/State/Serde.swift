internal import FoundationEssentials

/// How values of one type become bytes in a changelog and a memstore, and come back.
///
/// The bytes are what other programs see in the topic, and what keys are ordered by. Equal values have equal bytes.
/// Can be called on any thread.
public protocol Serde<Value>: Sendable {
    /// What is encoded.
    associatedtype Value: Sendable

    /// The key of control records in a changelog whose keys are encoded by this serde: well-formed for whoever reads
    /// the topic, and refused when a handler writes it.
    var controlKey: [UInt8] { get }

    /// The bytes of `value`.
    ///
    /// - Throws: `SerdeError` if the value has no bytes in this encoding.
    func encode(_ value: Value) throws(SerdeError) -> [UInt8]

    /// The value that `bytes` stand for.
    ///
    /// - Throws: `SerdeError` if they stand for none; the bytes may come from anywhere.
    func decode(_ bytes: [UInt8]) throws(SerdeError) -> Value
}

/// Why a value could not be encoded or decoded.
public struct SerdeError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong with the value or the bytes.
    public let description: String

    /// An error that says so.
    public init(_ description: String) { self.description = description }
}

/// Text as UTF-8. The control key is the empty text.
public struct StringSerde: Serde {
    /// The only one there is.
    public init() {}
    /// The empty text.
    public var controlKey: [UInt8] { [] }
    /// The UTF-8 of `value`. Never throws.
    @inlinable public func encode(_ value: String) throws(SerdeError) -> [UInt8] { Array(value.utf8) }
    /// The text; throws for bytes that are not UTF-8.
    @inlinable public func decode(_ bytes: [UInt8]) throws(SerdeError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw SerdeError("not UTF-8") }
        return text
    }
}

/// Values that are written as text: their `description` as UTF-8. The control key is the empty text.
public struct TextSerde<Value: LosslessStringConvertible & Sendable>: Serde {
    /// The only one there is for the type.
    public init() {}
    /// The empty text.
    public var controlKey: [UInt8] { [] }
    /// The UTF-8 of the description. Never throws.
    @inlinable public func encode(_ value: Value) throws(SerdeError) -> [UInt8] { Array(value.description.utf8) }
    /// The value; throws for bytes that are not UTF-8 or a text that the type refuses.
    @inlinable public func decode(_ bytes: [UInt8]) throws(SerdeError) -> Value {
        guard let text = String(validating: bytes, as: UTF8.self), let value = Value(text) else {
            throw SerdeError("not the text of a \(Value.self)")
        }
        return value
    }
}

/// Integers in all their bytes, the most significant first, as Kafka's own serializers write them.
///
/// Keys are ordered by bytes, so negative numbers stand behind positive ones. The control key is the least value.
public struct IntegerSerde<Value: FixedWidthInteger & Sendable>: Serde {
    /// The only one there is for the type.
    public init() {}
    /// The least value of the type.
    public var controlKey: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(Value.min)
        return bytes
    }
    /// The bytes of the number. Never throws.
    @inlinable public func encode(_ value: Value) throws(SerdeError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(MemoryLayout<Value>.size)
        bytes.appendBigEndian(value)
        return bytes
    }
    /// The number; throws for any other count of bytes.
    @inlinable public func decode(_ bytes: [UInt8]) throws(SerdeError) -> Value {
        guard bytes.count == MemoryLayout<Value>.size else {
            throw SerdeError("\(bytes.count) bytes instead of the \(MemoryLayout<Value>.size) of a \(Value.self)")
        }
        return bytes.bigEndian(at: 0)
    }
}

/// Bytes as they are. The control key is empty.
public struct BytesSerde: Serde {
    /// The only one there is.
    public init() {}
    /// No bytes.
    public var controlKey: [UInt8] { [] }
    /// The bytes. Never throws.
    @inlinable public func encode(_ value: [UInt8]) throws(SerdeError) -> [UInt8] { value }
    /// The bytes. Never throws.
    @inlinable public func decode(_ bytes: [UInt8]) throws(SerdeError) -> [UInt8] { bytes }
}

/// `Codable` values as JSON, members in the order of their names. The control key is `null`.
public struct JSONSerde<Value: Codable & Sendable>: Serde {
    /// The only one there is for the type.
    public init() {}
    /// The JSON text `null`.
    public var controlKey: [UInt8] { Array("null".utf8) }
    /// The JSON text; throws what the type's own encoding throws.
    public func encode(_ value: Value) throws(SerdeError) -> [UInt8] {
        do { return Array(try JSON.encoder.encode(value)) } catch { throw SerdeError("\(error)") }
    }
    /// The value; throws for what is not JSON and for what the type's own decoding throws.
    public func decode(_ bytes: [UInt8]) throws(SerdeError) -> Value {
        do { return try JSON.decoder.decode(Value.self, from: Data(bytes)) } catch { throw SerdeError("\(error)") }
    }
}

/// The settings of every JSON text that the core writes.
enum JSON {
    /// Shared: making one costs more than most texts, and encoding does not change it.
    static let encoder: JSONEncoder = {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }()
    static let decoder = JSONDecoder()
}
