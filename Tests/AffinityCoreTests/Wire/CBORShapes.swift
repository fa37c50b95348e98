/// Types of many shapes.
struct Point: Codable, Hashable {
    var x: Int8
    var y: UInt16?
}

struct AllNumbers: Codable, Equatable {
    var integers = [Int.min, .max]
    var (a, b, c, d) = (Int8.min, Int16.min, Int32.min, Int64.min)
    var (e, f, g, h) = (UInt8.max, UInt16.max, UInt32.max, UInt64.max)
    var (i, j, k) = (UInt.max, Float(1.1), 2.5e-300)
}

struct Nest: Codable, Equatable {
    var text = "ü"
    var bytes: [UInt8]? = [1, 2]
    var lists: [[[UInt8]?]] = [[[4], nil], []]
    var named: [String: [UInt8]] = ["b": [5], "a": []]
    var numbered: [Int: String] = [7: "seven", -1: ""]
    var points: [Point: Set<Point>] = [Point(x: 1): [Point(x: 2, y: 3)]]
    var nothing: Int?
    var duration = Duration.milliseconds(5)
    var range = 3..<9
}

enum Shape: Codable, Equatable {
    case none
    case put(key: String, value: [UInt8])
    case pair(Int, Bool)
    indirect case deeper(Shape)
}

enum Colour: String, Codable { case red, green }

final class Chain: Codable {
    var next: Chain?

    init(_ length: Int) { next = length > 1 ? Chain(length - 1) : nil }

    var length: Int { 1 + (next?.length ?? 0) }
}

/// Its class and its subclass write into one map.
class Base: Codable {
    var base = 1
}

final class Shared: Base {
    private enum Keys: CodingKey { case own }
    var own = 2

    override init() { super.init() }

    required init(from decoder: any Decoder) throws {
        try super.init(from: decoder)
        own = try decoder.container(keyedBy: Keys.self).decode(Int.self, forKey: .own)
    }

    override func encode(to encoder: any Encoder) throws {
        try super.encode(to: encoder)
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(own, forKey: .own)
    }
}

/// Its superclass has a map of its own.
final class Apart: Base {
    private enum Keys: CodingKey { case own }
    var own = 2

    override init() { super.init() }

    required init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        own = try container.decode(Int.self, forKey: .own)
        try super.init(from: container.superDecoder())
    }

    override func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        let outer = container.superEncoder()
        try container.encode(own, forKey: .own)
        try super.encode(to: outer)
    }
}

/// Holds on to nested containers and fills them in turns.
struct Interleaved: Codable, Equatable {
    enum Keys: CodingKey { case list, map, b, a }
    var numbers = Array(0..<30)

    init() {}

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        var list = try container.nestedUnkeyedContainer(forKey: .list)
        let map = try container.nestedContainer(keyedBy: Keys.self, forKey: .map)
        numbers = []
        while !list.isAtEnd {
            var inner = try list.nestedUnkeyedContainer()
            numbers.append(try inner.decode(Int.self))
        }
        guard try map.decode(Int.self, forKey: .b) == 2, try map.decodeNil(forKey: .a),
            try container.decode(Int.self, forKey: .a) == 1, try container.decodeNil(forKey: .b)
        else { throw CodingMistake() }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        var list = container.nestedUnkeyedContainer(forKey: .list)
        try container.encodeNil(forKey: .b)
        var map = container.nestedContainer(keyedBy: Keys.self, forKey: .map)
        var inner = numbers.map { _ in list.nestedUnkeyedContainer() }
        try container.encode(1, forKey: .a)
        try map.encode(2, forKey: .b)
        for index in inner.indices.reversed() { try inner[index].encode(numbers[index]) }
        try map.encodeNil(forKey: .a)
    }
}

struct CodingMistake: Error {}
