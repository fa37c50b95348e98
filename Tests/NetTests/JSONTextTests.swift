import AffinityNet
import Testing

@Suite struct JSONTextTests {
    static let good: [String] = [
        "[[]   ]", "[\"\"]", "[]", "[\"a\"]", "[false]", "[null, 1, \"1\", {}]", "[null]", "[1\n]", " [1]",
        "[1,null,null,null,2]", "[2] ", "[123e65]", "[0e+1]", "[0e1]", "[ 4]", "[-0.000000000000000000000000000000001]",
        "[20e1]", "[-0]", "[-123]", "[-1]", "[1E22]", "[1E-2]", "[1E+2]", "[123e45]", "[123.456e78]", "[1e-2]",
        "[123.456789]",
        "{\"asd\":\"sdf\", \"dfg\":\"fgh\"}", "{\"a\":\"b\",\"a\":\"c\"}", "{}", "{\"\":0}", "{\"foo\\u0000bar\": 42}",
        "{\"a\":[]}", "{\n\"a\": \"b\"\n}", "[\"\\u0060\\u012a\\u12AB\"]", "[\"\\uD801\\udc37\"]",
        "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "[\"\\\\u0000\"]", "[\"a/*b*/c/*d//e\"]", "[\"\\uDBFF\\uDFFF\"]",
        "[\"\u{10FFFF}\"]", "[\"\u{7f}\"]", "[\"\u{feff}\"]", "[\"⍂㈴⍂\"]", "\"\"", "42", "-0.1", "null", "true",
        "\"asd\"",
        "\t\n\r true", "1e400", "-1e400", "1e99999999999", "1e-99999999999", "[1E+99999999999999999999999,1e9]",
        "0.00000000000000000000000000000000000000001e-2147483649",
        "123456789012345678901234567890123456789012345678901",
        "-99999999999999999999999999", "[\"e99999999999\",1e99999999999,\"\\\"e1\"]", "{\"a\":1e99999999999}",
    ]

    /// The text and the byte of its first mistake.
    static let bad: [(String, Int)] = [
        ("", 0), (" ", 1), ("[1,]", 3), ("[1 true]", 3), ("[\"\": 1]", 3), ("[\"\"],", 4), ("[,1]", 1), ("[1,,2]", 3),
        ("[\"x\"]]", 5), ("[\"x\"", 4), ("[x", 1), ("[3[4]]", 2), ("[\"a\",\n4\n,1,", 11), ("[1,", 3), ("[*]", 1),
        ("[1", 2),
        ("{\"x\":true,}", 10), ("nul", 3), ("tru", 3), ("[fals]", 5), ("nulx", 3), ("[1,trxe]", 5), ("[1 true]", 3),
        ("{\"a\":fALSE}", 6), ("{\"a\":1,true:2}", 7), ("[-1.0.]", 5), ("[01]", 2), ("01", 1),
        ("-01", 2),
        ("[+1]", 1), ("[.5]", 1), ("[1.]", 3), ("1.", 2), ("[1.e1]", 3), ("[-]", 2), ("-", 1), ("[--1]", 2),
        ("[1e]", 3), ("1e", 2),
        ("[1e+]", 4), ("[1ea]", 3), ("[0x1]", 2), ("[NaN]", 1), ("[Infinity]", 1), ("[-Infinity]", 2), ("[1+2]", 2),
        ("[1_0]", 2),
        ("{\"a\" b}", 5), ("{a:1}", 1), ("{'a':1}", 1), ("{\"a\":1 \"b\":2}", 7), ("{\"a\"}", 4), ("{\"a\":}", 5),
        ("{,}", 1), ("{1:1}", 1),
        ("{\"a\":1,,}", 7), ("{\"a\":1}}", 7), ("{\"a\":1", 6), ("{\"a\":1}#", 7), ("[1]//", 3), ("/**/1", 0),
        ("[\"\\x00\"]", 3),
        ("[\"\\u00A\"]", 7), ("[\"\\u\"]", 4), ("[\"\\a\"]", 3), ("[\"\t\"]", 2), ("[\"\n\"]", 2), ("[\"\0\"]", 2),
        ("[\"a", 3),
        ("'a'", 0), ("1 2", 2), ("[][]", 2), ("\u{feff}1", 0), ("\u{b}1", 0), ("\u{a0}1", 0), ("\u{2028}1", 0),
        ("True", 0),
        ("1e99999999999,", 13), ("[1e99999999999,]", 15), ("[1e99999999999,\"e1\\x\"]", 19), ("truefalse", 4),
        ("[1]x", 3), ("\\u0031", 0),
    ]

    @Test(arguments: good) func accepts(text: String) {
        #expect(JSONText.mistake(in: Array(text.utf8)) == nil)
    }

    @Test(arguments: bad) func refuses(text: String, offset: Int) {
        let mistake = JSONText.mistake(in: Array(text.utf8))
        #expect(mistake?.offset == offset, "\(text): \(mistake.map(\.description) ?? "accepted")")
        #expect(mistake?.reason.isEmpty == false)
    }

    /// Bytes inside of a string of an array.
    @Test(
        arguments: [
            [0x80], [0xff], [0xc3], [0xc0, 0x80], [0xc1, 0xbf], [0xe0, 0x80, 0x80], [0xe2, 0x82], [0xed, 0xa0, 0x80],
            [0xed, 0xbf, 0xbf], [0xf0, 0x80, 0x80, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80],
            [0xfc, 0x83, 0xbf, 0xbf, 0xbf, 0xbf], [0xe9],
        ] as [[UInt8]])
    func refusesWhatIsNotUTF8(bytes: [UInt8]) {
        let text: [UInt8] = Array("[\"".utf8) + bytes + Array("\"]".utf8)
        let mistake = JSONText.mistake(in: text)
        #expect(mistake != nil)
        #expect((2...(2 + bytes.count)).contains(mistake?.offset ?? -1))
    }

    @Test(arguments: ["\\uD800", "\\uDC00", "\\uD800\\uD800", "\\uD800\\n", "\\ud800a", "\\uDBFFx"])
    func surrogatesMustComeInPairs(escape: String) {
        #expect(JSONText.mistake(in: Array("\"\(escape)\"".utf8)) != nil)
    }

    @Test func depthIsExact() {
        func nested(_ depth: Int, _ open: String, _ close: String) -> [UInt8] {
            Array((String(repeating: open, count: depth) + String(repeating: close, count: depth)).utf8)
        }
        #expect(JSONText.mistake(in: nested(512, "[", "]")) == nil)
        #expect(JSONText.mistake(in: nested(513, "[", "]")) != nil)
        let objects = { (depth: Int) in nested(depth - 1, "{\"a\":", "}").split(separator: 125)[0] + [123, 125] }
        let whole = { (depth: Int) in Array(objects(depth)) + [UInt8](repeating: 125, count: depth - 1) }
        #expect(JSONText.mistake(in: whole(512)) == nil)
        #expect(JSONText.mistake(in: whole(513)) != nil)
        #expect(JSONText.mistake(in: nested(3, "[", "]"), maxDepth: 3) == nil)
        #expect(JSONText.mistake(in: nested(4, "[", "]"), maxDepth: 3)?.offset == 3)
        #expect(JSONText.mistake(in: nested(100_000, "[", "]")) != nil)
        #expect(JSONText.mistake(in: [UInt8](repeating: 91, count: 1 << 20)) != nil)
    }

    @Test func aLongTextAndManyThreads() async {
        let long = Array(("[" + String(repeating: "1e99999999999,", count: 50_000) + "\"x\"]").utf8)
        await withTaskGroup(of: Bool.self) { tasks in
            for _ in 0..<8 { tasks.addTask { JSONText.mistake(in: long) == nil } }
            for await isGood in tasks { #expect(isGood) }
        }
        #expect(JSONText.mistake(in: long.dropLast() + [44])?.offset == long.count - 1 + 1)
        #expect(JSONText.mistake(in: long.span.bytes) == nil)
    }
}
