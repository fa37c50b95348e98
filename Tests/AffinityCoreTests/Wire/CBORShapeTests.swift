import AffinityTestSupport
import AffinityTesting
import Testing

@testable import AffinityCore

/// What is encoded comes back.
@Suite struct CBORShapeTests {
    private func check<Value: Codable & Equatable>(_ value: Value) throws {
        #expect(try CBOR.decode(Value.self, from: CBOR.encode(value)) == value)
    }

    @Test func shapesComeBack() throws {
        try check(AllNumbers())
        try check(Nest())
        try check([Shape.none, .put(key: "k", value: [1]), .pair(2, true), .deeper(.deeper(.none))])
        try check([Colour.red: 1, .green: 2])
        try check(Interleaved())
        try check(String(repeating: "long", count: 20_000))
        try check(Dictionary(uniqueKeysWithValues: (0..<300).map { ("\($0)", $0) }))
        try check([[Int]](repeating: Array(0..<300), count: 300))
    }

    /// As in any other format, which knows no versions.
    @Test func aVersionIsItsNumber() throws {
        let versions = [Version(0), Version(300), Version(.max)]
        try check(versions)
        #expect(try CBOR.encode(versions) == CBOR.encode(versions.map(\.rawValue)))
        let json = try JSONSerde<[Version]>().encode(versions)
        #expect(String(decoding: json, as: UTF8.self) == "[0,300,18446744073709551615]")
        #expect(try JSONSerde<[Version]>().decode(json) == versions)
        #expect(throws: CBORError.self) { try CBOR.decode(Version.self, from: CBOR.encode(-1)) }
    }

    @Test func classesComeBack() throws {
        let (shared, apart) = (Shared(), Apart())
        (shared.own, shared.base, apart.own, apart.base) = (3, 4, 5, 6)
        let other = try CBOR.decode(Shared.self, from: CBOR.encode(shared))
        #expect(other.own == 3 && other.base == 4)
        let another = try CBOR.decode(Apart.self, from: CBOR.encode(apart))
        #expect(another.own == 5 && another.base == 6)
    }

    @Test(arguments: [1, 2, newSeed()])
    func randomItemsComeBack(_ seed: UInt64) throws {
        let random = SeededRandom(seed)
        for round in 0..<200 {
            let item = CBORItem.random(random)
            let bytes = try CBOR.encode(item)
            #expect(try CBOR.decode(CBORItem.self, from: bytes) == item, "seed \(seed), round \(round)")
            #expect(try CBOR.encode(CBOR.decode(CBORItem.self, from: bytes)) == bytes, "seed \(seed), round \(round)")
        }
    }

    /// Shorter keys first, then by their bytes.
    @Test func keysAreInOrder() throws {
        struct Unordered: Encodable { var (bb, c, a) = (1, 2, 3) }
        #expect(try CBOR.encode(Unordered()) == [0xa3, 0x61, 0x61, 3, 0x61, 0x63, 2, 0x62, 0x62, 0x62, 1])
    }

    @Test func anEmptyTypeIsAnEmptyMap() throws {
        struct Empty: Codable {}
        struct Silent: Encodable { func encode(to encoder: any Encoder) {} }
        #expect(try CBOR.encode(Empty()) == [0xa0])
        #expect(try CBOR.encode([Silent()]) == [0x81, 0xa0])
        _ = try CBOR.decode(Empty.self, from: [0xa0])
    }

    /// A newer node may say more, and an older one less.
    @Test func fieldsCanBeAdded() throws {
        struct Old: Codable, Equatable { var key: String }
        struct New: Codable, Equatable { var key: String, added: [Nest]?, last: Shape? }
        let new = New(key: "k", added: [Nest()], last: .pair(1, false))
        #expect(try CBOR.decode(Old.self, from: CBOR.encode(new)) == Old(key: "k"))
        #expect(try CBOR.decode(New.self, from: CBOR.encode(Old(key: "k"))) == New(key: "k", added: nil, last: nil))
    }

    @Test func pathsAreKnownToTypes() throws {
        struct Inner: Codable {
            init() {}
            init(from decoder: any Decoder) throws { try Self.check(decoder.codingPath) }
            func encode(to encoder: any Encoder) throws { try Self.check(encoder.codingPath) }
            static func check(_ path: [any CodingKey]) throws {
                if CBORKey.text(path) != "list[1].inner" { throw CodingMistake() }
            }
        }
        struct Outer: Codable { var list: [[String: Inner]] = [[:], ["inner": Inner()]] }
        _ = try CBOR.decode(Outer.self, from: CBOR.encode(Outer()))
    }
}
