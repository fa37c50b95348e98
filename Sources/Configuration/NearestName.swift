/// Finds what somebody probably meant.
enum NearestName {
    /// The candidate closest to `word`, or `nil` if none is close enough to be worth a guess.
    ///
    /// Close is: a quarter of the letters wrong, at least two; or the same last part (`gateway.body` for
    /// `gateway.limits.body`). Words beyond 200 bytes get no guess, so that a hostile file costs little.
    static func find(_ word: String, in candidates: some Sequence<String>) -> String? {
        guard word.utf8.count <= 200 else { return nil }
        let letters = Array(word.utf8)
        let last = word.split(separator: ".").last
        var best: (distance: Int, name: String)?
        var sameEnd: String?
        for candidate in candidates where candidate.utf8.count <= 200 {
            let limit = max(2, letters.count / 4)
            if sameEnd == nil, let last, candidate.split(separator: ".").last == last { sameEnd = candidate }
            guard abs(candidate.utf8.count - letters.count) <= limit else { continue }
            let distance = distance(letters, Array(candidate.utf8))
            if distance <= limit, distance < candidate.utf8.count, distance < best?.distance ?? .max {
                best = (distance, candidate)
            }
        }
        return best?.name ?? sameEnd
    }

    /// How many letters have to be added, removed, replaced or swapped with their neighbour.
    static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var beforeLast: [Int] = []
        var last = Array(0...b.count)
        for i in a.indices {
            var row = [i + 1]
            row.reserveCapacity(b.count + 1)
            for j in b.indices {
                var cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
                row.append(cost)
            }
            beforeLast = last
            last = row
        }
        return last[b.count]
    }
}
