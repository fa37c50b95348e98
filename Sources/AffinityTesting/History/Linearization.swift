/// Looks for an order of operations that explains all answers: the search of Wing and Gong (1993) with the memory of
/// Lowe ("Testing for linearizability", 2017), as in Porcupine.
///
/// The events are gone through in the order of time. An operation is put into the order no sooner than the answer of
/// some operation demands it; then each of those that are under way is tried. What was tried once, the same operations
/// under way in the same state, is not tried again.
///
/// Operations without an answer make the work: each can be used anywhere, or nowhere. So orders are tried first in
/// which few of them follow each other (iterative deepening; Korf, 1985).
struct Linearization<Model: SequentialModel> {
    enum Result { case found, impossible, gaveUp }

    /// How far an order has come.
    private struct Position: Hashable {
        /// How many events lie behind.
        var event = 0
        /// The operations that are called and not yet in the order. Those without an answer may stay here for ever.
        var pending: [Int] = []
        var state: Model.State
        /// The operations without an answer that came last, since the last one with an answer; ascending.
        var unanswered: [Int] = []
    }

    /// A position, and what is still to be tried from there.
    private struct Branch {
        var position: Position
        var choices: ArraySlice<Int>
        /// The state before the newest operation, if that had no answer.
        var before: Model.State?
    }

    private let model: Model
    private let events: Events<Model>
    let isLenient: Bool
    private var stepsLeft: Int
    private var maxUnanswered = 0
    /// Whether anything was left out because of that limit.
    private var isCut = false
    private var tried: Set<Position> = []
    private var branches: [Branch] = []
    /// The furthest answer that could not be passed at once, and some of the states in front of it.
    private(set) var furthest: (event: Int, states: Set<Model.State>) = (0, [])

    /// A search of `limit` steps at most.
    ///
    /// - Parameter isLenient: whether operations without an answer may have an effect again and again, but only once
    ///   between two answers. That takes far less work, for it does not matter which were used before: what is
    ///   impossible even so is impossible. What is found so says nothing.
    init(_ model: Model, _ events: Events<Model>, limit: Int, isLenient: Bool = false) {
        self.model = model
        self.events = events
        self.isLenient = isLenient
        stepsLeft = limit
    }

    /// A search of the same kind.
    func again(_ events: Events<Model>, limit: Int) -> Linearization {
        Linearization(model, events, limit: limit, isLenient: isLenient)
    }

    mutating func find() -> Result {
        for limit in isLenient ? [.max] : [1, 2, 4, .max] {
            (maxUnanswered, isCut, tried) = (limit, false, [])
            let result = search()
            if result != .impossible || !isCut { return result }
        }
        return .impossible
    }

    private mutating func search() -> Result {
        if !advance(Position(state: model.initial), before: nil) { return .found }
        while let branch = branches.last {
            guard let choice = branch.choices.first else {
                branches.removeLast()
                continue
            }
            branches[branches.count - 1].choices.removeFirst()
            if stepsLeft <= 0 { return .gaveUp }
            if let (position, before) = step(branch, choice), !advance(position, before: before) { return .found }
        }
        return .impossible
    }

    // MARK: - One operation

    /// Puts an operation next in the order, if it fits.
    private mutating func step(_ branch: Branch, _ choice: Int) -> (Position, before: Model.State?)? {
        guard let state = apply(choice, to: branch.position.state), !isInVain(branch, choice, state) else { return nil }
        let isAnswered = events.reply(choice) != nil
        var position = branch.position
        position.state = state
        if isAnswered || !isLenient { position.pending.removeAll { $0 == choice } }
        if isAnswered {
            position.unanswered = []
            return (position, nil)
        }
        return addUnanswered(choice, &position) ? (position, branch.position.state) : nil
    }

    private mutating func addUnanswered(_ choice: Int, _ position: inout Position) -> Bool {
        guard position.unanswered.count < maxUnanswered else {
            isCut = true
            return false
        }
        let place = position.unanswered.firstIndex { $0 > choice }
        position.unanswered.insert(choice, at: place ?? position.unanswered.endIndex)
        return true
    }

    /// Whether an operation without an answer has changed nothing, or the one before had none and makes no difference:
    /// it can just as well be left out, for later.
    private mutating func isInVain(_ branch: Branch, _ choice: Int, _ state: Model.State) -> Bool {
        if events.reply(choice) == nil, model.isAsOpen(branch.position.state, as: state) { return true }
        guard let before = branch.before, let other = apply(choice, to: before) else { return false }
        return model.isAsOpen(other, as: state)
    }

    private mutating func apply(_ operation: Int, to state: Model.State) -> Model.State? {
        stepsLeft -= 1
        return model.apply(events.operations[operation].input, events.reply(operation), to: state)
    }

    // MARK: - On to the next answer

    /// Goes on to the next answer of an operation that is not in the order yet, and makes a branch there.
    ///
    /// - Returns: whether there is one.
    private mutating func advance(_ start: Position, before: Model.State?) -> Bool {
        var (position, before) = (start, before)
        while position.event < events.list.count {
            let event = events.list[position.event]
            if event.isCall {
                position.pending.append(event.operation)
            } else if position.pending.contains(event.operation) {
                if takeReads(&position) { before = nil }
                if position.pending.contains(event.operation) {
                    branch(position, before, event.operation)
                    return true
                }
            }
            position.event += 1
        }
        return false
    }

    /// Reads that fit and tell nothing new can come now: they do not hinder any other operation.
    private mutating func takeReads(_ position: inout Position) -> Bool {
        let state = position.state
        let rest = position.pending.filter { operation in
            !model.isRead(events.operations[operation].input, events.reply(operation))
                || apply(operation, to: state) != state
        }
        guard rest.count < position.pending.count else { return false }
        position.pending = rest
        position.unanswered = []
        return true
    }

    private mutating func branch(_ position: Position, _ before: Model.State?, _ due: Int) {
        noteProgress(position)
        guard isHopeful(position), tried.insert(position).inserted else { return }
        branches.append(Branch(position: position, choices: choices(position, due), before: before))
    }

    /// Whether no answer of the operations under way, or of those called soon, has become impossible.
    private func isHopeful(_ position: Position) -> Bool {
        let soon = events.list[position.event...].prefix(32)
        return position.pending.allSatisfy { mayFollow($0, position.state) }
            && soon.allSatisfy { !$0.isCall || mayFollow($0.operation, position.state) }
    }

    private func mayFollow(_ operation: Int, _ state: Model.State) -> Bool {
        guard let reply = events.reply(operation) else { return true }
        return model.mayFollow(events.operations[operation].input, reply, state)
    }

    /// The operation whose answer is due, others with an answer, then those without: the newest first, for most have
    /// their effect soon or never; and of those that ask for the same any one will do.
    private func choices(_ position: Position, _ due: Int) -> ArraySlice<Int> {
        let answered = position.pending.filter { $0 != due && events.reply($0) != nil }
        var seen: Set<Model.Input> = []
        let unanswered = position.pending.reversed().filter {
            events.reply($0) == nil && !position.unanswered.contains($0)
                && seen.insert(events.operations[$0].input).inserted
        }
        return [due] + answered + unanswered
    }

    private mutating func noteProgress(_ position: Position) {
        if position.event > furthest.event { furthest = (position.event, []) }
        if position.event == furthest.event, furthest.states.count < 8 { furthest.states.insert(position.state) }
    }
}
