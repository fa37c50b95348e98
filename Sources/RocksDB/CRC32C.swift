internal import CRocksDB

/// The checksum CRC-32C (Castagnoli), by the processor's instruction where it has one.
public enum CRC32C {
    /// The checksum of `bytes`.
    public static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        crocks_crc32c(
            0,
            crocks_bytes(data: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), size: bytes.count))
    }
}
