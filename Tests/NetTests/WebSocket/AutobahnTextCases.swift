import AffinityTestSupport

/// Section 6 of Autobahn's published list: texts that are UTF-8, and that are none.
extension AutobahnCase {
    private typealias C = AutobahnCase
    private static let kosme = "CEBA E1BDB9 CF83 CEBC CEB5"
    private static let bad = kosme + "EDA080 656469746564"

    static let texts: [AutobahnCase] = fragmented + failFast + wholes

    private static let fragmented: [AutobahnCase] = {
        let unicode = Array("Hello-µ@ßöäüàá-UTF-8!!".utf8)
        func inOctets(_ number: String, _ bytes: Bytes, _ end: End = .open) -> AutobahnCase {
            C(number: number, sent: fragments(1, bytes, 1), expected: end == .open ? [Frame(1, bytes)] : [], end: end)
        }
        return [
            C(number: "6.1.1", sent: [text("")], expected: [.text("")]),
            C(
                number: "6.1.2", sent: [text("", final: false), more("", final: false), more("", final: true)],
                expected: [.text("")]),
            C(
                number: "6.1.3",
                sent: [text("", final: false), more("middle frame payload", final: false), more("", final: true)],
                expected: [.text("middle frame payload")]),
            C(number: "6.2.1", sent: [frame(1, unicode)], expected: [Frame(1, unicode)]),
            C(number: "6.2.2", sent: fragments(1, unicode, 12), expected: [Frame(1, unicode)]),
            inOctets("6.2.3", unicode), inOctets("6.2.4", hex(kosme)),
            C(number: "6.3.1", sent: [frame(1, hex(bad))], end: .closed(1007)),
            inOctets("6.3.2", hex(bad), .closed(1007)),
        ]
    }()

    /// A text that no later byte can mend is refused without waiting for one.
    private static let failFast: [AutobahnCase] = {
        let first = frame(1, hex(kosme), final: false)
        let large = frame(0, hex("F4908080"), final: false), half = frame(0, hex("F490"), final: false)
        // The frame is announced whole, and comes half.
        let announced = Array(frame(1, hex(kosme + "F4908080 656469746564")).prefix(6 + 11 + 2))
        return [
            C(number: "6.4.1", sent: [first, large], end: .closed(1007)),
            C(number: "6.4.2", sent: [first, half], end: .closed(1007)),
            C(number: "6.4.3", sent: [announced], end: .closed(1007)),
            C(number: "6.4.4", sent: [announced], end: .closed(1007), chops: .octets),
        ]
    }()

    private static let wholes: [AutobahnCase] = groups.flatMap { group in
        group.texts.enumerated().map { index, text in
            let isGood = group.isGood ?? text.hasPrefix("+")
            let bytes = hex(text.filter { $0 != "+" })
            return C(
                number: "6.\(group.number).\(index + 1)", sent: [frame(1, bytes)],
                expected: isGood ? [Frame(1, bytes)] : [],
                end: isGood ? .open : .closed(1007))
        }
    }

    /// Of one kind; where `isGood` is open, a plus marks those that are UTF-8.
    private struct Group {
        var number: Int
        var isGood: Bool?
        var texts: [String]
    }

