/// Those who watch a partition at its master.
extension PartitionReplica: WatchedReplica {
    nonisolated var isServingWatches: Bool { serves.isSet }

    /// Begins to tell `part` what happens: what it has missed if that can be had, else what stands there; then every
    /// change, until the replica does not serve any longer (`WatchOwner.lost`) or `close` is called.
    ///
    /// - Throws: `AskError`, *not applied*: nothing more will be told.
    func open(_ part: WatchPart) async throws(AskError) {
        _ = try serving()
        let observer = feed.register(part)
        do throws(AskError) {
            let items = try await begin(observer)
            // What was read may be of a time when another node served already.
            if needsProof { try await prove(Envelope()) }
            guard observer.isLive, isServing else { throw notServing() }
            if observer.isOverfull {
                // What was read is right up to where it was read, so the next try has less to read.
                if !observer.isScanning, part.buffer.push(items, part.index, isBeginning: true) { part.buffer.signal() }
                throw AskError(.notApplied, .overloaded, "too much has changed while the watch began")
            }
            var mustSignal = part.buffer.push(items, part.index, isBeginning: true)
            if observer.release() { mustSignal = true }
            if mustSignal { part.buffer.signal() }
        } catch {
            feed.remove(observer)
            lookForDamage()
            throw error
        }
    }

    /// How far everything was said; `nil` if the replica does not serve.
    var watchedPosition: Position? { isServing ? feed.position : nil }

    /// Ends what `open` began. What is not open is left alone.
    func close(_ part: WatchPart) { if let observer = feed.observer(of: part) { feed.remove(observer) } }

    /// Reads the next page of a scan.
    func more(_ part: WatchPart) {
        guard let observer = feed.observer(of: part), observer.isScanning, isServing, let state else { return }
        do throws(AskError) { part.push(try scan(observer, state)) } catch {
            feed.remove(observer)
            lookForDamage()
            WatchPart.lose([part])
        }
    }

    // MARK: - What is said first

    private func begin(_ observer: Observer) async throws(AskError) -> [WatchBuffer.Item] {
        let (part, cursor) = (observer.part, observer.part.cursor)
        let state = try serving()
        if let version = cursor.version {
            if let items = try resume(observer, after: version, state) { return items }
            let end = feed.version(part.store)
            if version <= end, let changes = try await replay(observer, after: version, to: end) {
                return changes.map { .change(part.index, $0) } + [.progress(part.index, end)]
            }
        }
        guard observer.isLive else { throw notServing() }
        // Nothing that came meanwhile is missing in what stands there now.
        observer.forgetHeld()
        let start: [WatchBuffer.Item] = cursor.hasBegun ? [.startOver(part.index)] : []
        return start + (try current(observer, try serving()))
    }

    /// What came after `version`, as far as it is known without the log; `nil` if that is not enough.
    private func resume(
        _ observer: Observer, after version: Version, _ state: StateStore
    ) throws(AskError) -> [WatchBuffer.Item]? {
        let (part, end) = (observer.part, feed.version(observer.part.store))
        guard version <= end else { return nil }
        if let changes = feed.changes(part.store, after: version, of: part.scope) {
            return changes.map { .change(part.index, $0) } + [.progress(part.index, end)]
        }
        // An entry that is not newer has not changed since.
        if case .key(let key) = part.scope.kind, let entry = try get(part.store, key, state), entry.version <= version {
            return [.progress(part.index, end)]
        }
        return nil
    }

    private func current(_ observer: Observer, _ state: StateStore) throws(AskError) -> [WatchBuffer.Item] {
        let part = observer.part
        guard case .key(let key) = part.scope.kind else {
            observer.isScanning = true
            return try scan(observer, state)
        }
        let change = change(part.store, key, try get(part.store, key, state), state)
        return [.current(part.index, change), .progress(part.index, feed.version(part.store))]
    }

    /// The next page of what stands there: some entries behind the last one that was said.
    private func scan(_ observer: Observer, _ state: StateStore) throws(AskError) -> [WatchBuffer.Item] {
        let part = observer.part
        var range = part.scope.range
        if let scanned = observer.scanned { range = range.after(scanned) }
        var (items, bytes) = ([WatchBuffer.Item](), 0)
        var isOver = true
        do throws(MemStoreError) {
            try state.memstore.scan(part.store, range, .forward) { key, entry in
                if items.count == environment.limits.watches.page || bytes > 256 << 10 {
                    isOver = false
                    return false
                }
                bytes += key.count + entry.value.count
                items.append(.current(part.index, change(part.store, key, entry, state)))
                observer.scanned = key
                return true
            }
        } catch { throw refusal(error, state) }
        if isOver {
            observer.isScanning = false
            items.append(.level(part.index, feed.version(part.store)))
        } else {
            items.append(.page(part.index))
        }
        return items
    }

    private func change(_ store: Int, _ key: [UInt8], _ entry: StoredEntry?, _ state: StateStore) -> Change {
        Change(
            partition: id.number, store: core.stores[store].name, key: key, entry: entry,
            version: entry?.version ?? .none, position: state.position)
    }

    private func get(_ store: Int, _ key: [UInt8], _ state: StateStore) throws(AskError) -> StoredEntry? {
        do throws(MemStoreError) { return try state.memstore.get(store, key) } catch { throw refusal(error, state) }
    }

