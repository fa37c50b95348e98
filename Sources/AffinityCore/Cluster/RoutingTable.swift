internal import Synchronization

/// Where the masters are, as this node knows; read by every service, written by the coordinator. On any thread.
package final class RoutingTable: Sendable {
    /// Where one partition's master is.
    package struct Route: Sendable, Equatable {
        /// The node of the master, and where it is reached; `nil` while there is none.
        package var master: PeerAddress?
        /// The grant that it is master under.
        package var grant: UInt64

        package static let none = Route(master: nil, grant: 0)
    }

    private struct State {
        var routes: [PartitionID: Route] = [:]
        var observers: [String: @Sendable ([Int]) -> Void] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    package subscript(partition: PartitionID) -> Route { state.withLock { $0.routes[partition] ?? .none } }

    /// Names whom to tell of routes of a keyspace that have changed: the numbers of the partitions.
    package func observe(_ keyspace: String, _ body: @escaping @Sendable ([Int]) -> Void) {
        state.withLock { $0.observers[keyspace] = body }
    }

    /// Takes the newest word on all partitions of a keyspace.
    package func update(_ keyspace: String, _ routes: [Int: Route]) {
        let (changed, observer) = state.withLock { state in
            var changed: [Int] = []
            for (number, route) in routes.sorted(by: { $0.key < $1.key }) {
                let partition = PartitionID(keyspace: keyspace, number: number)
                if state.routes[partition] ?? .none == route { continue }
                state.routes[partition] = route
                changed.append(number)
            }
            return (changed, state.observers[keyspace])
        }
        if !changed.isEmpty { observer?(changed) }
    }
}
