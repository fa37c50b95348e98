/// What decides the partition of a message or of an entry.
///
/// Its bytes are canonical: equal keys have equal bytes, on every node and in every version, because Kafka's default
/// partitioner hashes them. They are those of Kafka's own serializers, so that an outside producer finds the same
/// partition.
public protocol RoutingKey: Hashable, Sendable {
    /// The bytes that are hashed.
    var routingBytes: [UInt8] { get }
}

extension String: RoutingKey {
    /// The UTF-8 of the text.
    @inlinable public var routingBytes: [UInt8] { Array(utf8) }
}

extension [UInt8]: RoutingKey {
    /// The bytes themselves.
    @inlinable public var routingBytes: [UInt8] { self }
}

extension RoutingKey where Self: FixedWidthInteger {
    /// All bytes of the number, the most significant first.
    @inlinable public var routingBytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(self)
        return bytes
    }
}

extension Int: RoutingKey {}
extension Int32: RoutingKey {}
extension Int64: RoutingKey {}
extension UInt32: RoutingKey {}
extension UInt64: RoutingKey {}

/// A key of a store.
///
/// Its `route` decides the partition: by default the whole key, or the part of it that the type names. Entries of
/// one route are always in one partition.
///
///     struct Account: StoreKey, LosslessStringConvertible {   // "branch:number"
///         let branch: String, number: Int
///         var route: String { branch }
///     }
public protocol StoreKey: Hashable, Sendable {
    /// The type of the part that routes.
    associatedtype Route: RoutingKey = Self
    /// How the key is encoded unless its store says otherwise.
    associatedtype KeySerde: Serde where KeySerde.Value == Self

    /// What decides the partition of the entry.
    var route: Route { get }
    /// How the key is encoded unless its store says otherwise.
    static var serde: KeySerde { get }
}

extension StoreKey where Self: RoutingKey, Route == Self {
    /// The whole key.
    @inlinable public var route: Self { self }
}

extension StoreKey where Self: LosslessStringConvertible, KeySerde == TextSerde<Self> {
    /// The key's text.
    @inlinable public static var serde: TextSerde<Self> { TextSerde() }
}

extension StoreKey where Self: FixedWidthInteger, KeySerde == IntegerSerde<Self> {
    /// The number's bytes.
    @inlinable public static var serde: IntegerSerde<Self> { IntegerSerde() }
}

extension String: StoreKey {
    /// The text as UTF-8.
    @inlinable public static var serde: StringSerde { StringSerde() }
}

extension [UInt8]: StoreKey {
    /// The bytes as they are.
    @inlinable public static var serde: BytesSerde { BytesSerde() }
}

extension Int: StoreKey {
    /// The number in 8 bytes.
    @inlinable public static var serde: IntegerSerde<Int> { IntegerSerde() }
}

extension Int64: StoreKey {
    /// The number in 8 bytes.
    @inlinable public static var serde: IntegerSerde<Int64> { IntegerSerde() }
}

extension Int32: StoreKey {
    /// The number in 4 bytes.
    @inlinable public static var serde: IntegerSerde<Int32> { IntegerSerde() }
}