    private func refusal(_ error: MemStoreError, _ state: StateStore) -> AskError {
        if error.code == .corrupt { state.damage = error.reason }
        return AskError(.notApplied, .notReady, "the memstore failed: \(error.reason)")
    }

    // MARK: - From the changelog

    /// Those who wait to go on from the changelog, and whether one pass is under way: it serves all who waited when it
    /// began.
    struct Replays {
        struct Waiter {
            var observer: Observer
            var resume: LogReplay.Resume
            var continuation: UnsafeContinuation<Result<[Change]?, AskError>, Never>
        }

        var waiting: [Waiter] = []
        var isReading = false
        /// Whether a page is being read, and who reads the next ones.
        var isTaken = false
        var turns = Queue<UnsafeContinuation<Void, Never>>()
    }

    /// The changes behind `after` up to `end`, from the changelog; `nil` if not all of them stand there.
    private func replay(
        _ observer: Observer, after: Version, to end: Version
    ) async throws(AskError) -> [Change]? {
        guard replays.waiting.count < environment.limits.watches.waiting else {
            throw AskError(.notApplied, .overloaded, "too many watches wait to go on from the log")
        }
        let part = observer.part
        let resume = LogReplay.Resume(store: part.store, scope: part.scope, after: after, end: end)
        let result = await withUnsafeContinuation { continuation in
            replays.waiting.append(.init(observer: observer, resume: resume, continuation: continuation))
            guard !replays.isReading else { return }
            replays.isReading = true
            // Beside the requests; ends when nobody waits, and with the log.
            Task(executorPreference: executor) { await self.readForWaiting() }
        }
        return try result.get()
    }

    private func readForWaiting() async {
        while !replays.waiting.isEmpty {
            let waiting = replays.waiting
            replays.waiting = []
            let found: Result<[LogReplay.Resume], AskError>
            do throws(AskError) { found = .success(try await read(for: waiting.map(\.resume))) } catch {
                found = .failure(error)
            }
            for (place, waiter) in waiting.enumerated() {
                waiter.continuation.resume(returning: found.map { $0[place].isLost ? nil : $0[place].changes })
            }
        }
        replays.isReading = false
    }

    /// One pass over the changelogs, page by page, for everybody at once.
    private func read(for resumes: [LogReplay.Resume]) async throws(AskError) -> [LogReplay.Resume] {
        guard let state, let log, isServing else { throw notServing() }
        let generation = generation
        let position = state.position
        do {
            let start = try await start(of: resumes, log, state)
            var replay = LogReplay(
                resumes, partition: id.number, stores: core.stores, isShared: state.isShared, from: start,
                to: position, limit: environment.limits.watches.replay)
            while let (changelog, offset) = replay.next, !replay.isPointless {
                let page = try await page(of: log, changelog, from: offset)
                guard generation == self.generation, isServing else { throw notServing() }
                guard page.next > offset else { throw LogError(.outOfRange, "nothing from \(offset) on") }
                replay.take(page, of: changelog)
            }
            replay.finish()
            return replay.resumes
        } catch let error as LogError where error.code == .outOfRange {
            var lost = resumes
            for index in lost.indices { lost[index].isLost = true }
            return lost
        } catch {
            throw (error as? AskError) ?? AskError(.notApplied, .notReady, "the log cannot be read again: \(error)")
        }
    }

    /// Reads a page when nobody else does: a log reads one of a changelog at a time, and a gap may have to be read too.
    func page(
        of log: any PartitionLog, _ changelog: Int, from offset: Offset
    ) async throws(LogError) -> LogPage {
        if replays.isTaken {
            await withUnsafeContinuation { replays.turns.append($0) }
        } else {
            replays.isTaken = true
        }
        defer { if let next = replays.turns.popFirst() { next.resume() } else { replays.isTaken = false } }
        return try await log.page(changelog, from: offset)
    }

    /// Where to begin to read: the last place that lies before everything that is wanted.
    private func start(
        of resumes: [LogReplay.Resume], _ log: any PartitionLog, _ state: StateStore
    ) async throws -> Checkpoint {
        var start = Checkpoint(log: state.applied.log, level: state.applied.level, places: [])
        if !state.isShared {
            start.places = core.stores.map { .init(changelog: $0.name, next: state.applied.places[$0.index].next) }
            for resume in resumes {
                let next = Offset(Int64(bitPattern: resume.after.rawValue))
                start.places[resume.store].next = min(start.places[resume.store].next, next)
            }
            return start
        }
        let known = resumes.map { feed.checkpoint($0.store, before: $0.after) }
        if let first = known.compactMap({ $0 }).min(by: {
            $1.position.covers($0.position) && $0.position != $1.position
        }),
            known.allSatisfy({ $0 != nil })
        {
            return first
        }
        for store in core.stores {
            start.places.append(.init(changelog: store.name, next: try await log.bounds(store.index).lowerBound))
        }
        return start
    }
}

/// What a watch needs of a replica, with its type out of sight.
protocol WatchedReplica: Sendable {
    /// Whether it serves, as far as anybody knows who does not ask it.
    var isServingWatches: Bool { get }
    var watchedPosition: Position? { get async }
    func open(_ part: WatchPart) async throws(AskError)
    func close(_ part: WatchPart) async
    func more(_ part: WatchPart) async
}
