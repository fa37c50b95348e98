/// Durations as people write them: `500ms`, `2s`, `10m`, `1h`, `1d`.
///
/// Used for configuration, and by the gateway for headers that carry durations, so that there is one spelling.
public enum DurationText {
    private static let units: [(name: String, nanoseconds: Int64)] = [
        ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000),
        ("ms", 1_000_000), ("us", 1_000), ("ns", 1),
    ]

    /// Reads a whole number and its unit (`ns`, `us`, `ms`, `s`, `m`, `h`, `d`) without anything between them.
    ///
    /// - Returns: `nil` for anything else, a number without unit included, and beyond 292 years.
    public static func parse(_ text: some StringProtocol) -> Duration? {
        guard let (number, unit) = Numeral.split(text), let unit = units.first(where: { $0.name == unit })
        else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit.nanoseconds)
        return overflow ? nil : .nanoseconds(product)
    }

    /// The duration in the largest unit that leaves no fraction: `90s`, `1500ms`, `0s`.
    ///
    /// What is finer than a nanosecond or beyond 292 years is cut off.
    public static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, overflow2) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        let nanoseconds: Int64 = overflow || overflow2 ? (seconds < 0 ? .min : .max) : sum
        guard nanoseconds != 0 else { return "0s" }
        let unit = units.first { nanoseconds % $0.nanoseconds == 0 } ?? ("ns", 1)
        return "\(nanoseconds / unit.nanoseconds)\(unit.name)"
    }
}

/// Whole numbers as configuration spells them: ASCII digits, nothing else.
enum Numeral {
    /// Divides `64KiB` into 64 and `KiB`; `nil` if no digits come first or the number has more than 63 bits.
    static func split(_ text: some StringProtocol) -> (number: Int64, unit: String)? {
        let digits = text.utf8.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        guard !digits.isEmpty, digits.count <= 19, let number = Int64(String(decoding: digits, as: UTF8.self))
        else { return nil }
        return (number, String(decoding: text.utf8.dropFirst(digits.count), as: UTF8.self))
    }

    /// Reads an integer: digits, and a minus before them if there is to be one.
    static func integer(_ text: String) -> Int? {
        let isNegative = text.utf8.first == UInt8(ascii: "-")
        let digits = text.utf8.dropFirst(isNegative ? 1 : 0)
        guard digits.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else { return nil }
        return Int(text)
    }
}
