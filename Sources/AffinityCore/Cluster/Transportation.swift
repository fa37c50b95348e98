/// The transportation problem: every row picks columns, at the least cost in sum. Each pick has a cost of its own, and
/// the further a column is from its share of the picks, the more it costs.
///
/// Solved by cancelling negative cycles (Klein, 1967): starting from any picks, rows exchange one column for another
/// along a cycle as long as there is one that lowers the cost; when there is none, the picks are the best there are.
/// There are many more rows than columns, so the cycles are looked for in a graph of the columns alone, in which the
/// arc from `a` to `b` is the row that exchanges `a` for `b` at the least cost. One more vertex, the ground, stands for
/// a column that ends with a pick more or less.
struct Transportation {
    /// What a column is to have.
    struct Load {
        /// The picks that it is to have; between the bounds every number is as good.
        var share: ClosedRange<Int>
        /// What the picks between the bounds cost: where there is a choice, columns of lower rank get more.
        var rank: Int
        /// What the first pick too many costs, or too few; the second costs twice as much, and so on.
        var step: Int

        /// What the column's pick of this number costs; it never falls as the number grows.
        fileprivate func cost(ofPick number: Int) -> Int {
            if number <= share.lowerBound { return -step * Self.limited(share.lowerBound - number + 1) }
            return number <= share.upperBound ? rank : step * Self.limited(number - share.upperBound)
        }

        /// Far enough for any balance, and no product overflows.
        private static func limited(_ distance: Int) -> Int { min(distance, 4096) }
    }

    /// The least costly exchange of one column for another.
    private struct Exchange {
        var cost: Int
        var row: Int

        /// So large that no path over it is short, so small that sums do not overflow.
        static let none = Exchange(cost: .max / 4, row: -1)
    }

    /// The cost of a column that the row has to pick.
    static let required = Int.min
    /// The cost of a column that the row must not pick.
    static let forbidden = Int.max

    private let rows: Int
    private let columns: Int
    private let picks: Int
    private let loads: [Load]
    /// Row by row, as the next.
    private let costs: [Int]
    private var isPicked: [Bool]
    /// How often each column is picked.
    private var counts: [Int]
    /// By the column given up, then the one picked.
    private var exchanges: [Exchange]

    /// A problem in which each row picks as many columns; its required ones are not more, and not fewer are allowed.
    init(rows costs: [[Int]], loads: [Load], picks: Int) {
        rows = costs.count
        columns = loads.count
        self.picks = picks
        self.loads = loads
        self.costs = costs.flatMap { $0 }
        isPicked = Array(repeating: false, count: rows * columns)
        counts = Array(repeating: 0, count: columns)
        exchanges = Array(repeating: .none, count: columns * columns)
    }

    /// The columns that a row has picked, ascending.
    func picked(_ row: Int) -> [Int] { (0..<columns).filter { isPicked[row * columns + $0] } }

    /// Finds the best picks.
    mutating func solve() {
        pickSomehow()
        for column in 0..<columns { findExchanges(from: column) }
        while let cycle = negativeCycle() { exchange(along: cycle) }
    }

    // MARK: - The first picks

    /// A good start saves cycles: what is required, what costs nothing while there is room, and then what has most.
    private mutating func pickSomehow() {
        for row in 0..<rows { pickAll(row) { problem, column in problem.cost(row, column) == Self.required } }
        for row in 0..<rows {
            pickAll(row) { problem, column in
                problem.cost(row, column) <= 0 && problem.counts[column] < problem.loads[column].share.upperBound
            }
        }
        for row in 0..<rows { fillUp(row) }
    }

    private mutating func pickAll(_ row: Int, where isWanted: (borrowing Self, Int) -> Bool) {
        var missing = picks - pickCount(row)
        for column in 0..<columns where missing > 0 && !isPicked[row * columns + column] && isWanted(self, column) {
            pick(row, column)
            missing -= 1
        }
    }

    private mutating func fillUp(_ row: Int) {
        for _ in pickCount(row)..<picks {
            let open = (0..<columns).filter { !isPicked[row * columns + $0] && cost(row, $0) != Self.forbidden }
            let costs = open.map { (nextCost($0) + cost(row, $0), Self.scattered(row, $0), $0) }
            guard let least = costs.min(by: <) else { return }
            pick(row, least.2)
        }
    }

    /// Breaks ties, for each row in another way (the finalizer of SplitMix64): so a column shares its rows with many
    /// others, and not with its neighbours alone.
    static func scattered(_ row: Int, _ column: Int) -> UInt64 {
        var bits = UInt64(truncatingIfNeeded: row << 20 ^ column) &* 0x9e37_79b9_7f4a_7c15
        bits = (bits ^ bits >> 30) &* 0xbf58_476d_1ce4_e5b9
        bits = (bits ^ bits >> 27) &* 0x94d0_49bb_1331_11eb
        return bits ^ bits >> 31
    }

