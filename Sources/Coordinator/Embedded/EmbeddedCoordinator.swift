public import AffinityCore

/// The coordinator of a node that is alone: every replica that joins is master.
///
/// It takes the folder for itself first, so that a second process on the same data is refused instead of becoming a
/// second master. Grant numbers are counted over all partitions; a block of them is made durable ahead of their use,
/// so that a thousand partitions that join at start cost no sync each, and a restart begins above all that a former
/// process could have given out.
///
/// Called by the replicas. Calls `GrantFile` and `C/FolderLock`, in the pool of blocking calls.
public final class EmbeddedCoordinator: Coordinator {
    /// Grants that are made durable at once. At one block a second, 48 bits last for two thousand years.
    static let blockLength: UInt64 = 4_096

    private let grants: Grants

    /// Locks the folder and reserves the first block of grants.
    ///
    /// - Parameters:
    ///   - folder: the coordinator's own; it is made if it is not there.
    ///   - pool: where file work runs.
    /// - Throws: `CoordinatorError`: `.inUse` if another process (or another coordinator of this one) has the folder,
    ///   `.corrupt` if the file with the grants is damaged, `.io` if the folder cannot be used.
    public static func open(
        folder: String, pool: BlockingPool
    ) async throws(CoordinatorError) -> EmbeddedCoordinator {
        EmbeddedCoordinator(try await Grants.open(folder: folder, pool: pool))
    }

    private init(_ grants: Grants) { self.grants = grants }

    /// Makes the replica master under a new grant, and says so by one call of `notify` before it returns.
    ///
    /// A partition that has joined already gets a higher grant, and the former `notify` is not called again.
    ///
    /// - Throws: `CoordinatorError`: `.closed`, or `.io` if grants had to be made durable and could not be; the
    ///   replica has then not joined.
    public func join(
        _ partition: PartitionID, notify: @escaping @Sendable (Mastership) -> Void
    ) async throws(CoordinatorError) {
        try await grants.join(partition, notify)
    }

    /// Gives the partition a grant above `grant`, and says so by one call of its `notify`. Does nothing for a partition that
    /// has not joined.
    ///
    /// - Throws: as `join`.
    public func renew(_ partition: PartitionID, above grant: UInt64) async throws(CoordinatorError) {
        try await grants.renew(partition, above: grant)
    }

    /// Nothing: the only replica is master, however far it is.
    public func report(_ partition: PartitionID, _ readiness: Readiness) {}

    /// Returns at once: there are no former masters.
    public func confirm(_ partition: PartitionID, _ grant: UInt64) async throws(CoordinatorError) {}

    /// Nothing: there is nobody to hand over to.
    public func release(_ partition: PartitionID, _ grant: UInt64) {}

    /// Takes the replica out; its `notify` is not called once this has returned.
    public func leave(_ partition: PartitionID) async { await grants.leave(partition) }

    /// Gives the folder back. Nothing is reported afterwards, and `join` and `renew` fail with `.closed`.
    ///
    /// The caller has stopped its replicas: from here on another process may be master.
    public func close() async { await grants.close() }
}
