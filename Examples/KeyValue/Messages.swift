import Affinity

/// Puts a JSON text under a key.
struct Put: Command {
    typealias Reply = Written
    let key: String
    let value: [UInt8]
    let conditions: Conditions
}

/// Removes the entry of a key.
struct Delete: Command {
    typealias Reply = Written
    let key: String
    let conditions: Conditions
}

/// Adds to the integer under a key.
struct Add: Command {
    typealias Reply = Written
    let key: String
    let by: Int64
    let conditions: Conditions
}

/// What became of a write.
enum Written: Codable, Hashable, Sendable {
    case created
    case replaced
    case deleted
    case absent
    case sum(Int64)
    /// A condition does not hold for the entry of this version, or for no entry.
    case failed(current: Version?)
    case refused(String)
}

/// Reads the entry of a key.
struct Get: Query {
    typealias Reply = Item?
    let key: String
}

/// Reads a partition's part of a page.
struct List: ScatterQuery {
    typealias Reply = Page
    let prefix: String
    let after: String?
    let limit: Int
}

struct Item: Codable, Hashable, Sendable {
    let key: String
    let value: [UInt8]
    let version: Version
}

struct Page: Codable, Hashable, Sendable {
    var items: [Item] = []
    /// Whether more entries follow the last item.
    var isCut = false
}
