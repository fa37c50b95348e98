/// Masterships: how they are taken, confirmed, raised and given up (PROTOCOL §4, Q2, §8).
extension ClusterCoordinator {
    // MARK: - Taking

    /// Tries for every partition of this node that has no master, when it is this node's turn.
    func fillVacancies(_ current: Current) {
        let now = clock.monotonic
        for partition in partitions {
            guard view.master(partition) == nil, view.hosts(partition).contains(name) else {
                vacancies[partition] = nil
                continue
            }
            let vacancy = vacancies[partition] ?? Vacancy(since: now, successor: nil)
            vacancies[partition] = vacancy
            guard !claiming.contains(partition), isTurn(partition, vacancy, current) else { continue }
            claiming.insert(partition)
            Task(executorPreference: executor) { await self.claim(partition, current) }
        }
    }

    /// Whether this node may try: the first candidate at once, each later one when those before it have had their time.
    private func isTurn(_ partition: PartitionID, _ vacancy: Vacancy, _ current: Current) -> Bool {
        // Whom the former master named is not known yet: any candidate looks.
        let candidates = view.candidates(partition, successor: vacancy.successor ?? nil)
        guard let rank = candidates.firstIndex(of: name) else { return false }
        guard rank > 0, vacancy.successor != nil else { return true }
        return clock.monotonic >= vacancy.since.advanced(by: current.session.timeout / 2 * rank)
    }

    /// Raises the grant and becomes master, both or neither.
    private func claim(_ partition: PartitionID, _ current: Current) async {
        var failure: TreeError?
        defer {
            claiming.remove(partition)
            touch(.master(partition), after: failure, current)
        }
        let path = paths.grant(partition)
        do throws(TreeError) {
            let node = try await current.session.read(path, onChange: nil)
            var record = try grant(node, path)
            guard current === self.current, var vacancy = vacancies[partition] else { return }
            vacancy.successor = .some(record.successor)
            vacancies[partition] = vacancy
            guard isTurn(partition, vacancy, current) else { return }
            let failed = record.failed
            record.grant += 1
            (record.successor, record.failed) = (nil, nil)
            record.masters.append(mastership(record.grant, current))
            let master = MasterRecord(node: name, grant: record.grant)
            try await current.session.commit([
                node.map { .set(path, record.bytes, version: $0.version) }
                    ?? .create(path, record.bytes, isEphemeral: false),
                .create(paths.master(partition), master.bytes, isEphemeral: true),
            ])
            // Who gave it up because it could not serve does not get it back at once.
            if let failed { distrusted[partition] = (failed, clock.monotonic.advanced(by: .seconds(60))) }
        } catch {
            failure = error
            // Another one was first, or the answer is lost: what is there now is read next.
            if error.code == .refused { complain("the mastership cannot be taken", partition, error) }
        }
    }

    private func mastership(_ grant: UInt64, _ current: Current) -> GrantRecord.Master {
        GrantRecord.Master(
            node: name, grant: grant, session: current.session.id, lease: current.leaseLength.wholeMilliseconds)
    }

    /// What stands in the node of a grant. Bytes that are none are never taken for the beginning.
    private func grant(_ node: TreeNode?, _ path: String) throws(TreeError) -> GrantRecord {
        guard let node else { return GrantRecord() }
        guard let record = GrantRecord(bytes: node.data), record.grant < 1 << 48 else {
            throw TreeError(.refused, "\(path) is damaged; restore it")
        }
        return record
    }

    private func complain(_ message: String, _ partition: PartitionID, _ error: TreeError) {
        report(Report(.error, message, [("partition", partition.description), ("reason", error.reason)]))
    }

    // MARK: - Raising, confirming

    /// Raises the grant of a mastership of this node above `grant`; the replica hears of it by its `notify`.
    ///
    /// - Throws: `.io` if the node is not master, or the tree did not answer.
    public func renew(_ partition: PartitionID, above grant: UInt64) async throws(CoordinatorError) {
        try await change(partition) { (record, current) in
            let raised = max(record.grant, grant) + 1
            record.grant = raised
            record.masters.removeAll { $0.session == current.session.id }
            record.masters.append(self.mastership(raised, current))
            return MasterRecord(node: self.name, grant: raised)
        }
        if let current { touch(.master(partition), current) }
    }

