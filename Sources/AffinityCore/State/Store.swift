/// What stores of all types have in common: what the partition has to know to wire them.
public class AnyStore {
    /// The name; unique in the partition, and a part of the changelog's.
    public let name: String
    /// Whether ranges of it can be scanned.
    public let isOrdered: Bool
    /// The key of its control records.
    let controlKey: [UInt8]
    /// The place among the stores of its partition, given when the partition is assembled; not written after.
    @exclusivity(unchecked) @usableFromInline var index = -1

    init(name: String, isOrdered: Bool, controlKey: [UInt8]) {
        self.name = name
        self.isOrdered = isOrdered
        self.controlKey = controlKey
    }
}

/// A typed key→value table of a partition.
///
/// It has no access of its own: a handler reads through its `Transaction` or `View` and writes through its
/// `Transaction`. Declare it as a stored property of the `Partition` subclass.
public final class Store<Key: StoreKey, Value: Sendable>: AnyStore {
    @usableFromInline let encodeKey: @Sendable (Key) throws(SerdeError) -> [UInt8]
    @usableFromInline let decodeKey: @Sendable ([UInt8]) throws(SerdeError) -> Key
    @usableFromInline let encodeValue: @Sendable (Value) throws(SerdeError) -> [UInt8]
    @usableFromInline let decodeValue: @Sendable ([UInt8]) throws(SerdeError) -> Value

    /// Declares a store.
    ///
    /// - Parameters:
    ///   - name: unique in the partition, 1…200 characters of `A–Z a–z 0–9 . _ -`, not beginning with `_`.
    ///   - ordered: whether ranges of it are scanned; costs memory in the memory memstore.
    ///   - keys: how keys are encoded.
    ///   - values: how values are encoded.
    public init(_ name: String, ordered: Bool = false, keys: some Serde<Key>, values: some Serde<Value>) {
        encodeKey = { key throws(SerdeError) in try keys.encode(key) }
        decodeKey = { bytes throws(SerdeError) in try keys.decode(bytes) }
        encodeValue = { value throws(SerdeError) in try values.encode(value) }
        decodeValue = { bytes throws(SerdeError) in try values.decode(bytes) }
        super.init(name: name, isOrdered: ordered, controlKey: keys.controlKey)
    }

    /// Declares a store whose keys are encoded as their type says and whose values are encoded by `values`.
    public convenience init(_ name: String, ordered: Bool = false, values: some Serde<Value>) {
        self.init(name, ordered: ordered, keys: Key.serde, values: values)
    }

    /// Declares a store of texts, as UTF-8.
    public convenience init(_ name: String, ordered: Bool = false) where Value == String {
        self.init(name, ordered: ordered, values: StringSerde())
    }

    /// Declares a store of bytes, as they are.
    public convenience init(_ name: String, ordered: Bool = false) where Value == [UInt8] {
        self.init(name, ordered: ordered, values: BytesSerde())
    }

    /// Declares a store of integers, in all their bytes.
    public convenience init(_ name: String, ordered: Bool = false) where Value: FixedWidthInteger {
        self.init(name, ordered: ordered, values: IntegerSerde())
    }

    /// Declares a store of `Codable` values, as JSON.
    @_disfavoredOverload
    public convenience init(_ name: String, ordered: Bool = false) where Value: Codable {
        self.init(name, ordered: ordered, values: JSONSerde())
    }
}

/// An entry as a handler sees it.
public struct Entry<Value> {
    /// The value.
    public let value: Value
    /// The entry's version. For an entry that a command still in flight has written, the version that it will have,
    /// unless a foreign writer comes between.
    public let version: Version
    /// The event time.
    public let time: Timestamp

    @usableFromInline init(value: Value, version: Version, time: Timestamp) {
        self.value = value
        self.version = version
        self.time = time
    }
}

extension Entry: Sendable where Value: Sendable {}
