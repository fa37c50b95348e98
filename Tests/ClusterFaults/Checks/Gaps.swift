/// How long partitions have not answered.
struct Gaps {
    private(set) var reads = 0.0
    private(set) var writes = 0.0

    /// The longest time without an answer in any of the partitions, in seconds.
    init(_ signs: [Journal.Sign], from: Int64, to: Int64, partitions: Set<Int>) {
        for partition in partitions {
            let own = signs.filter { $0.partition == partition && from...to ~= $0.moment }
            reads = max(reads, Self.longest(own.filter { !$0.isWrite }.map(\.moment), from, to))
            writes = max(writes, Self.longest(own.filter(\.isWrite).map(\.moment), from, to))
        }
    }

    private static func longest(_ moments: [Int64], _ from: Int64, _ to: Int64) -> Double {
        let all = [from] + moments.sorted() + [to]
        let longest = zip(all, all.dropFirst()).map { $1 - $0 }.max() ?? 0
        return Double(longest) / 1e9
    }
}
