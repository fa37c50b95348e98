/// Sessions: how a node enters the cluster, and stays (PROTOCOL Q1).
extension ClusterCoordinator {
    /// Lives through one session.
    func live(_ session: any TreeSession) async {
        entering = session
        do throws(TreeError) {
            try await prepare(session)
            try await register(session)
            entering = nil
        } catch {
            entering = nil
            if !isClosed { report(Report(.error, "the cluster cannot be entered", [("reason", error.reason)])) }
            await session.close()
            await executor.sleep(until: clock.monotonic.advanced(by: .seconds(1)))
            return
        }
        let current = Current(session, since: clock.monotonic)
        begin(current)
        await session.ended()
        end(current)
    }

    private func begin(_ current: Current) {
        report(
            Report(
                .info, "entered the cluster",
                [
                    ("session", String(current.session.id, radix: 16)),
                    ("timeout", "\(current.session.timeout.wholeMilliseconds) ms"),
                ]))
        self.current = current
        (view, vacancies, retiring, planning) = (ClusterView(), [:], [], Planning(keeping: planning))
        dirty = [.members, .settings, .planner]
        for (keyspace, declared) in configuration.keyspaces {
            dirty.insert(.assignment(keyspace))
            for number in 0..<declared.partitions {
                dirty.insert(.master(PartitionID(keyspace: keyspace, number: number)))
            }
        }
        hasEntered = true
        admitEntrants()
        publish()
        Task(executorPreference: executor) { await self.beat(current) }
        Task(executorPreference: executor) { await self.tick(current) }
        startRefreshing()
    }

    private func end(_ current: Current) {
        current.lease.finish()
        formerSessions.insert(current.session.id)
        self.current = nil
        depart()
        if isClosed { return }
        report(
            Report(
                .warning, "the session with the coordinator has ended",
                [("session", String(current.session.id, radix: 16))]))
    }

    // MARK: - Entering

    /// Makes what every node needs, and looks whether the keyspaces are what this node takes them for.
    private func prepare(_ session: any TreeSession) async throws(TreeError) {
        for path in [paths.root, paths.nodes, paths.beats, paths.keyspaces] { try await ensure(path, [], session) }
        for (keyspace, declared) in configuration.keyspaces.sorted(by: { $0.key < $1.key }) {
            let path = paths.keyspace(keyspace)
            try await ensure(path, KeyspaceRecord(partitions: declared.partitions).bytes, session)
            let record = try await session.read(path, onChange: nil).flatMap { KeyspaceRecord(bytes: $0.data) }
            guard let record, record.partitions == declared.partitions else {
                let reason =
                    "keyspaces.\(keyspace).partitions is \(declared.partitions), but the system was made with "
                    + "\(record.map { "\($0.partitions)" } ?? "an unreadable number") (\(path)); it cannot be changed"
                mistake = CoordinatorError(.corrupt, reason)
                admitEntrants()
                throw TreeError(.refused, reason)
            }
            for path in [paths.grants(keyspace), paths.masters(keyspace)] { try await ensure(path, [], session) }
        }
        try await ensure(paths.beat(name), [], session)
    }

    private func ensure(_ path: String, _ data: [UInt8], _ session: any TreeSession) async throws(TreeError) {
        while try await session.read(path, onChange: nil) == nil {
            do throws(TreeError) { try await session.commit([.create(path, data, isEphemeral: false)]) } catch {
                guard error.code == .conflict || error.code == .unknown else { throw error }
                await pause()
            }
        }
    }

    /// Makes the node that says that this process is there; waits for the end of one that was there before.
    private func register(_ session: any TreeSession) async throws(TreeError) {
        let path = paths.node(name)
        while true {
            do throws(TreeError) { try await session.commit([.create(path, own.bytes, isEphemeral: true)]) } catch {
                guard error.code == .conflict || error.code == .unknown else { throw error }
            }
            let (changes, changed) = AsyncStream.makeStream(of: Void.self)
            guard let node = try await session.read(path, onChange: { changed.finish() }) else { continue }
            // A node that was made on a session that is dead has another owner.
            if node.owner == session.id { return }
            report(
                Report(
                    .warning, "the node's name is taken by another session: waiting for its end",
                    [("node", name), ("session", String(node.owner ?? 0, radix: 16))]))
            for await _ in changes {}
            if isClosed { throw TreeError(.ended, "the node stops") }
        }
    }

