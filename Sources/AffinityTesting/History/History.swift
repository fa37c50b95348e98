public import AffinityCore

/// What clients have asked of one thing, when, and what they were answered; and whether that can be.
///
///     var history = History(KeyValueModel())
///     history.operations.append(.init("c1", .put("1"), from: called, to: answered, .ok(.written(version, isNew: true))))
///     #expect(history.check() == .linearizable)
///
/// A history is *linearizable* if each operation can be thought to take place at one moment between its call and its
/// answer, so that all answers are right (Herlihy and Wing, 1990). Keys that have nothing to do with each other are
/// checked apart: each has a history of its own.
public struct History<Model: SequentialModel>: Sendable {
    /// How an operation ended.
    public enum Outcome: Hashable, Sendable {
        /// It was answered.
        case ok(Model.Reply)
        /// It certainly was not carried out, and will not be.
        case failed
        /// It may have been carried out, or may be at any later time, or never.
        case unknown
    }

    /// One operation of a client.
    public struct Operation: Hashable, Sendable {
        /// Who asked: for the rendering only.
        public var client: String
        /// What was asked for.
        public var input: Model.Input
        /// When it was sent, or before.
        public var call: MonotonicTime
        /// When the answer was there, or later.
        public var end: MonotonicTime
        /// How it ended.
        public var outcome: Outcome

        /// An operation of those parts.
        public init(
            _ client: String, _ input: Model.Input, from call: MonotonicTime, to end: MonotonicTime, _ outcome: Outcome
        ) {
            self.client = client
            self.input = input
            self.call = call
            self.end = end
            self.outcome = outcome
        }
    }

    /// What is to be found out.
    public enum Verdict: Equatable, Sendable, CustomStringConvertible {
        /// There is an order that explains all answers.
        case linearizable
        /// There is none.
        case violated(Violation)
        /// So many steps did not suffice to find out.
        case undecided(steps: Int)

        /// The verdict in words, over several lines if there is something to show.
        public var description: String {
            switch self {
            case .linearizable: "linearizable"
            case .violated(let violation): "not linearizable: \(violation)"
            case .undecided(let steps): "undecided after \(steps) steps"
            }
        }
    }

    /// What the operations mean.
    public var model: Model
    /// What was asked, in any order.
    public var operations: [Operation]

    /// A history of those operations.
    public init(_ model: Model, _ operations: [Operation] = []) {
        self.model = model
        self.operations = operations
    }

    /// Finds out whether the history is linearizable.
    ///
    /// The work may double with each operation that is under way at the same time as others, and operations without an
    /// answer are under way for ever. A few thousand operations are no problem if few of them have none.
    ///
    /// - Parameter limit: how many steps may be tried, in each of two searches.
    public func check(limit: Int = 10_000_000) -> Verdict { decide(limit) }

    private func decide(_ limit: Int) -> Verdict {
        let events = Events(self)
        var lenient = Linearization(model, events, limit: limit, isLenient: true)
        if lenient.find() == .impossible { return .violated(.shortest(self, events, lenient, limit: limit)) }
        var search = Linearization(model, events, limit: limit)
        switch search.find() {
        case .found: return .linearizable
        case .impossible: return .violated(.shortest(self, events, search, limit: limit))
        case .gaveUp: return .undecided(steps: limit)
        }
    }
}

extension History where Model == KeyValueModel {
    /// Finds out whether the history is linearizable: the same, compiled for this model.
    ///
    /// - Parameter limit: how many steps may be tried, in each of two searches.
    public func check(limit: Int = 10_000_000) -> Verdict { decide(limit) }
}
