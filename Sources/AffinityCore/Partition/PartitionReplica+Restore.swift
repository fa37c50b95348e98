/// How a replica comes to the end of its log and claims it (PROTOCOL §4, §7).
extension PartitionReplica {
    /// Opens memstore and log if they are not, and applies what lies before the log's end; who keeps up need not.
    ///
    /// Nothing else of the replica's life happens meanwhile: `run` hears the next event when this has returned.
    func catchUp(_ epoch: Epoch) async throws {
        defer { restoring = nil }
        // What it has not read yet, it reads on the way to its claim (C2).
        if !keepsUp { try await readToEnd() }
        guard let state else { return }
        give(.caughtUp(epoch, highest: max(state.applied.epoch, state.fold.highest)))
    }

    /// Opens the log, and the memstore as it was left; does nothing if they are open.
    ///
    /// - Returns: where the log ends.
    private func openLog() async throws -> [Offset] {
        if let log, state != nil {
            restoring = log
            return try await ends(log)
        }
        let changelogs = core.stores.map { ChangeLogDeclaration(name: $0.name, controlKey: $0.controlKey) }
        let generation = generation
        let log = try await environment.log.open(id, changelogs: changelogs, executor: executor) { [weak self] acks in
            self?.here((acks, generation)) { replica, input in replica.acknowledge(input.0, of: input.1) }
        }
        restoring = log
        do {
            let bounds = try await bounds(log)
            try checkKnown(bounds)
            state = try await openState(log, bounds)
            self.log = log
            progress = (Position([]), environment.clock.monotonic)
            lookAfter(generation)
            return bounds.map(\.upperBound)
        } catch {
            await log.close()
            throw error
        }
    }

    /// Opens what is not open, and reads up to where the log ends now.
    func readToEnd() async throws {
        var asked = environment.clock.monotonic
        let first = try await openLog()
        var (ends, earlier) = (first, [Offset]?.none)
        // Twice on a shared log, one after the other: then it is known where the commands end that the first ends cover.
        if let log, let state, state.isShared, state.isWaiting || state.changelogToRead(first) != nil {
            asked = environment.clock.monotonic
            (ends, earlier) = (try await self.ends(log), first)
        }
        try await read(to: ends, lookedUpAfter: earlier, seen: asked)
        // What is read may not be decided yet (R2).
        if let state, state.position.covers(Position(ends)) { levelAt = asked }
    }

    /// Applies the changelogs up to `ends`; with a memstore made anew if the one that is there does not fit the log.
    ///
    /// - Parameters:
    ///   - earlier: ends that were known before `ends` were looked up.
    ///   - seen: when the log ended there; `nil` if that is not known.
    func read(to ends: [Offset], lookedUpAfter earlier: [Offset]? = nil, seen: MonotonicTime?) async throws {
        while let log, let state {
            do {
                if let earlier { try state.note(ends: earlier, ends) }
                try await read(log, to: ends, seen, into: state)
                if let known, state.applied.log != 0, state.applied.log != known.number {
                    throw LogError(.shape, "the log is another one than was served: its changelogs were made anew")
                }
                return
            } catch {
                guard let mistake = mistake(in: state, shownBy: error) else { throw error }
                damage = mistake
            }
            // Nobody reads from it, or waits for it, any longer.
            (self.state, levelAt) = (nil, nil)
            state.abandon("the memstore is made anew")
            say(.behind)
            self.state = try await openState(log, try await bounds(log))
        }
    }

    /// C2, C3: reads the log to the claims, and rewrites what is in doubt.
    func repair(_ epoch: Epoch) async throws {
        guard let state, let log else { return }
        if state.isShared {
            restoring = log
            defer { restoring = nil }
            let asked = environment.clock.monotonic
            let ends = try await ends(log)
            do { try await read(log, to: ends, asked, into: state) } catch {
                // It is made anew by the next attempt, under a higher epoch.
                guard let mistake = mistake(in: state, shownBy: error) else { throw error }
                damage = mistake
                throw LogError(.io, mistake)
            }
            guard machine.state == .repairing(epoch) else { return }
            if let other = state.otherMaster { return give(.overtaken(epoch, by: other)) }
        }
        try state.conclude()
        do { try core.rememberRestored(state) } catch {
            damage = state.damage
            throw error
        }
        let late = try state.rewrite(olderThan: environment.compactionLag) { [weak self] settlement in
            if settlement.failure == nil { self?.assumeIsolated { $0.give(.repaired(epoch)) } }
        }
        guard !late.isEmpty else { return }
        environment.report(
            Report(
                .error, "records in doubt are older than the compaction lag: the last good values may be lost",
                [
                    ("partition", id.description), ("keys", late.prefix(100).joined(separator: ", ")),
                    ("count", String(late.count)),
                ]))
    }

    /// What a log was when it was last served.
    struct KnownLog {
        var number: UInt64
        var position: Position
    }

