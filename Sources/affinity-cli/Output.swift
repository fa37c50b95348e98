import Foundation

/// The rows with their columns below each other, and none of it wider than it has to be.
func table(_ rows: [[String]]) -> [String] {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
        var line = zip(row, widths).map { $0.padded(to: $1 + 2) }.joined()
        while line.last == " " { line.removeLast() }
        return line
    }
}

extension String {
    /// With blanks behind it, up to that many characters.
    func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}

/// An answer as it is, with its members in order and on lines of their own.
func json(_ answer: [UInt8]) throws -> String {
    let value = try JSONSerialization.jsonObject(with: Data(answer), options: .fragmentsAllowed)
    let shown = try JSONSerialization.data(
        withJSONObject: value, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes, .fragmentsAllowed])
    return String(decoding: shown, as: UTF8.self)
}

/// A value of the tool's own as one line of JSON.
func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}
