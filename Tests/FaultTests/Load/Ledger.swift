import Synchronization

/// What was asked of the service and what it has said: finds answers that cannot be.
///
/// Every key has one writer at a time, so its writes have an order: that of their beginning. A read may show the last
/// write that was acknowledged when it began, or one that was begun since; never one that was refused, never less
/// than what another read has shown before. Can be used on any thread.
final class Ledger: Sendable {
    /// Whether a new master may have written an entry again (PROTOCOL C3): then its version grows by itself.
    let allowsRewrites: Bool

    /// One write of a key; the first of each key stands for the absence at the beginning.
    struct Attempt {
        enum Outcome { case pending, acknowledged, refused, unknown }

        /// `nil` for a removal.
        var value: String?
        var outcome = Outcome.pending
        var version: UInt64 = 0
    }

    private struct History {
        var attempts = [Attempt(value: nil, outcome: .acknowledged)]
        /// The last attempt that was acknowledged or that a read has shown.
        var settled = 0
        /// The highest version that was seen.
        var version: UInt64 = 0
    }

    private struct Counter {
        var sums: Set<Int> = []
        var highest = 0
        var asked = 0
    }

    private struct State {
        mutating func complain(_ text: String) {
            guard mistakes.count < 10 else { return }
            mistakes.append(text.count > 400 ? "\(text.prefix(400))…" : text)
        }

        var histories: [String: History] = [:]
        var counters: [String: Counter] = [:]
        var mistakes: [String] = []
        var acknowledged = 0
        /// Where each acknowledged put stands.
        var written: [(key: String, version: UInt64)] = []
        var checked = 0
        var unknown = 0
        var refused = 0
    }

    private let state = Mutex(State())

    init(allowsRewrites: Bool = false) { self.allowsRewrites = allowsRewrites }

    /// What cannot be, in words: the first few.
    var mistakes: [String] { state.withLock { $0.mistakes } }
    /// How many writes were acknowledged.
    var acknowledged: Int { state.withLock { $0.acknowledged } }
    /// How many writes have an uncertain end.
    var unknown: Int { state.withLock { $0.unknown } }
    /// The key of each acknowledged put, and the version that its answer named.
    var written: [(key: String, version: UInt64)] { state.withLock { $0.written } }
    /// How many reads were checked.
    var checked: Int { state.withLock { $0.checked } }
    var summary: String {
        state.withLock {
            "\($0.acknowledged) acknowledged, \($0.unknown) lost their answer, \($0.refused) refused, "
                + "\($0.checked) reads checked"
        }
    }
    var keys: [String] { state.withLock { $0.histories.keys.sorted() } }
    var counters: [String] { state.withLock { $0.counters.keys.sorted() } }

    // MARK: - Writes

    /// A write begins; gives its place in the key's order.
    func begin(_ key: String, _ value: String?) -> Int {
        state.withLock { state in
            state.histories[key, default: History()].attempts.append(Attempt(value: value))
            return state.histories[key, default: History()].attempts.count - 1
        }
    }

    /// - Parameters:
    ///   - existed: whether the answer says that there was an entry before.
    ///   - version: that of the answer; `nil` where it has none.
    func acknowledge(_ key: String, _ attempt: Int, existed: Bool, version: UInt64?) {
        state.withLock { state in
            guard var history = state.histories[key] else { return }
            let former = history.attempts[..<attempt].last { $0.outcome != .refused }
            if let former, former.outcome == .acknowledged, existed != (former.value != nil) {
                state.complain("\(key): write \(attempt) has found \(existed ? "an" : "no") entry, after \(former)")
            }
            history.attempts[attempt].outcome = .acknowledged
            history.settled = max(history.settled, attempt)
            if let version {
                if version <= history.version {
                    state.complain("\(key): version \(version) after \(history.version)")
                }
                history.attempts[attempt].version = version
                history.version = max(history.version, version)
                state.written.append((key, version))
            }
            state.histories[key] = history
            state.acknowledged += 1
        }
    }

    /// It is certain that the write is not applied.
    func refuse(_ key: String, _ attempt: Int) {
        state.withLock {
            $0.histories[key]?.attempts[attempt].outcome = .refused
            $0.refused += 1
        }
    }