    /// A log that a replica of this process has served must be the same when it comes back to it. If it is not, the
    /// replica does not serve: what it would make of another log is not what it has acknowledged.
    private func checkKnown(_ ends: [Range<Offset>]) throws(LogError) {
        guard let known else { return }
        for (changelog, end) in ends.map(\.upperBound).enumerated() where end < known.position.offsets[changelog] {
            throw LogError(
                .shape,
                "\(core.stores[changelog].name): the changelog ends at \(end), but was served up to "
                    + "\(known.position.offsets[changelog]): it was made anew, or has lost records")
        }
    }

    /// A memstore turned out not to be what its log makes.
    private struct Misfit: Error { var reason: String }

    /// Why a memstore that was gone on with has to be made anew, if it is that what an error shows.
    private func mistake(in state: StateStore, shownBy error: any Error) -> String? {
        switch error {
        case let misfit as Misfit: misfit.reason
        case let error as LogError
        where (error.code == .corrupt || error.code == .outOfRange) && (state.wasResumed || state.wasLevel)
            && !isStopping:
            error.reason
        default: nil
        }
    }

    /// Puts a memstore that does not fit its log aside, loudly: the next one is empty.
    private func setMemStoreAside(because reason: String) async throws {
        await memstore?.close()
        memstore = nil
        let place = try await environment.memstores.setAside(id)
        damage = nil
        environment.report(
            Report(
                .error, "memstore set aside and made anew from the log",
                [("partition", id.description), ("reason", reason), ("kept", place ?? "nothing")]))
    }

    private func bounds(_ log: any PartitionLog) async throws -> [Range<Offset>] {
        try await ofEach { try await log.bounds($0) }
    }

    private func ends(_ log: any PartitionLog) async throws -> [Offset] {
        try await ofEach { try await log.findEnd($0) }
    }

    /// Asks for all changelogs together, so that one request can ask for all of them.
    private func ofEach<Found: Sendable>(
        _ find: @escaping @Sendable (_ changelog: Int) async throws -> Found
    ) async throws -> [Found] {
        try await withThrowingTaskGroup(of: (Int, Found).self) { group in
            for changelog in core.stores.indices {
                group.addTask(executorPreference: executor) { (changelog, try await find(changelog)) }
            }
            var all: [Int: Found] = [:]
            for try await (changelog, found) in group { all[changelog] = found }
            return core.stores.indices.compactMap { all[$0] }
        }
    }

    /// The state of the memstore that is there, or of an empty one if that does not fit the log.
    private func openState(_ log: any PartitionLog, _ bounds: [Range<Offset>]) async throws -> StateStore {
        if damage == nil { damage = try await memStoreDamage(log, bounds) }
        if let damage {
            try await setMemStoreAside(because: damage)
            if let mistake = try await memStoreDamage(log, bounds) { throw MemStoreError(.corrupt, mistake) }
        }
        guard let memstore else { throw MemStoreError(.io, "the memstore was closed") }
        let state = makeState(memstore, log, bounds)
        if state.isShared { try await readUncovered(log, bounds, into: state) }
        return state
    }

    /// Opens the memstore if it is not, and says why it cannot be gone on with.
    private func memStoreDamage(_ log: any PartitionLog, _ bounds: [Range<Offset>]) async throws -> String? {
        let opened: any MemStore
        do { opened = try await openMemStore() } catch let error as MemStoreError where error.code == .corrupt {
            return error.reason
        }
        guard let bytes = opened.checkpoint else { return nil }
        guard let former = Checkpoint(bytes: bytes) else { return "its checkpoint cannot be read" }
        return try await misfit(placed(former, bounds), log, bounds)
    }

    private func openMemStore() async throws -> any MemStore {
        if let memstore { return memstore }
        let declarations = core.stores.map { StoreDeclaration(name: $0.name, isOrdered: $0.isOrdered) }
        let opened = try await environment.memstores.open(id, stores: declarations)
        memstore = opened
        return opened
    }

    /// The checkpoint with a place for every changelog, in the order of the stores.
    private func placed(_ checkpoint: Checkpoint?, _ bounds: [Range<Offset>]) -> Checkpoint {
        var placed = checkpoint ?? Checkpoint(level: environment.clock.now, places: [])
        placed.places = core.stores.indices.map { index in
            checkpoint?.places.first { $0.changelog == core.stores[index].name }
                ?? Checkpoint.Place(changelog: core.stores[index].name, next: bounds[index].lowerBound)
        }
        return placed
    }

    private func makeState(
        _ memstore: any MemStore, _ log: any PartitionLog, _ bounds: [Range<Offset>]
    ) -> StateStore {
        let former = memstore.checkpoint.flatMap { Checkpoint(bytes: $0) }
        let (partitions, effects) = (partitions, effects)
        return StateStore(
            partition: id, stores: core.stores, memstore: memstore, log: log, feed: feed,
            isShared: !environment.log.isExclusive, checkpoint: placed(former, bounds), node: environment.node,
            clock: environment.clock, random: RandomSource(environment.random),
            limits: environment.limits, wasResumed: former != nil, meter: meter,
            route: { Partitioner.partition(bytes: $0, of: partitions) },
            deliver: { effects.deliver($0, $1) })
    }

