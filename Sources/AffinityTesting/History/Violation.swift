internal import AffinityCore

extension History {
    /// Why there is no order that explains all answers.
    public struct Violation: Equatable, Sendable, CustomStringConvertible {
        /// The operations called before the first answer that no order explains, in the order of their calls; those
        /// that had no answer by then count as unknown. No shorter beginning was found to have a violation.
        public let prefix: [Operation]
        /// The operation with that answer.
        public let culprit: Operation
        /// What the state may have been just before, some of it.
        public let states: Set<Model.State>
        /// What was called and failed, for the rendering.
        private let failed: [Operation]

        /// Finds the shortest beginning for which `search` finds no order either.
        ///
        /// It ends with the answer that `search` could not pass, or a later one, where the search knew answers that were
        /// still to come. A strict search may see a violation before the one that a lenient search sees. A beginning has no
        /// more events than the history, so what was passed in it was passed there.
        static func shortest(
            _ history: History, _ events: Events<Model>, _ search: Linearization<Model>, limit: Int
        ) -> Violation {
            var (last, search) = (search.furthest.event, search)
            while last < events.list.count - 1 {
                search = search.again(events.prefix(last + 1, history.model), limit: limit)
                if !events.list[last].isCall, search.find() == .impossible { break }
                last += 1
            }
            if search.isLenient {
                var strict = Linearization(history.model, events.prefix(last, history.model), limit: limit / 10)
                if strict.find() == .impossible { return shortest(history, events, strict, limit: limit) }
            }
            return Violation(history, events, upTo: last, search.furthest.states)
        }

        private init(_ history: History, _ events: Events<Model>, upTo last: Int, _ states: Set<Model.State>) {
            let shortest = events.prefix(last + 1, history.model)
            let culprit = events.operations[events.list[last].operation]
            self.culprit = culprit
            prefix = shortest.list.filter(\.isCall).map { shortest.operations[$0.operation] }
            self.states = states
            failed = history.operations.filter { $0.outcome == .failed && $0.call <= culprit.end }
        }

        /// The answer, what may have been, and the operations around it.
        public var description: String {
            """
            no order of the first \(prefix.count) operations explains the answer of
            \(line(culprit, mark: ">"))
            before it there may have been: \(states.map { "\($0)" }.sorted().joined(separator: "; "))
            around it:
            \(around.map { line($0, mark: $0 == culprit ? ">" : " ") }.joined(separator: "\n"))
            """
        }

        /// The operations closest to the culprit's time.
        private var around: [Operation] {
            let closest = (prefix + failed).sorted { distance($0) < distance($1) }.prefix(24)
            return closest.sorted { ($0.call, $0.end) < ($1.call, $1.end) }
        }

        /// How long before the culprit's call the operation ended: zero if they were under way together.
        private func distance(_ operation: Operation) -> Duration { max(.zero, culprit.call.since(operation.end)) }

        private func line(_ operation: Operation, mark: String) -> String {
            let begin = prefix.first?.call ?? culprit.call
            let (call, end) = (milliseconds(operation.call.since(begin)), milliseconds(operation.end.since(begin)))
            return "\(mark) \(call) to \(end) ms  \(operation.client)  \(operation.input) -> \(operation.outcome)"
        }

        /// With three digits behind the point.
        private func milliseconds(_ time: Duration) -> String {
            let (whole, rest) = Int((time / .microseconds(1)).rounded()).quotientAndRemainder(dividingBy: 1000)
            return "\(rest < 0 && whole == 0 ? "-" : "")\(whole).\("\(1000 + abs(rest))".dropFirst())"
        }
    }
}

extension History.Outcome: CustomStringConvertible {
    /// The reply, `failed` or `unknown`.
    public var description: String {
        switch self {
        case .ok(let reply): "\(reply)"
        case .failed: "failed"
        case .unknown: "unknown"
        }
    }
}