    /// Waits for the end of former leases, and marks the mastership as one that may have served (Q2).
    ///
    /// - Throws: `.io` if the grant no longer holds, or the tree did not answer.
    public func confirm(_ partition: PartitionID, _ grant: UInt64) async throws(CoordinatorError) {
        var hasWaited: Set<Int64> = []
        while true {
            let (record, _, current) = try await held(partition, grant)
            // Nobody else may have a lease, and the grant says so already: a handover waits for no further write.
            if record.masters.allSatisfy({ $0.session == current.session.id && $0.grant == grant }) { return }
            let former = record.masters.filter { $0.session != current.session.id && !hasWaited.contains($0.session) }
            if former.isEmpty { break }
            for master in former {
                await executor.sleep(until: await leaseEnd(of: master, current))
                hasWaited.insert(master.session)
            }
        }
        try await change(partition) { (record, current) in
            guard record.grant == grant else { return nil }
            record.masters = record.masters.filter { $0.session == current.session.id && $0.grant == grant }
            return MasterRecord(node: self.name, grant: grant)
        }
    }

    /// When nobody can answer from the lease of a former master any more.
    private func leaseEnd(of master: GrantRecord.Master, _ current: Current) async -> MonotonicTime {
        // As long as the master itself has said, or, where it has not, as the own one.
        let said = master.lease.map { Duration.milliseconds(max(0, min($0, 3_600_000))) }
        let own = said ?? current.leaseLength
        // A session of this process has taken its lease along; one of a process before it ended before this began.
        if formerSessions.contains(master.session) { return clock.monotonic }
        if master.node == name { return current.since.advanced(by: own) }
        guard let pulse = await pulse(of: master.node, current) else { return clock.monotonic.advanced(by: own) }
        let length = max(said ?? .zero, Duration.milliseconds(max(0, min(pulse.record.lease, 3_600_000))))
        let since = pulse.record.session == master.session ? pulse.since : pulse.sessionSince
        return since.advanced(by: length)
    }

    /// The grant of a mastership that this node has, and its version.
    private func held(
        _ partition: PartitionID, _ grant: UInt64?
    ) async throws(CoordinatorError) -> (GrantRecord, Int32, Current) {
        guard let current else { throw CoordinatorError(.io, "there is no session with the coordinator") }
        do throws(TreeError) {
            let path = paths.grant(partition)
            guard let node = try await current.session.read(path, onChange: nil) else {
                throw TreeError(.conflict, "there is no \(path)")
            }
            let record = try self.grant(node, path)
            guard record.masters.last?.session == current.session.id, grant == nil || record.grant == grant else {
                throw TreeError(.conflict, "\(partition) was granted to another node")
            }
            return (record, node.version, current)
        } catch { throw CoordinatorError(.io, error.reason) }
    }

    /// Changes the grant of a mastership of this node, as long as it is one.
    ///
    /// - Parameter edit: says what the master's node is to be; `nil` if the change no longer fits.
    private func change(
        _ partition: PartitionID, _ edit: (inout GrantRecord, Current) -> MasterRecord?
    ) async throws(CoordinatorError) {
        while true {
            var (record, version, current) = try await held(partition, nil)
            guard let master = edit(&record, current) else {
                throw CoordinatorError(.io, "\(partition) was granted anew meanwhile")
            }
            do throws(TreeError) {
                let path = paths.master(partition)
                guard let node = try await current.session.read(path, onChange: nil), node.owner == current.session.id
                else { throw TreeError(.ended, "\(partition) has no master, or another one") }
                var changes: [TreeChange] = [.set(paths.grant(partition), record.bytes, version: version)]
                if node.data == master.bytes {
                    changes.append(.check(path, version: node.version))
                } else {
                    changes.append(.set(path, master.bytes, version: node.version))
                }
                return try await current.session.commit(changes)
            } catch {
                guard error.code == .conflict || error.code == .unknown else {
                    throw CoordinatorError(.io, error.reason)
                }
                await pause()
            }
        }
    }