    // MARK: - Staying

    /// Writes beats; an answered one lets the lease run from the moment at which it was sent (Q1).
    private func beat(_ current: Current) async {
        var record = BeatRecord(
            session: current.session.id, count: 0, lease: current.leaseLength.wholeMilliseconds)
        while current === self.current {
            record.count += 1
            let sent = clock.monotonic
            do throws(TreeError) {
                try await current.session.commit([.set(paths.beat(name), record.bytes, version: nil)])
                // A little less than the others count on: no two clocks run alike.
                current.lease.extend(to: sent.advanced(by: current.leaseLength * 63 / 64))
            } catch { if error.code == .ended { return } }
            await executor.sleep(until: sent.advanced(by: current.interval))
        }
    }

    /// Reads the beats of the others, and looks after what no event comes for.
    private func tick(_ current: Current) async {
        while current === self.current {
            let begun = clock.monotonic
            await readBeats(current)
            guard current === self.current else { return }
            dirty.formUnion(planning.unread)
            planning.unread = []
            if dirty.isEmpty { reconcile(current) } else { startRefreshing() }
            await executor.sleep(until: begun.advanced(by: current.interval))
        }
    }

    private func readBeats(_ current: Current) async {
        let others = view.members.keys.filter { $0 != name }.sorted()
        await withTaskGroup(of: Void.self) { group in
            for node in others {
                group.addTask(executorPreference: executor) { _ = await self.pulse(of: node, current) }
            }
        }
    }

    /// The newest beat of a node, and since when it is known.
    func pulse(of node: String, _ current: Current) async -> Pulse? {
        let found = try? await current.session.read(paths.beat(node), onChange: nil)
        guard let record = found.flatMap({ BeatRecord(bytes: $0.data) }) else { return pulses[node] }
        let now = clock.monotonic
        guard let known = pulses[node] else {
            pulses[node] = Pulse(record: record, since: now, sessionSince: now)
            return pulses[node]
        }
        if known.record == record { return known }
        let isSameSession = known.record.session == record.session
        pulses[node] = Pulse(record: record, since: now, sessionSince: isSameSession ? known.sessionSince : now)
        return pulses[node]
    }

    // MARK: - What the node says of itself

    /// Writes the node's record; what changes meanwhile goes with the next writing.
    func publish() {
        owesPublishing = true
        guard !isPublishing, let current else { return }
        isPublishing = true
        Task(executorPreference: executor) { await self.writeOwn(current) }
    }

    private func writeOwn(_ current: Current) async {
        while owesPublishing, current === self.current {
            owesPublishing = false
            do throws(TreeError) {
                try await current.session.commit([.set(paths.node(name), own.bytes, version: nil)])
            } catch {
                guard error.code == .unknown else { break }
                owesPublishing = true
                await pause()
            }
        }
        isPublishing = false
        if owesPublishing { publish() }
    }

    /// Hands every mastership over that another node can take; returns when nothing is left for them, or at `latest`.
    package func retire(before latest: MonotonicTime) async {
        own.isDraining = true
        publish()
        guard let current else { return }
        await withCheckedContinuation { continuation in
            departures.append(continuation)
            executor.schedule(at: latest) { [weak self] in self?.assumeIsolated { $0.depart() } }
            reconcile(current)
        }
    }

    private func depart() {
        for departure in departures { departure.resume() }
        departures = []
    }

    /// Ends the wait of `retire` once nobody can take what is left.
    func letGo(_ current: Current) {
        guard !departures.isEmpty, view.members[name]?.isDraining == true else { return }
        for partition in partitions where view.master(partition)?.owner == current.session.id {
            let others = view.hosts(partition).filter {
                $0 != name && view.members[$0].map { !$0.isDraining } ?? false && !view.hasFailed($0, partition)
            }
            if !others.isEmpty { return }
        }
        depart()
    }
}
