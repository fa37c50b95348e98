package import AffinityCore

/// Moments as `2026-10-03T12:11:05.123Z`; pure, and cheaper than a formatter with a locale.
package enum RFC3339 {
    /// The moment in UTC, with milliseconds; held within the years 0 to 9999, which is all that the form can express.
    package static func text(_ time: Timestamp) -> String {
        let milliseconds = min(max(time.milliseconds, -62_167_219_200_000), 253_402_300_799_999)
        let (days, ofDay) = floored(milliseconds, 86_400_000)
        let (year, month, day) = date(ofDay: days)
        var text: [UInt8] = []
        text.reserveCapacity(24)
        append(year, 4, to: &text)
        text.append(UInt8(ascii: "-"))
        append(month, 2, to: &text)
        text.append(UInt8(ascii: "-"))
        append(day, 2, to: &text)
        text.append(UInt8(ascii: "T"))
        append(ofDay / 3_600_000, 2, to: &text)
        text.append(UInt8(ascii: ":"))
        append(ofDay / 60_000 % 60, 2, to: &text)
        text.append(UInt8(ascii: ":"))
        append(ofDay / 1_000 % 60, 2, to: &text)
        text.append(UInt8(ascii: "."))
        append(ofDay % 1_000, 3, to: &text)
        text.append(UInt8(ascii: "Z"))
        return String(decoding: text, as: UTF8.self)
    }

    /// Days since 1970 as a date of the Gregorian calendar, counted in years that begin in March, so that the leap
    /// day comes last (Hinnant, "chrono-compatible low-level date algorithms").
    private static func date(ofDay days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = floored(days + 719_468, 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (era * 400 + yearOfEra + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }

    private static func floored(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }

    private static func append(_ number: Int64, _ digits: Int, to text: inout [UInt8]) {
        var power: Int64 = 1
        for _ in 1..<digits { power *= 10 }
        while power > 0 {
            text.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / power % 10))
            power /= 10
        }
    }
}
