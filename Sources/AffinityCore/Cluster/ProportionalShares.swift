/// Divides `total` in proportion to positive weights, no share outside of its bounds: each share is between two
/// neighbouring integers, or one.
///
/// The shares are `weight × λ`, moved into their bounds, with the one λ with which they add up to the total. It is
/// found as CSS finds the lengths of flexible items ("Resolving Flexible Lengths"): what the bounds take or give in
/// sum says which of the bounds certainly hold; those shares are settled, and the others divide what is left.
func proportionalShares(of total: Int, weights: [Int], within bounds: [ClosedRange<Int>]) -> [ClosedRange<Int>] {
    var shares = bounds
    var open = Array(weights.indices)
    var rest = total
    while !open.isEmpty {
        // Everything is multiplied by `whole`, so that all numbers are integers.
        let whole = open.reduce(0) { $0 + weights[$1] }
        let part = { (index: Int) in rest * weights[index] }
        let missing = { (index: Int) in max(0, bounds[index].lowerBound * whole - part(index)) }
        let excess = { (index: Int) in max(0, part(index) - bounds[index].upperBound * whole) }
        let violation = open.reduce(0) { $0 + missing($1) - excess($1) }
        let settled = open.filter { violation > 0 ? missing($0) > 0 : violation < 0 && excess($0) > 0 }
        if settled.isEmpty {
            for index in open where missing(index) == 0 && excess(index) == 0 {
                shares[index] = part(index) / whole...(part(index) + whole - 1) / whole
            }
            for index in open where missing(index) > 0 { shares[index] = bounds[index].lowest }
            for index in open where excess(index) > 0 { shares[index] = bounds[index].highest }
            return shares
        }
        for index in settled { shares[index] = violation > 0 ? bounds[index].lowest : bounds[index].highest }
        rest -= settled.reduce(0) { $0 + shares[$1].lowerBound }
        open.removeAll(where: settled.contains)
    }
    return shares
}

extension ClosedRange<Int> {
    fileprivate var lowest: Self { lowerBound...lowerBound }
    fileprivate var highest: Self { upperBound...upperBound }
}
