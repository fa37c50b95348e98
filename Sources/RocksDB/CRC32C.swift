internal import CRocksDB

/// The checksum CRC-32C (Castagnoli), by the processor's instruction where it has one.
public enum CRC32C {
    /// The checksum of `bytes`, or of what `former` is the checksum of and `bytes` behind it.
    public static func checksum(_ bytes: UnsafeRawBufferPointer, continuing former: UInt32 = 0) -> UInt32 {
        crocks_crc32c(
            former,
            crocks_bytes(data: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), size: bytes.count))
    }
}