    func lose(_ key: String, _ attempt: Int) {
        state.withLock {
            $0.histories[key]?.attempts[attempt].outcome = .unknown
            $0.unknown += 1
        }
    }

    /// Writes without an answer that cannot have been applied: the connection ended before they were read.
    func refuseLost() {
        state.withLock { state in
            for key in state.histories.keys {
                for index in state.histories[key]?.attempts.indices ?? 0..<0
                where state.histories[key]?.attempts[index].outcome == .unknown {
                    state.histories[key]?.attempts[index].outcome = .refused
                }
            }
        }
    }

    /// Whether the key's next conditional write knows what stands there, and its version.
    func current(_ key: String) -> UInt64? {
        state.withLock { state in
            guard let last = state.histories[key]?.attempts.last(where: { $0.outcome != .refused }),
                last.outcome == .acknowledged, last.value != nil, last.version > 0
            else { return nil }
            return last.version
        }
    }

    /// A condition failed, or did not, against expectation.
    func complain(_ text: String) { state.withLock { $0.complain(text) } }

    // MARK: - Reads

    /// To be taken before a read is sent.
    func beforeRead(_ key: String) -> Int { state.withLock { $0.histories[key]?.settled ?? 0 } }

    /// Checks what a read has shown.
    ///
    /// - Parameter isQuiet: nothing is in flight: what the read shows is decided for good.
    func check(_ key: String, value: String?, version: UInt64?, since begun: Int, isQuiet: Bool = false) {
        state.withLock { state in
            state.checked += 1
            guard var history = state.histories[key] else { return }
            let places = history.attempts.indices[begun...]
            let found = places.last { index in
                let attempt = history.attempts[index]
                return attempt.outcome != .refused && attempt.value == value
            }
            guard let found else {
                let known = places.map { "\(history.attempts[$0])" }.joined(separator: ", ")
                state.complain("\(key): read \(value ?? "nothing"), which is none of \(known)")
                return
            }
            let attempt = history.attempts[found]
            if let version, attempt.outcome == .acknowledged, attempt.version > 0, attempt.version != version {
                if allowsRewrites, version > attempt.version {
                    history.attempts[found].version = version
                    history.version = max(history.version, version)
                } else {
                    state.complain("\(key): version \(version) of \(value ?? ""), was \(attempt.version)")
                }
            }
            // Removals look alike, so a read of nothing settles the first that it may have shown.
            let settled = value == nil ? places.first { history.attempts[$0].value == nil } ?? found : found
            history.settled = max(history.settled, isQuiet ? found : settled)
            if isQuiet {
                for index in places where history.attempts[index].outcome == .unknown {
                    history.attempts[index].outcome = index == found ? .acknowledged : .refused
                }
                if let version {
                    if version < history.version {
                        state.complain("\(key): version went back from \(history.version) to \(version)")
                    }
                    history.attempts[found].version = version
                    history.version = version
                }
            }
            state.histories[key] = history
        }
    }

    // MARK: - Counters

    func beginAdd(_ counter: String) { state.withLock { $0.counters[counter, default: Counter()].asked += 1 } }

    /// One was added once, and the sum was then `sum`.
    func added(_ counter: String, sum: Int) {
        state.withLock { state in
            state.acknowledged += 1
            var known = state.counters[counter, default: Counter()]
            if !known.sums.insert(sum).inserted {
                state.complain("\(counter): two requests have made it \(sum)")
            }
            known.highest = max(known.highest, sum)
            state.counters[counter] = known
        }
    }

    func beforeCount(_ counter: String) -> Int { state.withLock { $0.counters[counter]?.highest ?? 0 } }

    func checkCount(_ counter: String, _ count: Int, since least: Int) {
        state.withLock { state in
            state.checked += 1
            let most = state.counters[counter]?.asked ?? 0
            if !(least...max(most, least)).contains(count) {
                state.complain("\(counter): \(count) is not from \(least) to \(most)")
            }
        }
    }

    /// Every request has its answer: the counter is as many as they are, and each has made another sum.
    func checkFinalCount(_ counter: String, _ count: Int) {
        state.withLock { state in
            let known = state.counters[counter] ?? Counter()
            if count != known.asked || known.sums != Set(1..<(known.asked + 1)) {
                state.complain("\(counter) is \(count) after \(known.asked) requests, \(known.sums.count) sums")
            }
        }
    }
}
