/// Checks that bytes are one item as an encoder writes it, so that a decoder can go by them.
struct CBORCheck {
    private let bytes: [UInt8]
    private var place = 0

    /// Reads all of the bytes once.
    ///
    /// - Throws: `CBORError`, which names the byte.
    static func check(_ bytes: [UInt8]) throws(CBORError) {
        var check = CBORCheck(bytes: bytes)
        try check.item(depth: 0)
        if check.place < bytes.count { throw check.malformed("something follows the end") }
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    private func malformed(_ reason: String) -> CBORError { CBORError(.malformed, "byte \(place): \(reason)") }

    private mutating func item(depth: Int) throws(CBORError) {
        if depth > CBOR.maxDepth { throw CBORError(.tooDeep, "byte \(place): nested too deep") }
        let start = place
        let head = try head()
        switch head.major {
        case .unsigned, .negative: break
        case .bytes: try pass(head.argument)
        case .text: try text(head.argument)
        case .array: for _ in 0..<(try count(head.argument)) { try item(depth: depth + 1) }
        case .map: try map(try count(head.argument), depth + 1)
        case .tag: throw malformed("a tag")
        case .simple: try simple(bytes[start], head.argument)
        }
    }

    private mutating func head() throws(CBORError) -> CBORHead {
        guard place < bytes.count else { throw malformed("the end, where a value is expected") }
        guard let (head, end) = bytes.head(at: place) else { throw malformed("cut off, or of indefinite length") }
        let isNumber = head.major == .simple && end - place > 2
        guard isNumber || head.size == end - place else { throw malformed("longer than it need be") }
        place = end
        return head
    }

    /// Every element takes a byte at least: there are never more elements than bytes.
    private func count(_ claimed: UInt64) throws(CBORError) -> Int {
        guard claimed <= bytes.count - place else { throw malformed("\(claimed) elements, which are not there") }
        return Int(claimed)
    }

    private mutating func pass(_ claimed: UInt64) throws(CBORError) {
        guard claimed <= bytes.count - place else { throw malformed("\(claimed) bytes, which are not there") }
        place += Int(claimed)
    }

    private mutating func text(_ length: UInt64) throws(CBORError) {
        let start = place
        try pass(length)
        let text = bytes[start..<place]
        let isASCII = text.allSatisfy { $0 < 0x80 }
        guard isASCII || String(validating: text, as: UTF8.self) != nil else { throw malformed("a text not in UTF-8") }
    }

    private mutating func map(_ count: Int, _ depth: Int) throws(CBORError) {
        var last: Int?
        for _ in 0..<count {
            let key = place
            guard try head().major == .text else { throw malformed("a key that is no text") }
            place = key
            try item(depth: depth)
            if let last, !bytes.isKey(at: last, before: key) { throw malformed("keys out of order") }
            last = key
            try item(depth: depth)
        }
    }

    private func simple(_ first: UInt8, _ bits: UInt64) throws(CBORError) {
        if first == CBORHead.false || first == CBORHead.true || first == CBORHead.null { return }
        let number = CBORFloat(first: first, bits: bits)
        guard let value = number.value else { throw malformed("an unknown simple value") }
        guard CBORFloat(value) == number else { throw malformed("longer than it need be") }
    }
}
