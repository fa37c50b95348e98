import Glibc
import Synchronization

/// What was asked in one round, and what came of it. Can be used on any thread.
final class History: Sendable {
    /// A request of a client.
    struct Operation: Sendable {
        enum Action: Sendable {
            case read
            case put(Int, Condition?)
            case delete(Condition?)
            case add(Int)
        }

        enum Condition: Sendable {
            case matches(UInt64)
            case absent
        }

        enum Outcome: Sendable {
            /// An entry was read, written, or the sum of an `add`.
            case entry(Int, version: UInt64?)
            /// There is none, or there was none to remove.
            case absent
            case created(version: UInt64?)
            case replaced(version: UInt64?)
            case deleted
            case failedCondition(current: UInt64?)
            case unknown
        }

        var client: Int
        var key: String
        var action: Action
        var begun: Int64
        var ended: Int64?
        var outcome: Outcome?

        var isWrite: Bool { if case .read = action { false } else { true } }
    }

    /// A sign that a partition answers.
    struct Sign: Sendable {
        var moment: Int64
        var partition: Int
        var isWrite: Bool
    }

    fileprivate struct State {
        var operations: [Operation] = []
        var signs: [Sign] = []
        var counts: [String: Int] = [:]
    }

    private let state = Mutex(State())
    private let partitions: Int

    init(partitions: Int) { self.partitions = partitions }

    /// Nanoseconds on a clock that all threads share.
    static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    // MARK: - Recording

    /// A request is about to be sent; gives its place.
    func begin(_ client: Int, _ key: String, _ action: Operation.Action) -> Int {
        let begun = Self.now
        return state.withLock { state in
            state.operations.append(Operation(client: client, key: key, action: action, begun: begun))
            return state.operations.count - 1
        }
    }

    /// The answer has come, or will not come any more: the outcome is `unknown` then.
    func end(_ place: Int, _ outcome: Operation.Outcome) {
        let ended = Self.now
        state.withLock { state in
            state.operations[place].outcome = outcome
            if case .unknown = outcome { return state.count("unknown") }
            state.operations[place].ended = ended
            let operation = state.operations[place]
            state.count(operation.isWrite ? "written" : "read")
            let partition = Keys.partition(operation.key, of: partitions)
            state.signs.append(Sign(moment: ended, partition: partition, isWrite: operation.isWrite))
        }
    }

    /// It is certain that the request has done nothing, so nothing will be seen of it.
    func drop(_ place: Int, _ reason: String) {
        state.withLock { state in
            state.operations[place].outcome = nil
            state.count(reason)
        }
    }

    // MARK: - Looking

    /// What may have been done, by key.
    var byKey: [String: [Operation]] {
        Dictionary(grouping: state.withLock { $0.operations }.filter { $0.outcome != nil }, by: \.key)
    }

    var signs: [Sign] { state.withLock { $0.signs } }

    /// How many requests ended how.
    var counts: [String: Int] { state.withLock { $0.counts } }

    /// Whether every partition has acknowledged a write that ended after that moment.
    func allWritten(since moment: Int64) -> Bool {
        state.withLock { state in
            var found: Set<Int> = []
            for sign in state.signs.reversed() {
                if sign.moment < moment { break }
                if sign.isWrite { found.insert(sign.partition) }
            }
            return found.count == partitions
        }
    }
}

extension History.State {
    fileprivate mutating func count(_ what: String) { counts[what, default: 0] += 1 }
}
