import AffinityTesting

/// Anything that the wire can carry, by what it finds.
indirect enum CBORItem: Codable, Equatable {
    case null
    case bool(Bool)
    case unsigned(UInt64)
    case negative(Int64)
    case float(Double)
    case text(String)
    case bytes([UInt8])
    case array([CBORItem])
    case map([String: CBORItem])

    init(from decoder: any Decoder) throws {
        let single = try decoder.singleValueContainer()
        if single.decodeNil() {
            self = .null
        } else if let value = try? single.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? single.decode(UInt64.self) {
            self = .unsigned(value)
        } else if let value = try? single.decode(Int64.self) {
            self = .negative(value)
        } else if let value = try? single.decode(Double.self) {
            self = .float(value)
        } else if let value = try? single.decode(String.self) {
            self = .text(value)
        } else if let value = try? single.decode([UInt8].self) {
            self = .bytes(value)
        } else if let value = try? single.decode([CBORItem].self) {
            self = .array(value)
        } else {
            self = .map(try single.decode([String: CBORItem].self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var single = encoder.singleValueContainer()
        switch self {
        case .null: try single.encodeNil()
        case .bool(let value): try single.encode(value)
        case .unsigned(let value): try single.encode(value)
        case .negative(let value): try single.encode(value)
        case .float(let value): try single.encode(value)
        case .text(let value): try single.encode(value)
        case .bytes(let value): try single.encode(value)
        case .array(let value): try single.encode(value)
        case .map(let value): try single.encode(value)
        }
    }

    /// As equal as bytes say: what is no number is itself.
    static func == (a: CBORItem, b: CBORItem) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.unsigned(let a), .unsigned(let b)): a == b
        case (.negative(let a), .negative(let b)): a == b
        case (.float(let a), .float(let b)): a.bitPattern == b.bitPattern || a.isNaN && b.isNaN
        case (.text(let a), .text(let b)): a == b
        case (.bytes(let a), .bytes(let b)): a == b
        case (.array(let a), .array(let b)): a == b
        case (.map(let a), .map(let b)): a == b
        default: false
        }
    }

    /// Any item, at most `depth` deep.
    static func random(_ random: SeededRandom, depth: Int = 3) -> CBORItem {
        func pick(_ count: UInt64) -> UInt64 { random.next() % count }
        func number() -> UInt64 { random.next() >> pick(64) }
        switch pick(depth > 0 ? 10 : 7) {
        case 0: return .null
        case 1: return .bool(pick(2) == 0)
        case 2: return .unsigned(number())
        case 3: return .negative(~Int64(clamping: number()))
        case 4: return .float([1.5, Double(number()), Double(bitPattern: random.next()), .infinity][Int(pick(4))])
        case 5: return .text(String(repeating: ["a", "ü", "\0", "🦜"][Int(pick(4))], count: Int(pick(40))))
        case 6: return .bytes((0..<pick(300)).map { UInt8(truncatingIfNeeded: $0) })
        case 7, 8: return .array((0..<pick([4, 30][Int(pick(2))])).map { _ in .random(random, depth: depth - 1) })
        default:
            let keys = (0..<pick(30)).map { "\(number() % 1000)\(["", "ü", "x"][Int($0 % 3)])" }
            return .map(
                Dictionary(
                    keys.map { ($0, .random(random, depth: depth - 1)) }, uniquingKeysWith: { first, _ in first }))
        }
    }
}
