/// Which trace a request belongs to (W3C Trace Context), and which part of it this is.
///
/// Behind one reference, because every request has room for one and few have one.
package final class TraceContext: Sendable {
    /// The trace, in two halves; not both 0.
    private let high: UInt64
    private let low: UInt64
    /// The part; not 0.
    private let span: UInt64
    /// Only those that are defined: sampled, and random ids.
    private let flags: UInt8

    private static let definedFlags: UInt8 = 0x03

    /// What a caller sent: its trace, and its own part of it.
    ///
    /// - Returns: `nil` for what is none, as the standard wants it ignored: wrong digits, ids of zeros, version `ff`.
    package init?(traceparent: String) {
        var text = Substring(traceparent).utf8
        guard let version = Self.hex(text.prefix(2)), version != 0xFF else { return nil }
        // Later versions may have more behind it; version 0 has not.
        if version == 0, text.count != 55 { return nil }
        guard text.count == 55 || text.dropFirst(55).first == UInt8(ascii: "-") else { return nil }
        text = text.prefix(55)
        let parts = text.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.map(\.count) == [2, 32, 16, 2], let high = Self.hex(parts[1].prefix(16)),
            let low = Self.hex(parts[1].suffix(16)), let span = Self.hex(parts[2]), let flags = Self.hex(parts[3]),
            high | low != 0, span != 0
        else { return nil }
        (self.high, self.low, self.span) = (high, low, span)
        self.flags = UInt8(flags) & Self.definedFlags
    }

    /// A new trace that nobody records yet.
    package init(random: () -> UInt64) {
        (high, low, span) = (random(), random() | 1, Self.id(random))
        flags = 0
    }

    private init(_ caller: TraceContext, span: UInt64) {
        (high, low, flags) = (caller.high, caller.low, caller.flags)
        self.span = span
    }

    /// A part of the same trace.
    package func child(random: () -> UInt64) -> TraceContext { TraceContext(self, span: Self.id(random)) }

    private static func id(_ random: () -> UInt64) -> UInt64 {
        while true { if case let id = random(), id != 0 { return id } }
    }

    /// As it stands in headers, of version 0.
    package var traceparent: String { "00-\(trace)-\(Self.text(span, 16))-\(Self.text(UInt64(flags), 2))" }

    /// What log lines say of it.
    package var fields: [(name: String, value: String)] { [("trace_id", trace), ("span_id", Self.text(span, 16))] }

    private var trace: String { Self.text(high, 16) + Self.text(low, 16) }

    private static func text(_ number: UInt64, _ digits: Int) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: digits - text.count) + text
    }

    /// A number in lower-case digits, up to 16 of them.
    private static func hex(_ digits: some Sequence<UInt8>) -> UInt64? {
        var number: UInt64 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): number = number << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): number = number << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return number
    }
}

extension Envelope {
    /// What log lines about the message say of its trace; nothing if it belongs to none.
    var traceFields: [(name: String, value: String)] {
        traceparent.flatMap { TraceContext(traceparent: $0) }?.fields ?? []
    }
}
