package import AffinityCore

/// The same store, and the same two messages at their plainest, as those of the KeyValue service: a data folder that is
/// written here can be served by it.
package final class Entries: Partition {
    let kv = Store<String, [UInt8]>("kv", ordered: true)

    override package class func register(_ on: Handlers) {
        on.command(Put.self, put)
        on.query(Get.self, get)
    }

    func put(_ put: Put, _ tx: inout Transaction) throws(Rejected) -> Bool {
        let isNew = tx.entry(kv, put.key) == nil
        tx.put(kv, put.key, put.value)
        return isNew
    }

    func get(_ get: Get, _ view: borrowing View) -> [UInt8]? { view.entry(kv, get.key)?.value }
}

/// Puts a value under a key; the reply says whether the key is new.
package struct Put: Command {
    package typealias Reply = Bool
    package let key: String
    package let value: [UInt8]

    package init(key: String, value: [UInt8]) {
        self.key = key
        self.value = value
    }
}

/// Reads the value of a key.
package struct Get: Query {
    package typealias Reply = [UInt8]?
    package let key: String

    package init(key: String) { self.key = key }
}

/// The data that every benchmark uses; `Benchmarks/HTTP` has the same in Lua.
package enum Sample {
    /// Key number `index`: 12 bytes, `key-00000042`.
    package static func key(_ index: Int) -> String {
        let digits = String(index)
        return "key-" + String(repeating: "0", count: max(0, 8 - digits.utf8.count)) + digits
    }

    /// A JSON text of 100 bytes, another one for each `index`, that compresses no better than by a quarter.
    package static func value(_ index: Int) -> [UInt8] {
        var random = SplitMix(seed: UInt64(index))
        var value: [UInt8] = []
        value.reserveCapacity(100)
        value.append(UInt8(ascii: "\""))
        var bits: UInt64 = 0
        for place in 0..<98 {
            if place % 10 == 0 { bits = random.next() }
            value.append(letters[Int(bits & 63)])
            bits >>= 6
        }
        value.append(UInt8(ascii: "\""))
        return value
    }

    private static let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
}
