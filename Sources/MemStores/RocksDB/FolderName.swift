internal import AffinityCore

/// The name of the folder that holds a replica: `<keyspace>-<number>`.
///
/// A keyspace may have any name, so every byte but ASCII letters, digits, `_` and `-` is written as `%XX`. No name
/// then holds a dot, which sets the folders apart that were put aside. A name that is too long for a file system is
/// cut and carries a hash; the database knows its partition and refuses another.
enum FolderName {
    private static let longest = 180

    static func encode(_ partition: PartitionID) -> String {
        var name = ""
        for byte in partition.keyspace.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                name += "%" + hex(UInt64(byte), digits: 2)
            }
        }
        if name.utf8.count > longest {
            var hash: UInt64 = 0xcbf2_9ce4_8422_2325
            for byte in partition.keyspace.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            name = String(name.prefix(longest - 20)) + "%-" + hex(hash, digits: 16)
        }
        return "\(name)-\(partition.number)"
    }

    private static func hex(_ number: UInt64, digits: Int) -> String {
        let text = String(number, radix: 16, uppercase: true)
        return String(repeating: "0", count: digits - text.count) + text
    }
}
