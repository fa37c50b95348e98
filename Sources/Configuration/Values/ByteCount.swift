/// An amount of memory or storage, in bytes.
public struct ByteCount: Hashable, Comparable, Sendable, ExpressibleByIntegerLiteral, CustomStringConvertible {
    /// The amount.
    public let bytes: Int

    /// That many bytes.
    @inlinable public init(_ bytes: Int) { self.bytes = bytes }

    /// That many bytes.
    @inlinable public init(integerLiteral value: Int) { bytes = value }

    /// That many bytes.
    public static func bytes(_ count: Int) -> ByteCount { ByteCount(count) }
    /// That many times 1,024 bytes.
    ///
    /// - Precondition: the amount fits into an `Int`, as for the other units; it is meant for constants.
    public static func kibibytes(_ count: Int) -> ByteCount { ByteCount(count << 10) }
    /// That many times 1,048,576 bytes.
    public static func mebibytes(_ count: Int) -> ByteCount { ByteCount(count << 20) }
    /// That many times 1,073,741,824 bytes.
    public static func gibibytes(_ count: Int) -> ByteCount { ByteCount(count << 30) }
    /// That many times 2⁴⁰ bytes.
    public static func tebibytes(_ count: Int) -> ByteCount { ByteCount(count << 40) }

    private static let units: [(name: String, shift: Int)] = [
        ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0), ("", 0),
    ]

    /// Reads `1048576`, `512B`, `64KiB`, `1MiB`, `2GiB` or `1TiB`; `nil` for anything else, and beyond 63 bits.
    ///
    /// Decimal units (`kB`, `MB`) are refused: half of their readers mean the binary ones.
    public init?(_ text: some StringProtocol) {
        guard let (number, unit) = Numeral.split(text), let unit = Self.units.first(where: { $0.name == unit })
        else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: 1 << Int64(unit.shift))
        guard !overflow else { return nil }
        bytes = Int(product)
    }

    /// In the largest unit that leaves no fraction: `1MiB`, `1000B`, `0B`.
    public var description: String {
        guard bytes != 0 else { return "0B" }
        let unit = Self.units.first { bytes & ((1 << $0.shift) - 1) == 0 } ?? ("B", 0)
        return "\(bytes >> unit.shift)\(unit.name)"
    }

    /// The smaller amount is the smaller one.
    @inlinable public static func < (a: ByteCount, b: ByteCount) -> Bool { a.bytes < b.bytes }
}
