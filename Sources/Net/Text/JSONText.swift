internal import CBeast

/// Where a text first breaks the grammar of JSON.
public struct JSONMistake: Hashable, Sendable, CustomStringConvertible {
    /// The byte, counted from 0; the text's length if something is missing at its end.
    public let offset: Int
    /// Why: a few words, for people.
    public let reason: String

    /// The reason and the place.
    public var description: String { "\(reason) at byte \(offset)" }
}

/// Checks texts that are kept as they are.
///
/// The grammar is RFC 8259's and nothing more: UTF-8 without a byte order mark, no comments, no trailing comma, white
/// space only around the one value. Duplicate members, numbers of any length and exponents of any size are allowed.
/// Can be called on any thread.
public enum JSONText {
    /// The first mistake in `text`, or `nil` if it is one JSON text of at most `maxDepth` levels of arrays and objects.
    public static func mistake(in text: [UInt8], maxDepth: Int = 512) -> JSONMistake? {
        text.withUnsafeBytes { mistake(in: $0, maxDepth: maxDepth) }
    }

    /// The first mistake in `text`, or `nil` if it is one JSON text of at most `maxDepth` levels of arrays and objects.
    public static func mistake(in text: borrowing RawSpan, maxDepth: Int = 512) -> JSONMistake? {
        text.withUnsafeBytes { mistake(in: $0, maxDepth: maxDepth) }
    }

    private static func mistake(in text: UnsafeRawBufferPointer, maxDepth: Int) -> JSONMistake? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 80) { reason in
            let offset = cb_json_mistake(text.baseAddress, text.count, maxDepth, reason.baseAddress, reason.count)
            guard offset >= 0, let start = reason.baseAddress else { return nil }
            return JSONMistake(offset: Int(offset), reason: String(cString: start))
        }
    }
}
