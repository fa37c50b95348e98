internal import AffinityCore

/// The keys of an ordered store in the order of their bytes: sorted chunks in a sorted list.
///
/// The two levels of a B+ tree whose inner level is one flat array: finding a key costs two binary searches, putting
/// one in moves at most a chunk of references, and only one insertion in some hundreds touches the list. At 10⁷ keys
/// the list has some ten thousands of chunks. The keys are references to the storage that the hash table has.
struct SortedKeys {
    /// The first key of each chunk, side by side so that the search for a chunk does not open the chunks.
    private var firsts: [[UInt8]] = []
    /// Never empty ones.
    private var chunks: [[[UInt8]]] = []
    private(set) var count = 0

    /// A chunk that would grow beyond this is split.
    static let chunkLimit = 512
    /// Two neighbours that together have no more than this become one.
    private static let mergeLimit = chunkLimit / 2

    /// Puts a key in that is not there yet.
    mutating func insert(_ key: [UInt8]) {
        count += 1
        guard !chunks.isEmpty else {
            firsts = [key]
            chunks = [[key]]
            return
        }
        // The chunk before the first whose first key is greater; the first chunk for a key below all.
        let chunk = max(0, Self.firstIndex(in: firsts) { key.precedes($0) } - 1)
        let index = Self.firstIndex(in: chunks[chunk]) { key.precedes($0) }
        if chunks[chunk].count >= Self.chunkLimit {
            split(chunk, at: index, inserting: key)
        } else {
            chunks[chunk].insert(key, at: index)
            if index == 0 { firsts[chunk] = key }
        }
    }

    /// Takes a key out that is there.
    mutating func remove(_ key: [UInt8]) {
        let chunk = Self.firstIndex(in: firsts) { key.precedes($0) } - 1
        guard chunk >= 0 else { return }
        let index = Self.firstIndex(in: chunks[chunk]) { !$0.precedes(key) }
        guard index < chunks[chunk].count, chunks[chunk][index] == key else { return }
        count -= 1
        chunks[chunk].remove(at: index)
        if chunks[chunk].isEmpty {
            chunks.remove(at: chunk)
            firsts.remove(at: chunk)
        } else {
            if index == 0 { firsts[chunk] = chunks[chunk][0] }
            merge(chunk)
        }
    }

    /// Calls `visit` for the keys of `range` until it returns `false`.
    func scan(_ range: KeyRange, _ direction: ScanDirection, _ visit: (_ key: [UInt8]) -> Bool) {
        switch direction {
        case .forward: forward(range, visit)
        case .backward: backward(range, visit)
        }
    }

    // MARK: - Scans

    private func forward(_ range: KeyRange, _ visit: (_ key: [UInt8]) -> Bool) {
        var chunk = max(0, Self.firstIndex(in: firsts) { range.lower.precedes($0) } - 1)
        guard chunk < chunks.count else { return }
        var index = Self.firstIndex(in: chunks[chunk]) { !$0.precedes(range.lower) }
        while chunk < chunks.count {
            let keys = chunks[chunk]
            while index < keys.count {
                if let upper = range.upper, !keys[index].precedes(upper) { return }
                if !visit(keys[index]) { return }
                index += 1
            }
            chunk += 1
            index = 0
        }
    }

    private func backward(_ range: KeyRange, _ visit: (_ key: [UInt8]) -> Bool) {
        var chunk = chunks.count - 1
        if let upper = range.upper { chunk = Self.firstIndex(in: firsts) { !$0.precedes(upper) } - 1 }
        guard chunk >= 0 else { return }
        var index = chunks[chunk].count
        if let upper = range.upper { index = Self.firstIndex(in: chunks[chunk]) { !$0.precedes(upper) } }
        while true {
            let keys = chunks[chunk]
            while index > 0 {
                index -= 1
                if keys[index].precedes(range.lower) { return }
                if !visit(keys[index]) { return }
            }
            if chunk == 0 { return }
            chunk -= 1
            index = chunks[chunk].count
        }
    }

    // MARK: - Splitting and merging

    private mutating func split(_ chunk: Int, at index: Int, inserting key: [UInt8]) {
        if index == chunks[chunk].count {
            // Behind the last key: keys that come in order leave full chunks behind them.
            chunks.insert([key], at: chunk + 1)
            firsts.insert(key, at: chunk + 1)
            return
        }
        let half = chunks[chunk].count / 2
        let upper = Array(chunks[chunk][half...])
        // A copy and not `removeLast`, so that the lower half gives back what it does not need.
        chunks[chunk] = Array(chunks[chunk][..<half])
        chunks.insert(upper, at: chunk + 1)
        firsts.insert(upper[0], at: chunk + 1)
        if index <= half {
            chunks[chunk].insert(key, at: index)
            if index == 0 { firsts[chunk] = key }
        } else {
            chunks[chunk + 1].insert(key, at: index - half)
        }
    }

    private mutating func merge(_ chunk: Int) {
        guard chunks[chunk].count <= Self.mergeLimit / 2 else { return }
        for left in [chunk - 1, chunk] where left >= 0 && left + 1 < chunks.count {
            guard chunks[left].count + chunks[left + 1].count <= Self.mergeLimit else { continue }
            chunks[left] += chunks[left + 1]
            chunks.remove(at: left + 1)
            firsts.remove(at: left + 1)
            return
        }
    }

    /// The first index for which `isBehind` holds, which holds for all that follow; the count if there is none.
    private static func firstIndex(in keys: [[UInt8]], where isBehind: (_ key: [UInt8]) -> Bool) -> Int {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if isBehind(keys[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

extension [UInt8] {
    /// Whether this key stands before `other`; eight bytes at a time.
    func precedes(_ other: [UInt8]) -> Bool {
        withUnsafeBytes { mine in
            other.withUnsafeBytes { theirs in
                let shared = Swift.min(mine.count, theirs.count)
                var index = 0
                while index + 8 <= shared {
                    let a = mine.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    let b = theirs.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    if a != b { return a.bigEndian < b.bigEndian }
                    index += 8
                }
                while index < shared {
                    if mine[index] != theirs[index] { return mine[index] < theirs[index] }
                    index += 1
                }
                return mine.count < theirs.count
            }
        }
    }
}