    /// Why a memstore at `checkpoint` was not made from this log, or misses what the log no longer has (§7).
    private func misfit(
        _ checkpoint: Checkpoint, _ log: any PartitionLog, _ bounds: [Range<Offset>]
    ) async throws -> String? {
        for (changelog, place) in checkpoint.places.enumerated() {
            let bounds = bounds[changelog]
            guard place.next <= bounds.upperBound else {
                return "\(place.changelog): it is at \(place.next), beyond the log's end at \(bounds.upperBound)"
            }
            guard place.next >= bounds.lowerBound else {
                return "\(place.changelog): it is at \(place.next), before the log's start at \(bounds.lowerBound)"
            }
            guard place.fingerprint != 0, place.last >= bounds.lowerBound, place.last < bounds.upperBound else {
                continue
            }
            let page = try await log.read(changelog, from: place.last, maxBytes: 1)
            if let record = page.records.first, record.offset == place.last, record.fingerprint != place.fingerprint {
                return "\(place.changelog): the record at \(place.last) is another one than it was made from"
            }
        }
        return nil
    }

    /// Reads again what the memstore had applied and no `a` had covered: their keys are unsettled (R3).
    private func readUncovered(
        _ log: any PartitionLog, _ ends: [Range<Offset>], into state: StateStore
    ) async throws {
        for (changelog, place) in state.applied.places.enumerated() {
            var next = max(place.covered, ends[changelog].lowerBound)
            while next < place.next {
                let page = try await log.page(changelog, from: next)
                guard page.next > next else { break }
                state.takeUncovered(page, of: changelog)
                next = page.next
            }
        }
    }

    /// The one reader: of bootstrap and of a claimant; only its end differs (R1 to R4).
    private func read(
        _ log: any PartitionLog, to ends: [Offset], _ seen: MonotonicTime?, into state: StateStore
    ) async throws {
        var first: [LogPage?] = ends.map { _ in nil }
        // The next page of each changelog, which the log gets while this one is applied.
        var ahead: [Task<LogPage, any Error>?] = ends.map { _ in nil }
        defer { for task in ahead { task?.cancel() } }
        if let seen, state.changelogToRead(ends) == nil, !state.isWaiting { state.isLevel(asOf: seen) }
        while let changelog = state.changelogToRead(ends) {
            if isStopping || Task.isCancelled { throw LogError(.closed, "the reading of the log was ended") }
            let next = state.readNext(changelog)
            let page = try await (ahead[changelog].take() ?? log.startPage(changelog, from: next, executor)).value
            guard page.next > next else {
                throw LogError(.corrupt, "\(core.stores[changelog].name): no record from \(next) to \(ends[changelog])")
            }
            if let reason = missed(page, at: next, after: first[changelog], state) {
                throw Misfit(reason: "\(core.stores[changelog].name): \(reason)")
            }
            if first[changelog] == nil { first[changelog] = page }
            if page.next < ends[changelog] { ahead[changelog] = log.startPage(changelog, from: page.next, executor) }
            let isLevel = ends.indices.allSatisfy { ($0 == changelog ? page.next : state.readNext($0)) >= ends[$0] }
            try state.take(page, of: changelog, levelAsOf: isLevel ? seen : nil)
        }
    }

    /// Why a removal may have been missed (§7): compaction took a tombstone that lies ahead of `next`, and what it
    /// removes may have been applied before.
    private func missed(_ page: LogPage, at next: Offset, after first: LogPage?, _ state: StateStore) -> String? {
        guard let forgotten = page.forgotten else { return tooOld(state) }
        guard next < forgotten else { return nil }
        // From the beginning, and with nothing forgotten since, neither the entry nor its removal is met.
        let isFresh = first == nil ? !state.wasResumed || next == .zero : first?.forgotten == forgotten
        return isFresh ? nil : "it is at \(next), and removals up to \(forgotten) are gone from the log"
    }

    /// The same for a log that does not say what it has forgotten: by the time.
    private func tooOld(_ state: StateStore) -> String? {
        let age = environment.clock.now.milliseconds.subtractingReportingOverflow(state.applied.level.milliseconds)
        guard age.overflow || age.partialValue > environment.deleteRetention.wholeMilliseconds / 2 else { return nil }
        return "it was last level with the log \(age.partialValue / 1000) s ago; removals may be gone from it since"
    }
}

extension PartitionLog {
    /// Asks for a page at once, before anything else is done. Not in the replica, in whose generic context the compiler
    /// (Swift 6.3) cannot make such a task.
    fileprivate func startPage(
        _ changelog: Int, from next: Offset, _ executor: any EventExecutor
    ) -> Task<LogPage, any Error> {
        Task.immediate(executorPreference: executor) { try await self.page(changelog, from: next) }
    }

    /// As much of a changelog as a replica takes in at once.
    ///
    /// - Parameter bytes: if less is enough.
    func page(_ changelog: Int, from next: Offset, atMost bytes: Int = .max) async throws(LogError) -> LogPage {
        try await read(changelog, from: next, maxBytes: min(bytes, 1 << 20))
    }
}
