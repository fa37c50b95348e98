/// A short text of decimal numbers and other ASCII characters, put together on the stack: interpolation takes some hundred
/// instructions for each part, and every answer has such texts.
struct DigitText {
    private let bytes: UnsafeMutableBufferPointer<UInt8>
    private var count = 0

    /// Those of a number of 64 bits, with its sign.
    private static let digits = 20

    /// The text that `body` appends.
    ///
    /// - Parameters:
    ///   - numbers: how many numbers it has at most.
    ///   - others: how many other characters it has at most.
    static func text(numbers: Int, others: Int, _ body: (inout DigitText) -> Void) -> String {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: numbers * digits + others) { bytes in
            var text = DigitText(bytes: bytes)
            body(&text)
            return String(decoding: UnsafeBufferPointer(rebasing: bytes[..<text.count]), as: UTF8.self)
        }
    }

    private init(bytes: UnsafeMutableBufferPointer<UInt8>) { self.bytes = bytes }

    /// Appends an ASCII character.
    mutating func append(byte: UInt8) {
        precondition(count < bytes.count, "the text is longer than was said")
        bytes[count] = byte
        count += 1
    }

    mutating func append(_ number: Int64) {
        if number < 0 { append(byte: UInt8(ascii: "-")) }
        append(number.magnitude)
    }

    mutating func append(_ number: UInt64) {
        let begin = count
        var rest = number
        repeat {
            append(byte: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0
        bytes[begin..<count].reverse()
    }
}
