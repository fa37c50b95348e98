import AffinityTestSupport
import AffinityTesting
import Testing

@testable import AffinityCore

/// What is damaged, too large, or of another type is refused, and never traps.
@Suite struct CBORHostileTests {
    private func reason<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8]) -> CBORError? {
        do throws(CBORError) {
            _ = try CBOR.decode(type, from: bytes)
            return nil
        } catch { return error }
    }

    @Test(
        arguments: [
            [], [0x18], [0x19, 1], [0x1b, 0, 0, 0, 0, 0, 0, 0], [0x41],
            [0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            [0x7a, 0xff, 0xff, 0xff, 0xff], [0x9a, 0xff, 0xff, 0xff, 0xff],
            [0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            [0x81], [0x82, 0], [0xa1, 0x60], [0, 0], [0x1c], [0x1f], [0xff], [0x5f], [0xf8, 24], [0x61, 0xff],
            [0x62, 0xc3, 0x28],
            [0x18, 23], [0x19, 0, 255], [0x1a, 0, 0, 255, 255], [0x1b, 0, 0, 0, 0, 255, 255, 255, 255], [0x58, 1, 0],
            [0xa2, 0x61, 0x61, 0, 0x61, 0x61, 0], [0xa2, 0x61, 0x62, 0, 0x61, 0x61, 0], [0xa1, 0x61, 0xff, 0],
            [0xa1, 0, 0],
            [0xf9, 0x7e, 0x01], [0xfa, 0x7f, 0xc0, 0, 1], [0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0],
        ] as [[UInt8]]) func malformedBytesAreRefused(_ bytes: [UInt8])
    {
        #expect(reason(CBORItem.self, bytes)?.code == .malformed, "\(bytes)")
    }

    @Test func errorsSayWhere() throws {
        struct Order: Codable { var prices: [Int8] }
        struct Book: Codable { var orders: [String: Order] }
        struct Wide: Codable { var orders: [String: [String: [Int]]] }
        let bytes = try CBOR.encode(Wide(orders: ["x": ["prices": [1, 300]]]))
        let error = reason(Book.self, bytes)
        #expect(error?.code == .mismatch)
        #expect(error?.reason == "orders.x.prices[1]: 300 is no Int8")
        #expect(reason(Order.self, [0xa0])?.reason == "prices: no value")
        #expect(reason(Order.self, [0x80])?.reason == "an array instead of a map")
        #expect(reason(String.self, [0xf6])?.reason == "null instead of a text")
        #expect(reason(UInt.self, [0x20])?.reason == "-1 - 0 is no UInt")
        #expect(reason(Float.self, [0xfb, 0x3f, 0xf1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a])?.code == .mismatch)
        #expect(reason(Colour.self, [0x61, 0x62])?.code == .mismatch)
        #expect(reason(Shape.self, [0xa0])?.code == .mismatch)
    }

    @Test func whatTypesThrowIsWrapped() {
        struct Failing: Codable {
            init() {}
            init(from decoder: any Decoder) throws { throw CodingMistake() }
            func encode(to encoder: any Encoder) throws { throw CodingMistake() }
        }
        #expect(reason(Failing.self, [0])?.code == .thrown)
        let error = #expect(throws: CBORError.self) { try CBOR.encode([Failing()]) }
        #expect(error?.reason == "CodingMistake()")
    }

    @Test func depthIsLimited() throws {
        for depth in [1, CBOR.maxDepth] {
            #expect(try CBOR.decode(Chain.self, from: CBOR.encode(Chain(depth))).length == depth)
        }
        let error = #expect(throws: CBORError.self) { try CBOR.encode(Chain(CBOR.maxDepth + 1)) }
        #expect(error?.code == .tooDeep)
        let deep = [UInt8](repeating: 0x81, count: 1 << 20) + [0]
        #expect(reason(CBORItem.self, deep)?.code == .tooDeep)
        var shape = Shape.none
        for _ in 0..<CBOR.maxDepth { shape = .deeper(shape) }
        #expect(throws: CBORError.self) { try CBOR.encode(shape) }
    }

    /// A type that does not keep to the rules of containers gets an error, or what it has written before.
    @Test func misuseIsRefused() throws {
        struct Body: Encodable {
            var body: (any Encoder) throws -> Void
            func encode(to encoder: any Encoder) throws { try body(encoder) }
        }
        func code(_ body: @escaping (any Encoder) throws -> Void) -> CBORError.Code? {
            let error = #expect(throws: CBORError.self) { try CBOR.encode([Body(body: body)]) }
            return error?.code
        }
        let twoKinds = code {
            _ = $0.container(keyedBy: CBORKey.self)
            _ = $0.unkeyedContainer()
        }
        let twoValues = code {
            var single = $0.singleValueContainer()
            try single.encode(1)
            try single.encode(2)
        }
        let twice = code {
            var map = $0.container(keyedBy: CBORKey.self)
            for key in ["a", "b", "a"] { try map.encode(1, forKey: .name(key)) }
        }
        let late = code { outer in
            var list = outer.unkeyedContainer()
            var other = list
            try list.encode(Body { _ in try other.encode(1) })
        }
        #expect([twoKinds, twoValues, twice, late] == [.misuse, .misuse, .misuse, .misuse])
        let undone = Body { encoder in
            var list = encoder.unkeyedContainer()
            try list.encode(1)
            try? list.encode(
                Body { inner in
                    var map = inner.container(keyedBy: CBORKey.self)
                    try map.encode("x", forKey: .name("x"))
                    throw CodingMistake()
                })
            try list.encode(2)
        }
        #expect(try CBOR.encode(undone) == [0x82, 1, 2])
    }

    /// Whatever is decoded has exactly these bytes.
    @Test(arguments: [1, 2, 3, newSeed()])
    func damagedBytesNeverTrap(_ seed: UInt64) throws {
        let random = SeededRandom(seed)
        let nest = try CBOR.encode(Nest())
        for round in 0..<300 {
            let source = round % 2 == 0 ? nest : try CBOR.encode(CBORItem.random(random, depth: 2))
            try check(damaged(source, random), seed, round)
            try check((0..<random.next() % 60).map { _ in UInt8(truncatingIfNeeded: random.next()) }, seed, round)
        }
    }

    private func damaged(_ source: [UInt8], _ random: SeededRandom) -> [UInt8] {
        var bytes = source
        for _ in 0...random.next() % 3 {
            let place = Int(random.next() % UInt64(bytes.count + 1))
            let byte = UInt8(truncatingIfNeeded: random.next())
            switch random.next() % 4 {
            case 0: bytes.insert(byte, at: place)
            case 1 where place < bytes.count: bytes.remove(at: place)
            case 2: bytes.removeSubrange(place...)
            default: if place < bytes.count { bytes[place] = byte }
            }
        }
        return bytes
    }

    private func check(_ bytes: [UInt8], _ seed: UInt64, _ round: Int) throws {
        _ = try? CBOR.decode(Nest.self, from: bytes)
        _ = try? CBOR.decode([Shape].self, from: bytes)
        _ = try? CBOR.decode(AllNumbers.self, from: bytes)
        _ = try? CBOR.decode(Interleaved.self, from: bytes)
        guard let item = try? CBOR.decode(CBORItem.self, from: bytes) else { return }
        #expect(try CBOR.encode(item) == bytes, "seed \(seed), round \(round)")
    }
}
