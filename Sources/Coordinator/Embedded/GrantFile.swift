internal import AffinityCore

/// The file `grants`: the number up to which grants may have been given out.
///
/// One line, `affinity-grants 1 <number> <checksum>`, that is read strictly: a number that is too low would let two
/// masters of a partition have one epoch, so a file that is not exactly what was written is an error, never zero.
///
/// Called by `EmbeddedCoordinator`, in the pool of blocking calls. Calls `C/Files`.
enum GrantFile {
    static let name = "grants"
    /// Above every grant that an epoch has room for.
    static let end: UInt64 = 1 << 48

    private static let head = "affinity-grants 1 "
    private static let bytesMax = 128

    /// The number in the file; 0 if there is no file yet.
    ///
    /// - Throws: `CoordinatorError`: `.corrupt` if it is damaged, `.io` if it cannot be read.
    static func read(in folder: String) throws(CoordinatorError) -> UInt64 {
        let path = "\(folder)/\(name)"
        guard let bytes = try Files.read(path, limit: bytesMax) else { return 0 }
        guard let number = parse(bytes) else {
            throw CoordinatorError(
                .corrupt, "\(path) is damaged: it should hold one line \"\(head)<number> <checksum>\"; restore it")
        }
        return number
    }

    /// Makes `number` durable.
    static func write(_ number: UInt64, in folder: String) throws(CoordinatorError) {
        try Files.replace(name, in: folder, with: Array(text(number).utf8))
    }

    static func parse(_ bytes: [UInt8]) -> UInt64? {
        let words = bytes.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard words.count == 4, let number = UInt64(String(decoding: words[2], as: UTF8.self)), number < end,
            bytes == Array(text(number).utf8)
        else { return nil }
        return number
    }

    static func text(_ number: UInt64) -> String {
        let line = "\(head)\(number) "
        let sum = String(checksum(line.utf8), radix: 16)
        return line + String(repeating: "0", count: 8 - sum.count) + sum + "\n"
    }

    /// CRC-32 as in zip and Ethernet, bit by bit: the line is short.
    private static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
        var sum: UInt32 = .max
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
        }
        return ~sum
    }
}
