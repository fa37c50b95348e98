internal import AffinityCore

/// The calls and the answers of a history, in the order of time.
struct Events<Model: SequentialModel> {
    struct Event {
        /// The place of the operation in `operations`.
        var operation: Int
        var isCall: Bool
    }

    /// The operations that can have an effect or have an answer that must be explained.
    let operations: [History<Model>.Operation]
    let list: [Event]

    /// All calls and answers. What has failed is nowhere, and neither is a read without an answer.
    ///
    /// A call at the very moment of an answer counts as before it: nothing is held to be later that may not be.
    init(_ history: History<Model>) {
        let relevant = history.operations.filter { operation in
            switch operation.outcome {
            case .ok: true
            case .failed: false
            case .unknown: !history.model.isRead(operation.input, nil)
            }
        }
        let events = relevant.enumerated().flatMap { index, operation in
            let call = (operation.call, 0, Event(operation: index, isCall: true))
            if case .unknown = operation.outcome { return [call] }
            // A clock that went back would put the answer before the call.
            return [call, (max(operation.call, operation.end), 1, Event(operation: index, isCall: false))]
        }
        operations = relevant
        list = events.sorted { ($0.0, $0.1, $0.2.operation) < ($1.0, $1.1, $1.2.operation) }.map(\.2)
    }

    private init(_ operations: [History<Model>.Operation], _ list: [Event]) {
        self.operations = operations
        self.list = list
    }

    /// The first events. What is answered later has no answer yet.
    func prefix(_ count: Int, _ model: Model) -> Events {
        let list = list.prefix(count)
        let answered = Set(list.filter { !$0.isCall }.map(\.operation))
        var operations = operations
        for index in operations.indices where !answered.contains(index) { operations[index].outcome = .unknown }
        return Events(
            operations,
            list.filter { answered.contains($0.operation) || !model.isRead(operations[$0.operation].input, nil) }
        )
    }

    func reply(_ operation: Int) -> Model.Reply? {
        guard case .ok(let reply) = operations[operation].outcome else { return nil }
        return reply
    }
}
