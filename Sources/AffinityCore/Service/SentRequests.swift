internal import Synchronization

/// Requests on their way to masters on other nodes that can be asked again: none waits for a master that has a follower.
///
/// A node that falls silent (its process is paused, its network is cut) keeps what was sent to it until the deadline;
/// long before, another one may be master. Kept by a `Router`, one a keyspace. Every method can be called on any thread.
final class SentRequests: Sendable {
    private struct Sent {
        var master: Router.Master
        var withdrawal: Withdrawal
    }

    private struct State {
        /// By the order in which they were sent, for each partition.
        var sent: [[UInt64: Sent]]
        var last: UInt64 = 0
    }

    private let state: Mutex<State>

    init(partitions: Int) { state = Mutex(State(sent: Array(repeating: [:], count: partitions))) }

    /// How much there is of what waits.
    var count: Int { state.withLock { $0.sent.reduce(0) { $0 + $1.count } } }

    /// To be called before a request is sent; a change after that is not missed.
    ///
    /// - Returns: what `remove` wants.
    func add(_ withdrawal: Withdrawal, _ partition: Int, _ master: Router.Master) -> UInt64 {
        state.withLock { state in
            state.last += 1
            state.sent[partition][state.last] = Sent(master: master, withdrawal: withdrawal)
            return state.last
        }
    }

    func remove(_ number: UInt64, _ partition: Int) {
        state.withLock { _ = $0.sent[partition].removeValue(forKey: number) }
    }

    /// Takes back what was sent to former masters.
    func move(_ partition: Int, to route: RoutingTable.Route) {
        let sent = state.withLock { $0.sent.indices.contains(partition) ? $0.sent[partition] : [:] }
        for (_, request) in sent.sorted(by: { $0.key < $1.key }) where request.master.isOvertaken(by: route) {
            request.withdrawal.withdraw()
        }
    }
}
