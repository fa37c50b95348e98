import Affinity
import FoundationEssentials

extension Int64 {
    /// The integer that a JSON text is; `nil` for any other text, a number with a fraction or an exponent included.
    init?(json text: ArraySlice<UInt8>) {
        let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }
        let number = text.drop(while: isSpace).prefix { !isSpace($0) }
        guard text[number.endIndex...].allSatisfy(isSpace) else { return nil }
        self.init(String(decoding: number, as: UTF8.self))
    }
}

/// The body of `add`: `{"by": 5}`. Further members say nothing.
///
/// Read by hand, because a decoder takes `5.0` and `5e0` for integers, and the first of two members for the only one.
struct Amount {
    let by: Int64

    /// Reads a text that is known to be JSON.
    ///
    /// - Throws: 400 if it is not an object with one integer `by`.
    init(_ text: [UInt8]) throws(HTTPError) {
        var members = MemberReader(text)
        guard members.isObject else { throw HTTPError(400, "the body must be an object like {\"by\": 5}") }
        var by: Int64?
        while let member = members.next() {
            guard member.name == "by" else { continue }
            guard by == nil else { throw HTTPError(400, "the member \"by\" is given twice") }
            guard let number = Int64(json: member.value) else {
                throw HTTPError(400, "the member \"by\" must be an integer of 64 bits")
            }
            by = number
        }
        guard let by else { throw HTTPError(400, "the member \"by\" is missing") }
        self.by = by
    }
}

/// Goes through the members of the object that a JSON text is. The text has been checked before.
private struct MemberReader {
    private var rest: ArraySlice<UInt8>
    let isObject: Bool

    init(_ text: [UInt8]) {
        rest = text.drop { $0 != UInt8(ascii: "{") && $0 != UInt8(ascii: "[") && $0 != UInt8(ascii: "\"") }
        isObject = rest.popFirst() == UInt8(ascii: "{")
    }

    mutating func next() -> (name: String, value: ArraySlice<UInt8>)? {
        // Behind white space and commas comes a name, or the end of the object.
        rest = rest.drop { $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "}") }
        guard rest.first == UInt8(ascii: "\"") else { return nil }
        let name = takeString()
        rest = rest.drop { $0 != UInt8(ascii: ":") }.dropFirst()
        return (Self.decoded(name), takeValue())
    }

    private mutating func takeString() -> ArraySlice<UInt8> {
        let start = rest
        rest = rest.dropFirst()
        while let byte = rest.popFirst(), byte != UInt8(ascii: "\"") {
            if byte == UInt8(ascii: "\\") { rest = rest.dropFirst() }
        }
        return start[..<rest.startIndex]
    }

    /// Takes what stands in front of the comma or brace that ends the member.
    private mutating func takeValue() -> ArraySlice<UInt8> {
        let start = rest
        var depth = 0
        while let byte = rest.first {
            switch byte {
            case UInt8(ascii: "\""):
                _ = takeString()
                continue
            case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: ","):
                if depth == 0 { return start[..<rest.startIndex] }
                if byte != UInt8(ascii: ",") { depth -= 1 }
            default: break
            }
            rest = rest.dropFirst()
        }
        return start[..<rest.startIndex]
    }

    /// The text of a string literal.
    private static func decoded(_ literal: ArraySlice<UInt8>) -> String {
        guard literal.contains(UInt8(ascii: "\\")) else {
            return String(decoding: literal.dropFirst().dropLast(), as: UTF8.self)
        }
        // Without a text (a lone surrogate) it is not the name that is looked for.
        return (try? JSONDecoder().decode(String.self, from: Data(literal))) ?? ""
    }
}
