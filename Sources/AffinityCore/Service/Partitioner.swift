/// Kafka's default partitioner: which partition a routing key belongs to.
///
/// Murmur2 with the seed of Kafka's `org.apache.kafka.common.utils.Utils.murmur2`, made positive, modulo the number
/// of partitions, so that producers without Affinity code find the same partition.
public enum Partitioner {
    /// The partition of `key` among `count`.
    ///
    /// - Precondition: `count` is positive.
    public static func partition(_ key: some RoutingKey, of count: Int) -> Int {
        partition(bytes: key.routingBytes, of: count)
    }

    /// The partition of a key with these canonical bytes among `count`.
    public static func partition(bytes: [UInt8], of count: Int) -> Int {
        Int(murmur2(bytes) & 0x7fff_ffff) % count
    }

    /// Austin Appleby's MurmurHash2 (32 bits), as Kafka computes it.
    static func murmur2(_ bytes: [UInt8]) -> UInt32 {
        let multiplier: UInt32 = 0x5bd1_e995
        return bytes.withUnsafeBytes { data in
            var hash: UInt32 = 0x9747_b28c ^ UInt32(truncatingIfNeeded: data.count)
            var index = 0
            while index + 4 <= data.count {
                var k = UInt32(littleEndian: data.loadUnaligned(fromByteOffset: index, as: UInt32.self))
                k = k &* multiplier
                k ^= k >> 24
                k = k &* multiplier
                hash = (hash &* multiplier) ^ k
                index += 4
            }
            if index < data.count {
                for tail in (index..<data.count).reversed() { hash ^= UInt32(data[tail]) << UInt32(8 * (tail - index)) }
                hash = hash &* multiplier
            }
            hash ^= hash >> 13
            hash = hash &* multiplier
            return hash ^ hash >> 15
        }
    }
}
