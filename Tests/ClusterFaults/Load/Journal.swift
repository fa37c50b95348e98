import AffinityCore
import AffinityTesting
import Glibc
import Synchronization

/// What clients have asked in one round, and what came of it. Can be used on any thread.
final class Journal: Sendable {
    typealias Operation = History<KeyValueModel>.Operation

    /// A sign that a partition answers.
    struct Sign: Sendable {
        var moment: Int64
        var partition: Int
        var isWrite: Bool
    }

    private struct State {
        var operations: [String: [Operation]] = [:]
        /// Keys with a request that nobody waits for any more, and that may still be carried out.
        var open: Set<String> = []
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

    /// Notes a request that was sent at `begun` and is over.
    ///
    /// - Parameter what: how it ended, for the summary.
    func note(
        _ client: String, _ key: String, _ input: KeyValueModel.Input, since begun: Int64,
        _ outcome: History<KeyValueModel>.Outcome, _ what: String
    ) {
        let now = Self.now
        let operation = Operation(
            client, input, from: MonotonicTime(nanoseconds: begun), to: MonotonicTime(nanoseconds: now), outcome)
        let isWrite = input.action != .get
        state.withLock { state in
            state.operations[key, default: []].append(operation)
            state.counts[what, default: 0] += 1
            switch outcome {
            case .ok:
                let partition = Keys.partition(key, of: partitions)
                state.signs.append(Sign(moment: now, partition: partition, isWrite: isWrite))
            case .unknown: if isWrite { state.open.insert(key) }
            case .failed: break
            }
        }
    }

    // MARK: - Looking

    /// What was asked, by key.
    var operations: [String: [Operation]] { state.withLock { $0.operations } }
    /// Keys with a request that may still be carried out.
    var open: Set<String> { state.withLock { $0.open } }
    var signs: [Sign] { state.withLock { $0.signs } }
    /// How many requests ended how.
    var counts: [String: Int] { state.withLock { $0.counts } }

    /// Whether every partition has acknowledged a write after that moment.
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
