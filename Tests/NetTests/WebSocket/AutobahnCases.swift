import AffinityTestSupport

/// The cases of Autobahn's published list. Sections 9, 12 and 13 are here in smaller sizes and numbers.
extension AutobahnCase {
    private typealias C = AutobahnCase

    // MARK: 1, frames

    static let framing: [AutobahnCase] = framing(1, 1) + framing(2, 2)

    private static func framing(_ part: Int, _ opcode: UInt8) -> [AutobahnCase] {
        var cases: [AutobahnCase] = []
        for (index, size) in [0, 125, 126, 127, 128, 65535, 65536].enumerated() {
            cases.append(whole("1.\(part).\(index + 1)", opcode, size))
        }
        cases.append(cases[6].chopped("1.\(part).8", .of(997)))
        return cases
    }

    /// A message in one frame, and back.
    private static func whole(_ number: String, _ opcode: UInt8, _ size: Int) -> AutobahnCase {
        C(number: number, sent: [frame(opcode, bytes(size))], expected: [Frame(opcode, bytes(size))])
    }

    // MARK: 2, pings and pongs

    static let pings: [AutobahnCase] = {
        let binary: Bytes = [0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF]
        let ten = (0..<10).map { Array("payload-\($0)".utf8) }
        let many = C(number: "2.10", sent: ten.map { ping($0) }, expected: ten.map { .pong($0) })
        let long = C(number: "2.4", sent: [ping(bytes(125, 0xFE))], expected: [.pong(bytes(125, 0xFE))])
        return [
            C(number: "2.1", sent: [ping()], expected: [.pong([])]),
            C(number: "2.2", sent: [ping(Array("Hello, world!".utf8))], expected: [.pong(Array("Hello, world!".utf8))]),
            C(number: "2.3", sent: [ping(binary)], expected: [.pong(binary)]), long,
            C(number: "2.5", sent: [ping(bytes(126, 0xFE))], end: .closed(1002)), long.chopped("2.6", .octets),
            C(number: "2.7", sent: [pong()]), C(number: "2.8", sent: [pong(Array("unsolicited".utf8))]),
            C(
                number: "2.9", sent: [pong(Array("unsolicited".utf8)), ping(Array("ping".utf8))],
                expected: [.pong(Array("ping".utf8))]),
            many, many.chopped("2.11", .octets),
        ]
    }()

    // MARK: 3, reserved bits

    static let reservedBits: [AutobahnCase] = {
        func behindText(_ number: String, _ reserved: UInt8, _ chops: Chops) -> AutobahnCase {
            C(
                number: number, sent: [text("Hello, world!"), text("Hello, world!", reserved: reserved), ping()],
                expected: [.text("Hello, world!")], mayBeShort: true, end: .closed(1002), chops: chops)
        }
        return [
            C(number: "3.1", sent: [text("Hello, world!", reserved: 1)], end: .closed(1002)),
            behindText("3.2", 2, .together), behindText("3.3", 3, .frames), behindText("3.4", 4, .octets),
            C(number: "3.5", sent: [frame(2, bytes(8, 0xFF), reserved: 5)], end: .closed(1002)),
            C(number: "3.6", sent: [frame(9, Array("Hello, world!".utf8), reserved: 6)], end: .closed(1002)),
            C(number: "3.7", sent: [frame(8, reserved: 7)], end: .closed(1002)),
        ]
    }()

    // MARK: 4, reserved opcodes

    static let opcodes: [AutobahnCase] = opcodes(1, from: 3) + opcodes(2, from: 11)

    private static func opcodes(_ part: Int, from first: UInt8) -> [AutobahnCase] {
        func behindText(_ number: Int, _ opcode: UInt8, _ payload: Bytes, _ chops: Chops) -> AutobahnCase {
            C(
                number: "4.\(part).\(number)", sent: [text("Hello, world!"), frame(opcode, payload), ping()],
                expected: [.text("Hello, world!")], mayBeShort: true, end: .closed(1002), chops: chops)
        }
        return [
            C(number: "4.\(part).1", sent: [frame(first)], end: .closed(1002)),
            C(
                number: "4.\(part).2", sent: [frame(first + 1, Array("reserved opcode payload".utf8))],
                end: .closed(1002)),
            behindText(3, first + 2, [], .together),
            behindText(4, first + 3, Array("reserved opcode payload".utf8), .frames),
            behindText(5, first + 4, Array("reserved opcode payload".utf8), .octets),
        ]
    }

    // MARK: 5, fragments

