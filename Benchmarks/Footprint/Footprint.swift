internal import AffinityBenchmarkSupport
internal import AffinityCore
internal import AffinityMemStores
internal import Foundation

/// How much memory an entry takes in one structure; a process for each, so that none gets what another has freed.
@main enum Footprint {
    static func main() throws {
        let arguments = Arguments("structure", "entries")
        let structure = arguments.text("structure", default: "dictionary")
        let entries = arguments.number("entries", default: 1_000_000)
        let before = try residentBytes()
        let kept: any AnyObject
        switch structure {
        case "dictionary": kept = dictionary(entries)
        case "unordered": kept = try memstore(entries, isOrdered: false)
        case "ordered": kept = try memstore(entries, isOrdered: true)
        default: fatalError("--structure takes dictionary, unordered or ordered")
        }
        let after = try residentBytes()
        withExtendedLifetime(kept) {
            printFigure("entry/\(structure)", Double(after - before) / Double(entries), "bytes")
        }
    }

    private final class Kept {
        var entries: [[UInt8]: [UInt8]] = [:]
    }

    private static func dictionary(_ count: Int) -> Kept {
        let kept = Kept()
        for index in 0..<count { kept.entries[Array(Sample.key(index).utf8)] = Sample.value(index) }
        return kept
    }

    private static func memstore(_ count: Int, isOrdered: Bool) throws -> MemoryMemStore {
        let partition = PartitionID(keyspace: "kv", number: 0)
        let memstore = MemoryMemStore(partition, stores: [StoreDeclaration(name: "kv", isOrdered: isOrdered)])
        for index in 0..<count {
            let entry = StoredEntry(
                value: Sample.value(index), version: Version(UInt64(index + 1)), time: Timestamp(milliseconds: 0))
            let write = MemStoreWrite(store: 0, key: Array(Sample.key(index).utf8), entry: entry)
            try memstore.commit([write], checkpoint: [])
        }
        return memstore
    }

    private static func residentBytes() throws -> Int {
        let text = try String(contentsOf: URL(filePath: "/proc/self/statm"), encoding: .utf8)
        return Int(text.split(separator: " ")[1])! * Int(getpagesize())
    }
}
