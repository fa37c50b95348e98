import Testing

@testable import AffinityCore

/// The examples of RFC 8949, appendix A, as far as there is a value for them here.
@Suite struct CBORVectorTests {
    private func bytes(_ hex: String) -> [UInt8] {
        var digits = hex[...]
        var bytes: [UInt8] = []
        while let byte = UInt8(digits.prefix(2), radix: 16) {
            bytes.append(byte)
            digits = digits.dropFirst(2)
        }
        return bytes
    }

    private func check<Value: Codable & Equatable>(_ hex: String, _ value: Value) throws {
        #expect(try CBOR.encode(value) == bytes(hex))
        #expect(try CBOR.decode(Value.self, from: bytes(hex)) == value)
    }

    @Test(arguments: [
        ("00", 0), ("01", 1), ("0a", 10), ("17", 23), ("1818", 24), ("1819", 25), ("1864", 100), ("1903e8", 1000),
        ("1a000f4240", 1_000_000), ("1b000000e8d4a51000", 1_000_000_000_000), ("20", -1), ("29", -10), ("3863", -100),
        ("3903e7", -1000),
    ]) func integers(_ hex: String, _ value: Int) throws { try check(hex, value) }

    @Test func theLargestIntegers() throws {
        try check("1bffffffffffffffff", UInt64.max)
        try check("3b7fffffffffffffff", Int64.min)
        #expect(throws: CBORError.self) { try CBOR.decode(Int.self, from: bytes("3bffffffffffffffff")) }
        #expect(throws: CBORError.self) { try CBOR.decode(Int.self, from: bytes("1bffffffffffffffff")) }
    }

    @Test(arguments: [
        ("f90000", 0.0), ("f98000", -0.0), ("f93c00", 1.0), ("fb3ff199999999999a", 1.1), ("f93e00", 1.5),
        ("f97bff", 65504.0), ("fa47c35000", 100000.0), ("fa7f7fffff", 3.4028234663852886e+38),
        ("fb7e37e43c8800759c", 1.0e+300), ("f90001", 5.960464477539063e-8), ("f90400", 0.00006103515625),
        ("f9c400", -4.0), ("fbc010666666666666", -4.1), ("f97c00", .infinity), ("f9fc00", -.infinity),
    ]) func floats(_ hex: String, _ value: Double) throws {
        try check(hex, value)
        #expect(try CBOR.decode(Double.self, from: bytes(hex)).sign == value.sign)
    }

    @Test func notANumber() throws {
        #expect(try CBOR.encode(Double.nan) == bytes("f97e00"))
        #expect(try CBOR.encode(-Float.nan) == bytes("f97e00"))
        #expect(try CBOR.decode(Double.self, from: bytes("f97e00")).isNaN)
        #expect(try CBOR.decode(Float.self, from: bytes("f97e00")).isNaN)
    }

    @Test func simpleValues() throws {
        try check("f4", false)
        try check("f5", true)
        try check("f6", Int?.none)
    }

    @Test func bytesAndTexts() throws {
        try check("40", [UInt8]())
        try check("4401020304", [1, 2, 3, 4] as [UInt8])
        try check("60", "")
        try check("6161", "a")
        try check("6449455446", "IETF")
        try check("62225c", "\"\\")
        try check("62c3bc", "\u{fc}")
        try check("63e6b0b4", "\u{6c34}")
        try check("64f0908591", "\u{10151}")
    }

    @Test func containers() throws {
        try check("80", [Int]())
        try check("83010203", [1, 2, 3])
        try check("8301820203820405", CBORItem.array([.unsigned(1), pair(2, 3), pair(4, 5)]))
        try check("98190102030405060708090a0b0c0d0e0f101112131415161718181819", Array(1...25))
        try check("a0", [String: Int]())
        try check("a26161016162820203", CBORItem.map(["a": .unsigned(1), "b": pair(2, 3)]))
        try check("826161a161626163", CBORItem.array([.text("a"), .map(["b": .text("c")])]))
        try check(
            "a56161614161626142616361436164614461656145", ["a": "A", "b": "B", "c": "C", "d": "D", "e": "E"])
    }

    private func pair(_ a: UInt64, _ b: UInt64) -> CBORItem { .array([.unsigned(a), .unsigned(b)]) }

    /// Bignums, wider floats than need be, undefined and other simple values, tags, keys that are no texts, indefinite
    /// lengths.
    @Test(arguments: [
        "c249010000000000000000", "fa7f800000", "fa7fc00000", "fb7ff0000000000000", "fb7ff8000000000000", "f7", "f0",
        "f8ff", "c074323031332d30332d32315432303a30343a30305a", "c11a514b67b0", "d74401020304", "a201020304",
        "5f42010243030405ff", "7f657374726561646d696e67ff", "9fff", "9f018202039f0405ffff", "83018202039f0405ff",
        "bf61610161629f0203ffff", "bf6346756ef563416d7421ff",
    ]) func whatIsNotDeterministicIsRefused(_ hex: String) throws {
        let error = #expect(throws: CBORError.self) { try CBOR.decode(CBORItem.self, from: bytes(hex)) }
        #expect(error?.code == .malformed, "\(hex): \(String(describing: error))")
    }
}
