/// Writes numbers, the most significant byte first, and bytes one after the other into an array of a known size: to append
/// them takes some hundred instructions each.
///
/// Inlinable, so that it is specialised where it is used.
@usableFromInline package struct ByteWriter {
    @usableFromInline let memory: UnsafeMutableRawBufferPointer
    @usableFromInline var count = 0

    @inlinable init(_ memory: UnsafeMutableRawBufferPointer) { self.memory = memory }

    /// The bytes that `body` puts.
    ///
    /// - Parameter count: how many they are at most.
    @inlinable package static func bytes(count: Int, _ body: (inout ByteWriter) -> Void) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { memory, used in
            var writer = ByteWriter(UnsafeMutableRawBufferPointer(memory))
            body(&writer)
            used = writer.count
        }
    }

    @inlinable package mutating func put<Number: FixedWidthInteger>(_ number: Number) {
        take(MemoryLayout<Number>.size).storeBytes(of: number.bigEndian, as: Number.self)
    }

    @inlinable package mutating func put(_ bytes: some Collection<UInt8>) {
        take(bytes.count).copyBytes(from: bytes)
    }

    @inlinable package mutating func put(_ bytes: borrowing RawSpan) {
        let room = take(bytes.byteCount)
        bytes.withUnsafeBytes { room.copyMemory(from: $0) }
    }

    @inlinable @inline(__always) mutating func take(_ size: Int) -> UnsafeMutableRawBufferPointer {
        precondition(size <= memory.count - count, "there are more bytes than was said")
        defer { count += size }
        return UnsafeMutableRawBufferPointer(rebasing: memory[count..<count + size])
    }
}
