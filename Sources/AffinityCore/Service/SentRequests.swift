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

    private let state: Mutex<[[ObjectIdentifier: Sent]]>

    init(partitions: Int) { state = Mutex(Array(repeating: [:], count: partitions)) }

    /// How much there is of what waits.
    var count: Int { state.withLock { $0.reduce(0) { $0 + $1.count } } }

    /// To be called before a request is sent; a change after that is not missed.
    func add(_ withdrawal: Withdrawal, _ partition: Int, _ master: Router.Master) {
        state.withLock { $0[partition][ObjectIdentifier(withdrawal)] = Sent(master: master, withdrawal: withdrawal) }
    }

    func remove(_ withdrawal: Withdrawal, _ partition: Int) {
        state.withLock { _ = $0[partition].removeValue(forKey: ObjectIdentifier(withdrawal)) }
    }

    /// Takes back what was sent to former masters.
    func move(_ partition: Int, to route: RoutingTable.Route) {
        let sent = state.withLock { $0.indices.contains(partition) ? $0[partition] : [:] }
        for request in sent.values where request.master.isOvertaken(by: route) { request.withdrawal.withdraw() }
    }
}
