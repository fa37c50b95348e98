extension Plan {
    /// Leaves out what the plan fails without as well: whatever the violation is then, its kind is the same.
    ///
    /// - Parameter limit: how many runs may be tried.
    /// - Returns: the plan, and what it fails with.
    package func shortened(_ violation: String, limit: Int = 400) throws -> (plan: Plan, violation: String) {
        var (best, found) = (self, violation)
        var runs = 0
        var size = max(1, steps.count / 2)
        while size > 0, runs < limit {
            var start = 0
            var hasDropped = false
            while start < best.steps.count, runs < limit {
                var fewer = best
                fewer.steps.removeSubrange(start..<min(start + size, fewer.steps.count))
                let run = try Run(fewer)
                run.run()
                runs += 1
                if let violation = run.violation, Self.kind(violation) == Self.kind(found) {
                    (best, found, hasDropped) = (fewer, violation, true)
                } else {
                    start += size
                }
            }
            if !hasDropped || size > 1 { size /= 2 }
        }
        for watch in best.watches where runs < limit {
            var fewer = best
            fewer.watches.removeAll { $0 == watch }
            let run = try Run(fewer)
            run.run()
            runs += 1
            if let violation = run.violation, Self.kind(violation) == Self.kind(found) {
                (best, found) = (fewer, violation)
            }
        }
        for index in best.ambushes.indices where runs < limit {
            // In their places: later ones belong to later masters.
            var fewer = best
            fewer.ambushes[index] = []
            let run = try Run(fewer)
            run.run()
            runs += 1
            if let violation = run.violation, Self.kind(violation) == Self.kind(found) {
                (best, found) = (fewer, violation)
            }
        }
        return (best, found)
    }

    /// What stands before the first colon.
    package static func kind(_ violation: String) -> Substring { violation.prefix { $0 != ":" } }
}