    static let fragmentation: [AutobahnCase] = {
        let two = [text("fragment1", final: false), more("fragment2", final: true)]
        let whole = [Frame.text("fragment1fragment2")]
        let plain = C(number: "5.3", sent: two, expected: whole)
        let pinged = C(
            number: "5.6", sent: [two[0], ping(Array("ping".utf8)), two[1]],
            expected: [.pong(Array("ping".utf8))] + whole)
        func nothingToContinue(_ number: String, final: Bool) -> AutobahnCase {
            C(
                number: number, sent: [more("non-continuation payload", final: final), text("Hello, world!")],
                end: .closed(1002))
        }
        let lastAlone = nothingToContinue("5.9", final: true), firstAlone = nothingToContinue("5.12", final: false)
        let five: [Bytes] = [
            text("fragment1", final: false), more("fragment2", final: false), ping(Array("pongme 1!".utf8)),
            more("fragment3", final: false), more("fragment4", final: false), ping(Array("pongme 2!".utf8)),
            more("fragment5", final: true),
        ]
        let fiveExpected: [Frame] = [
            .pong(Array("pongme 1!".utf8)), .pong(Array("pongme 2!".utf8)),
            .text("fragment1fragment2fragment3fragment4fragment5"),
        ]
        func twice(_ number: String, final: Bool) -> AutobahnCase {
            let once = [
                more("fragment1", final: final), text("fragment2", final: false), more("fragment3", final: true),
            ]
            return C(number: number, sent: once + once, end: .closed(1002))
        }
        return [
            C(
                number: "5.1", sent: [frame(9, Array("fragment1".utf8), final: false), more("fragment2", final: true)],
                end: .closed(1002)),
            C(
                number: "5.2",
                sent: [frame(10, Array("fragment1".utf8), final: false), more("fragment2", final: true)],
                end: .closed(1002)),
            plain, plain.chopped("5.4", .frames), plain.chopped("5.5", .octets), pinged,
            pinged.chopped("5.7", .frames), pinged.chopped("5.8", .octets), lastAlone,
            lastAlone.chopped("5.10", .frames), lastAlone.chopped("5.11", .octets), firstAlone,
            firstAlone.chopped("5.13", .frames), firstAlone.chopped("5.14", .octets),
            C(
                number: "5.15", sent: two + [more("fragment3", final: false), text("fragment4")], expected: whole,
                mayBeShort: true, end: .closed(1002)),
            twice("5.16", final: false), twice("5.17", final: true),
            C(number: "5.18", sent: [text("fragment1", final: false), text("fragment2")], end: .closed(1002)),
            C(number: "5.19", sent: five, expected: fiveExpected, chops: .frames),
            C(number: "5.20", sent: five, expected: fiveExpected),
        ]
    }()

    // MARK: 7, closing

    static let closing: [AutobahnCase] = {
        let half = [text("fragment1", final: false), close(1000), more("fragment2", final: true)]
        let codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
        let bad = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999]
        var cases = [
            C(number: "7.1.1", sent: [text("Hello World!")], expected: [.text("Hello World!")]),
            C(number: "7.1.2", sent: [close(1000), close(1000)], end: .closed(1000)),
            C(number: "7.1.3", sent: [close(1000), ping()], end: .closed(1000)),
            C(number: "7.1.4", sent: [close(1000), text("Hello World!")], end: .closed(1000)),
            C(number: "7.1.5", sent: half, end: .closed(1000)),
            C(
                number: "7.1.6", sent: [frame(1, bytes(256 * 1024)), text("Hello World!"), close(1000), ping()],
                expected: [Frame(1, bytes(256 * 1024)), .text("Hello World!")], mayBeShort: true, end: .closed(1000)),
            C(number: "7.3.1", sent: [close(nil)], end: .closed(1005)),
            C(number: "7.3.2", sent: [frame(8, [0x61])], end: .closed(1002)),
            C(number: "7.3.3", sent: [close(1000)], end: .closed(1000)),
            C(number: "7.3.4", sent: [close(1000, Array("Hello World!".utf8))], end: .closed(1000)),
            C(number: "7.3.5", sent: [close(1000, bytes(123))], end: .closed(1000)),
            C(number: "7.3.6", sent: [close(1000, bytes(124))], end: .closed(1002)),
            C(
                number: "7.5.1", sent: [close(1000, hex("CEBAE1BDB9CF83CEBCCEB5EDA080656469746564"))],
                end: .closed(1007)),
        ]
        for (index, code) in codes.enumerated() {
            cases.append(C(number: "7.7.\(index + 1)", sent: [close(code)], end: .closed(code)))
        }
        for (index, code) in bad.enumerated() {
            cases.append(C(number: "7.9.\(index + 1)", sent: [close(code)], end: .closed(1002)))
        }
        for (index, code) in [5000, 65535].enumerated() {
            cases.append(C(number: "7.13.\(index + 1)", sent: [close(code)], end: .closed(1002)))
        }
        return cases
    }()

    // MARK: 9, sizes, and 10, fragments of the usual length

    static let sizes: [AutobahnCase] =
        sizes(1, 1) + sizes(2, 2)
        + [C(number: "10.1.1", sent: fragments(1, bytes(65536), 1300), expected: [Frame(1, bytes(65536))])]

    private static func sizes(_ part: Int, _ opcode: UInt8) -> [AutobahnCase] {
        let kib = 1024
        var cases: [AutobahnCase] = []
        for (index, size) in [64, 256, 1024].enumerated() {
            cases.append(whole("9.\(part).\(index + 1)", opcode, size * kib))
        }
        for (index, size) in [64, 256, 1024, 4096, 16384, 65536].enumerated() {
            let sent = fragments(opcode, bytes(256 * kib), size)
            cases.append(
                C(number: "9.\(part + 2).\(index + 1)", sent: sent, expected: [Frame(opcode, bytes(256 * kib))]))
        }
        for (index, size) in [64, 128, 256, 512, 1024, 2048].enumerated() {
            cases.append(
                whole("9.\(part + 4).\(index + 1)", opcode, 64 * kib).chopped("9.\(part + 4).\(index + 1)", .of(size)))
        }
        for (index, size) in [0, 16, 64, 256, 1024, 4096].enumerated() {
            let sent = [Bytes](repeating: frame(opcode, bytes(size)), count: 100)
            let expected = [Frame](repeating: Frame(opcode, bytes(size)), count: 100)
            cases.append(C(number: "9.\(part + 6).\(index + 1)", sent: sent, expected: expected))
        }
        return cases
    }
}
