internal import AffinityCore

/// The state of an `EmbeddedCoordinator`.
///
/// An actor that calls `notify` without letting anybody in between, which is what puts the calls of a partition one
/// after the other and makes `leave` final.
actor Grants {
    private let folder: String
    private let pool: BlockingPool
    private var lock: FolderLock?
    /// Set before the lock is given back, so that nobody joins while the last write is awaited.
    private var isClosed = false
    /// The last grant that was given out, and the last that is durably reserved.
    private var last: UInt64
    private var reserved: UInt64
    /// Reserving lets others in; they wait for it instead of doing it again.
    private var isReserving = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var members: [PartitionID: Member] = [:]
    private var lastJoin: UInt64 = 0

    private struct Member {
        /// Tells one stay of a partition from the next.
        var join: UInt64
        var notify: @Sendable (Mastership) -> Void
    }

    private init(
        folder: String, pool: BlockingPool, lock: consuming FolderLock, last: UInt64, reserved: UInt64
    ) {
        self.folder = folder
        self.pool = pool
        self.lock = consume lock
        self.last = last
        self.reserved = reserved
    }

    static func open(folder: String, pool: BlockingPool) async throws(CoordinatorError) -> Grants {
        try await inPool(pool) { () throws(CoordinatorError) in
            try Files.makeFolder(folder)
            let lock = try FolderLock(folder: folder)
            // Read behind the lock: a former holder may have raised it until then.
            let last = try GrantFile.read(in: folder)
            let reserved = try reserve(after: last, in: folder)
            return Grants(
                folder: folder, pool: pool, lock: lock, last: last, reserved: reserved)
        }
    }

    func join(
        _ partition: PartitionID, _ notify: @escaping @Sendable (Mastership) -> Void
    ) async throws(CoordinatorError) {
        try await makeRoom()
        lastJoin += 1
        members[partition] = Member(join: lastJoin, notify: notify)
        grant(notify)
    }

    func renew(_ partition: PartitionID, above grant: UInt64) async throws(CoordinatorError) {
        guard !isClosed else { throw closed }
        guard let before = members[partition] else { return }
        try await makeRoom(above: grant)
        // It may have left, or left and joined, while room was made.
        guard let member = members[partition], member.join == before.join else { return }
        self.grant(member.notify)
    }

    func leave(_ partition: PartitionID) { members[partition] = nil }

    func close() async {
        isClosed = true
        members = [:]
        // A file that is being written must not be written behind the lock's back.
        while isReserving { await reservationEnded() }
        _ = lock.take()
    }

    /// Called with room for one grant, in the same step.
    private func grant(_ notify: @Sendable (Mastership) -> Void) {
        last += 1
        notify(.master(Grant(number: last)))
    }

    /// Returns when the next grant is durably reserved; nothing runs between that and what the caller does next.
    ///
    /// - Parameter grant: the next grant is to be above this one: a log may know more than the file of grants does.
    private func makeRoom(above grant: UInt64 = 0) async throws(CoordinatorError) {
        while true {
            guard !isClosed else { throw closed }
            if max(last, grant) < reserved {
                last = max(last, grant)
                return
            }
            if isReserving {
                await reservationEnded()
                continue
            }
            isReserving = true
            defer {
                isReserving = false
                let woken = waiting
                waiting = []
                for continuation in woken { continuation.resume() }
            }
            let (folder, reserved) = (folder, max(reserved, grant))
            self.reserved = try await Self.inPool(pool) { () throws(CoordinatorError) in
                try Self.reserve(after: reserved, in: folder)
            }
        }
    }

    private func reservationEnded() async { await withCheckedContinuation { waiting.append($0) } }

    private var closed: CoordinatorError {
        CoordinatorError(.closed, "the coordinator of \(folder) is closed")
    }

    /// Makes a block of grants durable, and returns the last of them.
    private static func reserve(after last: UInt64, in folder: String) throws(CoordinatorError) -> UInt64 {
        let (next, overflow) = last.addingReportingOverflow(EmbeddedCoordinator.blockLength)
        guard !overflow, next < GrantFile.end else {
            throw CoordinatorError(.corrupt, "\(folder)/\(GrantFile.name) has no grants left: \(last) is the last")
        }
        try GrantFile.write(next, in: folder)
        return next
    }

    /// Runs file work in the pool, keeping the type of its error.
    private static func inPool<Value: Sendable>(
        _ pool: BlockingPool, _ body: @escaping @Sendable () throws(CoordinatorError) -> Value
    ) async throws(CoordinatorError) -> Value {
        do {
            return try await pool.run(body)
        } catch let error as CoordinatorError {
            throw error
        } catch {
            throw CoordinatorError(.io, "\(error)")
        }
    }
}