    // MARK: - Giving up

    /// Chooses which masterships are handed over now: a bounded number at a time.
    func chooseHandovers(_ current: Current) {
        let masters = partitions.filter { view.master($0)?.owner == current.session.id }
        retiring.formIntersection(masters)
        for partition in masters {
            guard retiring.count < configuration.concurrency else { break }
            guard !retiring.contains(partition), !releasing.contains(partition) else { continue }
            if hasLongFailed(partition, current) {
                // By way of the replica: it must not answer from its lease once the master's node is gone.
                retiring.insert(partition)
                continue
            }
            let isLeaving = own.isDraining || !view.hosts(partition).contains(name)
            guard serving.contains(partition) || isLeaving, let better = view.betterMaster(than: name, partition)
            else { continue }
            let now = clock.monotonic
            if !isLeaving, let distrust = distrusted[partition], distrust.node == better, now < distrust.until {
                continue
            }
            // Who comes back from there within a minute is not sent there again at once.
            distrusted[partition] = (better, now.advanced(by: .seconds(60)))
            retiring.insert(partition)
        }
    }

    /// Whether a master of this node has been unable to serve for so long that another one is to try.
    private func hasLongFailed(_ partition: PartitionID, _ current: Current) -> Bool {
        guard let since = failing[partition], clock.monotonic >= since.advanced(by: current.session.timeout) else {
            return false
        }
        return view.levelOther(than: name, partition) != nil
    }

    /// Gives a mastership up, for the best of the others to take.
    public nonisolated func release(_ partition: PartitionID, _ grant: UInt64) {
        executor.post { [self] in
            assumeIsolated { coordinator in
                guard coordinator.releasing.insert(partition).inserted else { return }
                Task(executorPreference: executor) { await self.giveUp(partition, grant) }
            }
        }
    }

    /// Deletes the master's node, and names the successor, until that is known to be done.
    private func giveUp(_ partition: PartitionID, _ grant: UInt64) async {
        defer {
            releasing.remove(partition)
            if let current { touch(.master(partition), current) }
        }
        while let current {
            let successor = view.levelOther(than: name, partition)
            do throws(TreeError) {
                let path = paths.grant(partition)
                // Together: nobody serves until this is done.
                guard let (master, node) = try await read(paths.master(partition), path, current),
                    master.owner == current.session.id, MasterRecord(bytes: master.data)?.grant == grant
                else { return }
                var record = try self.grant(node, path)
                record.masters.removeAll { $0.session == current.session.id }
                record.successor = successor
                record.failed = failing[partition] == nil ? nil : name
                return try await current.session.commit([
                    .set(path, record.bytes, version: node.version),
                    .delete(paths.master(partition), version: master.version),
                ])
            } catch {
                if error.code == .refused { return complain("the mastership cannot be released", partition, error) }
                if error.code == .ended { return }
                await pause()
            }
        }
    }

    /// Reads two nodes in the time of one; `nil` if one of them is missing.
    private func read(
        _ first: String, _ second: String, _ current: Current
    ) async throws(TreeError) -> (TreeNode, TreeNode)? {
        // No task group: release builds (Swift 6.3) crash over one whose results have typed errors in them.
        let one = Task(executorPreference: executor) { await Self.attempt(first, current) }
        let other = await Self.attempt(second, current)
        guard let one = try await one.value.get(), let other = try other.get() else { return nil }
        return (one, other)
    }

    private static func attempt(_ path: String, _ current: Current) async -> Result<TreeNode?, TreeError> {
        do throws(TreeError) { return .success(try await current.session.read(path, onChange: nil)) } catch {
            return .failure(error)
        }
    }

    /// Takes the replica out, and releases what it is master of.
    public func leave(_ partition: PartitionID) async {
        slots[partition] = nil
        note(partition, .behind)
        guard let current, let master = view.master(partition), master.owner == current.session.id else { return }
        await giveUp(partition, master.record.grant)
    }
}
