internal import AffinityCore
internal import Synchronization

/// A leaf that is opened when the node runs, while services that use it are made before.
private final class Late<Leaf: Sendable>: Sendable {
    private let leaf = Mutex<Leaf?>(nil)

    var value: Leaf? { leaf.withLock { $0 } }

    func set(_ value: Leaf) { leaf.withLock { $0 = value } }
}

/// The node's log: whatever it was wired with.
final class LateChangeLog: ChangeLog {
    private let late = Late<any ChangeLog>()

    func set(_ log: any ChangeLog) { late.set(log) }

    var isExclusive: Bool { late.value?.isExclusive ?? false }

    func open(
        _ partition: PartitionID, changelogs: [ChangeLogDeclaration], executor: any EventExecutor,
        acknowledge: @escaping @Sendable ([LogAck]) -> Void
    ) async throws(LogError) -> any PartitionLog {
        guard let log = late.value else { throw LogError(.closed, "the node does not run") }
        return try await log.open(partition, changelogs: changelogs, executor: executor, acknowledge: acknowledge)
    }
}

/// The node's link to its peers: whatever it was wired with.
final class LatePeerLink: PeerLink {
    private let late = Late<any PeerLink>()

    func set(_ link: any PeerLink) { late.set(link) }

    func ask(
        _ peer: PeerAddress, _ type: String, _ body: [UInt8], deadline: MonotonicTime, withdrawal: Withdrawal?
    ) async throws(PeerError) -> [UInt8] {
        guard let link = late.value else { throw PeerError(.unreachable, isNotSent: true, "the node does not run") }
        return try await link.ask(peer, type, body, deadline: deadline, withdrawal: withdrawal)
    }

    func answer(
        _ type: String,
        _ body: @escaping @Sendable (_ request: [UInt8], _ deadline: MonotonicTime) async throws(PeerError) -> [UInt8]
    ) { late.value?.answer(type, body) }
}

/// The node's coordinator: whatever it was wired with.
final class LateCoordinator: Coordinator {
    private let late = Late<any Coordinator>()

    func set(_ coordinator: any Coordinator) { late.set(coordinator) }

    func join(
        _ partition: PartitionID, notify: @escaping @Sendable (Mastership) -> Void
    ) async throws(CoordinatorError) {
        try await coordinator.join(partition, notify: notify)
    }

    func renew(_ partition: PartitionID, above grant: UInt64) async throws(CoordinatorError) {
        try await coordinator.renew(partition, above: grant)
    }

    func report(_ partition: PartitionID, _ readiness: Readiness) { late.value?.report(partition, readiness) }

    func confirm(_ partition: PartitionID, _ grant: UInt64) async throws(CoordinatorError) {
        try await coordinator.confirm(partition, grant)
    }

    func release(_ partition: PartitionID, _ grant: UInt64) { late.value?.release(partition, grant) }

    func leave(_ partition: PartitionID) async { await late.value?.leave(partition) }

    private var coordinator: any Coordinator {
        get throws(CoordinatorError) {
            guard let coordinator = late.value else { throw CoordinatorError(.closed, "the node does not run") }
            return coordinator
        }
    }
}