    private func nextCost(_ column: Int) -> Int { loads[column].cost(ofPick: counts[column] + 1) }

    private func pickCount(_ row: Int) -> Int { isPicked[row * columns..<(row + 1) * columns].count { $0 } }

    private func cost(_ row: Int, _ column: Int) -> Int { costs[row * columns + column] }

    private mutating func pick(_ row: Int, _ column: Int) {
        isPicked[row * columns + column] = true
        counts[column] += 1
    }

    // MARK: - Exchanges

    private mutating func exchange(along cycle: [Int]) {
        for (index, from) in cycle.enumerated() {
            let to = cycle[(index + 1) % cycle.count]
            if to == columns {
                counts[from] += 1
            } else if from == columns {
                counts[to] -= 1
            } else {
                exchange(from, for: to, in: exchanges[from * columns + to].row)
            }
        }
    }

    /// The counts stay: the next exchange of the cycle gives up what this one picks, or the ground takes it.
    private mutating func exchange(_ from: Int, for to: Int, in row: Int) {
        isPicked[row * columns + from] = false
        isPicked[row * columns + to] = true
        findExchanges(from: from)
        findExchanges(from: to)
        for other in 0..<columns where other != to && isPicked[row * columns + other] {
            consider(row, other, from)
            if exchanges[other * columns + to].row == row { findExchange(other, to) }
        }
    }

    private mutating func findExchanges(from column: Int) {
        for other in 0..<columns { exchanges[column * columns + other] = .none }
        for row in 0..<rows where canGiveUp(row, column) {
            for other in 0..<columns { consider(row, column, other) }
        }
    }

    private mutating func findExchange(_ from: Int, _ to: Int) {
        exchanges[from * columns + to] = .none
        for row in 0..<rows where canGiveUp(row, from) { consider(row, from, to) }
    }

    private func canGiveUp(_ row: Int, _ column: Int) -> Bool {
        isPicked[row * columns + column] && cost(row, column) != Self.required
    }

    private mutating func consider(_ row: Int, _ from: Int, _ to: Int) {
        guard canGiveUp(row, from), !isPicked[row * columns + to], cost(row, to) != Self.forbidden else { return }
        let difference = cost(row, to) - cost(row, from)
        let place = from * columns + to
        if difference < exchanges[place].cost { exchanges[place] = Exchange(cost: difference, row: row) }
    }

    // MARK: - Cycles

    /// A cycle of negative cost, as the vertices in the order of its arcs; `nil` if there is none (Bellman and Ford).
    private func negativeCycle() -> [Int]? {
        let ground = columns
        var distances = Array(repeating: 0, count: columns + 1)
        var parents = Array(repeating: -1, count: columns + 1)
        let gains = (0..<columns).map(nextCost)
        let losses = (0..<columns).map { loads[$0].cost(ofPick: counts[$0]) }

        func relax(_ from: Int, _ to: Int, _ cost: Int) -> Bool {
            guard distances[from] + cost < distances[to] else { return false }
            distances[to] = distances[from] + cost
            parents[to] = from
            return true
        }
        var hasChanged = true
        while hasChanged {
            hasChanged = false
            for from in 0..<columns {
                if relax(from, ground, gains[from]) { hasChanged = true }
                if counts[from] > 0, relax(ground, from, -losses[from]) { hasChanged = true }
                for to in 0..<columns where relax(from, to, exchanges[from * columns + to].cost) { hasChanged = true }
            }
            if hasChanged, let cycle = cycle(parents) { return cycle }
        }
        return nil
    }

    /// A cycle of the graph in which each vertex has at most one parent. In Bellman and Ford's, one is negative.
    private func cycle(_ parents: [Int]) -> [Int]? {
        var seenFrom = Array(repeating: -1, count: parents.count)
        for start in parents.indices {
            var vertex = start
            while vertex >= 0, seenFrom[vertex] < 0 {
                seenFrom[vertex] = start
                vertex = parents[vertex]
            }
            if vertex >= 0, seenFrom[vertex] == start { return cycle(through: vertex, parents) }
        }
        return nil
    }

    private func cycle(through vertex: Int, _ parents: [Int]) -> [Int] {
        var cycle = [vertex]
        while parents[cycle[cycle.count - 1]] != vertex { cycle.append(parents[cycle[cycle.count - 1]]) }
        return cycle.reversed()
    }
}
