/// A value for each of some objects, in the order in which the objects came.
///
/// Whoever came last is looked at first, and a few are compared one after the other: most batches are of few partitions, and
/// to hash one takes a hundred instructions.
struct ByOwner<Owner: AnyObject, Value> {
    private(set) var all: [(owner: Owner, value: Value)] = []
    /// Where the owners are, once there are many.
    private var places: [ObjectIdentifier: Int] = [:]
    private var last = 0

    private static var few: Int { 16 }

    /// Changes the value of `owner`, which is `initial` if it has none yet.
    mutating func change(of owner: Owner, default initial: @autoclosure () -> Value, _ body: (inout Value) -> Void) {
        if last >= all.count || all[last].owner !== owner {
            last = place(of: owner) ?? all.count
            if last == all.count { add(owner, initial()) }
        }
        body(&all[last].value)
    }

    private func place(of owner: Owner) -> Int? {
        all.count <= Self.few ? all.firstIndex { $0.owner === owner } : places[ObjectIdentifier(owner)]
    }

    private mutating func add(_ owner: Owner, _ value: Value) {
        all.append((owner, value))
        if all.count == Self.few + 1 {
            for (place, one) in all.enumerated() { places[ObjectIdentifier(one.owner)] = place }
        } else if all.count > Self.few {
            places[ObjectIdentifier(owner)] = all.count - 1
        }
    }
}