    private static let groups = [
        Group(
            number: 5, isGood: true,
            texts: [
                "68656C6C6F24776F726C64", "68656C6C6FC2A2776F726C64", "68656C6C6FE282AC776F726C64",
                "68656C6C6FF0A4ADA2776F726C64", kosme,
            ]),
        // Every beginning of a text.
        Group(
            number: 6,
            texts: [
                "CE", "+CEBA", "CEBAE1", "CEBAE1BD", "+CEBAE1BDB9", "CEBAE1BDB9CF", "+CEBAE1BDB9CF83",
                "CEBAE1BDB9CF83CE",
                "+CEBAE1BDB9CF83CEBC", "CEBAE1BDB9CF83CEBCCE", "+CEBAE1BDB9CF83CEBCCEB5",
            ]),
        // The first and the last of each length.
        Group(number: 7, isGood: true, texts: ["00", "C280", "E0A080", "F0908080"]),
        Group(number: 8, isGood: false, texts: ["F888808080", "FC8480808080"]),
        Group(number: 9, isGood: true, texts: ["7F", "DFBF", "EFBFBF", "F48FBFBF"]),
        Group(number: 10, isGood: false, texts: ["F7BFBFBF", "FBBFBFBFBF", "FDBFBFBFBFBF"]),
        Group(number: 11, texts: ["+ED9FBF", "+EE8080", "+EFBFBD", "+F48FBFBF", "F4908080"]),
        // Bytes that continue nothing.
        Group(
            number: 12, isGood: false,
            texts: [
                "80", "BF", "80BF", "80BF80", "80BF80BF", "80BF80BF80", "80BF80BF80BF",
                digits(0x80...0xBE),
            ]),
        // Beginnings that nothing continues.
        Group(number: 13, isGood: false, texts: lonelyBeginnings),
        Group(
            number: 14, isGood: false,
            texts: [
                "C0", "E080", "F08080", "F8808080", "FC80808080", "DF", "EFBF", "F7BFBF", "FBBFBFBF", "FDBFBFBFBF",
            ]),
        Group(
            number: 15, isGood: false,
            texts: [
                "C0E080F08080F8808080FC80808080DFEFBFF7BFBFFBBFBFBFFDBFBFBFBF"
            ]),
        Group(number: 16, isGood: false, texts: ["FE", "FF", "FEFEFFFF"]),
        // Longer than they need to be.
        Group(number: 17, isGood: false, texts: ["C0AF", "E080AF", "F08080AF", "F8808080AF", "FC80808080AF"]),
        Group(number: 18, isGood: false, texts: ["C1BF", "E09FBF", "F08FBFBF", "F887BFBFBF", "FC83BFBFBFBF"]),
        Group(number: 19, isGood: false, texts: ["C080", "E08080", "F0808080", "F880808080", "FC8080808080"]),
        // Surrogates.
        Group(
            number: 20, isGood: false,
            texts: [
                "EDA080", "EDADBF", "EDAE80", "EDAFBF", "EDB080", "EDBE80", "EDBFBF",
            ]),
        Group(
            number: 21, isGood: false,
            texts: [
                "EDA080EDB080", "EDA080EDBFBF", "EDADBFEDB080", "EDADBFEDBFBF", "EDAE80EDB080", "EDAE80EDBFBF",
                "EDAFBFEDB080", "EDAFBFEDBFBF",
            ]),
        // Those that are no characters are UTF-8 all the same.
        Group(number: 22, isGood: true, texts: noncharacters),
        Group(
            number: 23, isGood: true,
            texts: [
                "EFBFB9", "EFBFBA", "EFBFBB", "EFBFBC", "EFBFBD", "EFBFBE", "EFBFBF",
            ]),
    ]

    private static func digits(_ range: ClosedRange<Int>, behindEach tail: String = "") -> String {
        range.map { String($0, radix: 16) + tail }.joined()
    }

    private static let lonelyBeginnings: [String] = [
        digits(0xC0...0xDF, behindEach: "20"), digits(0xE0...0xEF, behindEach: "20"),
        digits(0xF0...0xF7, behindEach: "20"), digits(0xF8...0xFB, behindEach: "20"),
        digits(0xFC...0xFD, behindEach: "20"),
    ]

    private static let noncharacters: [String] = {
        var texts = ["EFBFBE", "EFBFBF"]
        for plane in UInt32(1)...16 {
            for last in [UInt32(0xFFFE), 0xFFFF] {
                guard let scalar = Unicode.Scalar(plane << 16 | last) else { continue }
                texts.append(String(scalar).utf8.map { String($0, radix: 16) }.joined())
            }
        }
        return texts
    }()
}
