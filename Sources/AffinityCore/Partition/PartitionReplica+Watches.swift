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
        // What is asked for meanwhile belongs to what was said before, elsewhere: it is said from its beginning here.
        observer.isReading = true
        defer { observer.isReading = false }
        do throws(AskError) {
            let items = try await begin(observer)
            // What was read may be of a time when another node served already.
            if needsProof { try await prove(Envelope()) }
            guard observer.isLive, isServing else { throw notServing() }
            if observer.isOverfull {
                // What was read is right up to where it was read, so the next try has less to read.
                if !observer.isScanning { part.push(items) }
                throw AskError(.notApplied, .overloaded, "too much has changed while the watch began")
            }
            observer.say(items)
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

    /// Reads the next page of a scan, or of what was missed.
    func more(_ part: WatchPart) async {
        guard let observer = feed.observer(of: part), !observer.isReading, isServing, let state else { return }
        do throws(AskError) {
            if observer.isScanning {
                part.push(try scan(observer, state))
            } else if let missed = observer.missed {
                observer.isReading = true
                defer { observer.isReading = false }
                var items = try await goOn(observer, behind: missed.after, state)
                if items == nil { items = try startOver(observer) }
                if let items, observer.isLive { observer.say(items) }
            }
        } catch {
            guard observer.isLive else { return }
            feed.remove(observer)
            lookForDamage()
            WatchPart.lose([part])
        }
    }

    // MARK: - What is said first

    private func begin(_ observer: Observer) async throws(AskError) -> [WatchBuffer.Item] {
        let (part, cursor) = (observer.part, observer.part.cursor)
        let state = try serving()
        if let version = cursor.version, version <= feed.version(part.store),
            let items = try await goOn(observer, behind: version, state)
        {
            return items
        }
        return cursor.hasBegun ? try startOver(observer) : try current(observer, state)
    }

    /// What came behind `version`, or a piece of it; `nil` if not all of it can be had.
    private func goOn(
        _ observer: Observer, behind version: Version, _ state: StateStore
    ) async throws(AskError) -> [WatchBuffer.Item]? {
        let part = observer.part
        if let items = try resume(observer, after: version, state) {
            observer.missed = nil
            return items
        }
        if observer.missed == nil { observer.missed = Observer.Missed(after: version) }
        let piece = try await replay(observer)
        guard observer.isLive, isServing else { throw notServing() }
        guard let piece else { return nil }
        let items = piece.changes.map { WatchBuffer.Item.missed(part.index, $0) }
        if piece.isWhole, !observer.isOverfull {
            observer.missed = nil
            return items + [.progress(part.index, piece.reached)]
        }
        // What has come since will be read.
        observer.letGo()
        let isTooSlow = observer.missed?.come(to: piece.reached, of: feed.version(part.store)) ?? false
        return items + [isTooSlow ? .end(part.index, .tooSlow) : .page(part.index, piece.reached)]
    }

    private func startOver(_ observer: Observer) throws(AskError) -> [WatchBuffer.Item] {
        guard observer.isLive else { throw notServing() }
        // Nothing that came meanwhile is missing in what stands there now.
        observer.hold()
        (observer.missed, observer.scanned, observer.isScanning) = (nil, nil, false)
        return [.startOver(observer.part.index)] + (try current(observer, try serving()))
    }

    /// What came after `version`, as far as it is known without the log; `nil` if that is not enough.
    private func resume(
        _ observer: Observer, after version: Version, _ state: StateStore
    ) throws(AskError) -> [WatchBuffer.Item]? {
        let (part, end) = (observer.part, feed.version(observer.part.store))
        guard version <= end else { return nil }
        if let changes = feed.changes(part.store, after: version, of: part.scope) {
            return changes.map { .missed(part.index, $0) } + [.progress(part.index, end)]
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
            items.append(.page(part.index, .none))
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

    /// Those who wait for a piece of the changelog, and whether one is being read.
    struct Replays {
        /// What whoever waits gets.
        struct Piece {
            var changes: [Change]
            var reached: Version
            /// Whether nothing is missing any more: what has come since is held.
            var isWhole: Bool
        }

        struct Waiter {
            let observer: Observer
            let continuation: UnsafeContinuation<Result<Piece?, AskError>, Never>
        }

        var waiting: [Waiter] = []
        var isReading = false
        /// A log reads one page of a changelog at a time, and a gap may have to be read too.
        let pages = Turns(1)
        /// How many records before the first one others go on whom a pass serves too.
        static var near: UInt64 { 2048 }
    }

    /// The next piece of what an observer has missed; `nil` if not all of it stands in the changelogs.
    private func replay(_ observer: Observer) async throws(AskError) -> Replays.Piece? {
        guard replays.waiting.count < environment.limits.watches.waiting else {
            throw AskError(.notApplied, .overloaded, "too many watches wait to go on from the log")
        }
        observer.letGo()
        let result = await withUnsafeContinuation { continuation in
            replays.waiting.append(.init(observer: observer, continuation: continuation))
            guard !replays.isReading else { return }
            replays.isReading = true
            // Beside the requests; ends when nobody waits, and with the log.
            Task(executorPreference: executor) { await self.readForWaiting() }
        }
        return try result.get()
    }

    /// One pass after the other, as many at once in all partitions as the limits say.
    private func readForWaiting() async {
        while !replays.waiting.isEmpty {
            await environment.replays.begin()
            do throws(AskError) { try await readForFirst() } catch {
                // Whoever has come meanwhile is told the same: they ask again.
                let failed = replays.waiting
                replays.waiting = []
                for waiter in failed { waiter.continuation.resume(returning: .failure(error)) }
            }
            environment.replays.end()
        }
        replays.isReading = false
    }

    /// One pass over the changelogs, page by page, from where the one goes on who has waited longest: for all who go on
    /// there or further on.
    private func readForFirst() async throws(AskError) {
        for waiter in replays.waiting where !waiter.observer.isLive {
            waiter.continuation.resume(returning: .failure(notServing()))
        }
        replays.waiting.removeAll { !$0.observer.isLive }
        guard let first = replays.waiting.first else { return }
        guard let state, let log, isServing else { throw notServing() }
        let generation = generation
        var readers: [Replays.Waiter] = []
        do {
            let start = try await start(for: first.observer, log, state)
            guard generation == self.generation, isServing else { throw notServing() }
            // From here on what happens is held: those who come so far have missed nothing then.
            let end = feed.position
            readers = takeReaders(from: start)
            var replay = LogReplay(
                readers.map(\.observer.resume), partition: id.number, stores: core.stores, isShared: state.isShared,
                from: start, to: end, environment.limits.watches)
            while !replay.isEnough, let (changelog, offset) = replay.next {
                let page = try await page(
                    of: log, changelog, from: offset, atMost: environment.limits.watches.piece)
                guard generation == self.generation, isServing else { throw notServing() }
                guard page.next > offset else { throw LogError(.outOfRange, "nothing from \(offset) on") }
                replay.take(page, of: changelog)
            }
            replay.finish()
            answer(readers, replay.resumes, end)
        } catch let error as LogError where error.code == .outOfRange {
            if readers.isEmpty, !replays.waiting.isEmpty { readers = [replays.waiting.removeFirst()] }
            for waiter in readers { waiter.continuation.resume(returning: .success(nil)) }
        } catch {
            let reason =
                (error as? AskError) ?? AskError(.notApplied, .notReady, "the log cannot be read again: \(error)")
            for waiter in readers { waiter.continuation.resume(returning: .failure(reason)) }
            throw reason
        }
    }

    /// Those who want nothing that lies before `start`; the first one always is among them, or gets nothing.
    private func takeReaders(from start: Checkpoint) -> [Replays.Waiter] {
        var (readers, rest) = ([Replays.Waiter](), [Replays.Waiter]())
        for (place, waiter) in replays.waiting.enumerated() {
            let resume = waiter.observer.resume
            if Version(upTo: start.places[resume.store].next) <= resume.after {
                waiter.observer.hold()
                readers.append(waiter)
            } else if place == 0 {
                waiter.continuation.resume(returning: .success(nil))
            } else {
                rest.append(waiter)
            }
        }
        replays.waiting = rest
        return readers
    }

    private func answer(_ readers: [Replays.Waiter], _ resumes: [LogReplay.Resume], _ end: Position) {
        var rest: [Replays.Waiter] = []
        for (waiter, resume) in zip(readers, resumes) {
            guard let (reached, from) = resume.reached else {
                waiter.continuation.resume(returning: .success(nil))
                continue
            }
            waiter.observer.missed?.from = from
            let isWhole = reached >= Version(upTo: end.offsets[resume.store])
            if isWhole || reached > resume.after {
                let piece = Replays.Piece(changes: resume.changes, reached: reached, isWhole: isWhole)
                waiter.continuation.resume(returning: .success(piece))
            } else {
                // The pass has not come to where this one goes on.
                waiter.observer.letGo()
                rest.append(waiter)
            }
        }
        replays.waiting = rest + replays.waiting
    }

    /// Reads a page when nobody else does.
    func page(
        of log: any PartitionLog, _ changelog: Int, from offset: Offset, atMost bytes: Int = .max
    ) async throws(LogError) -> LogPage {
        await replays.pages.begin()
        defer { replays.pages.end() }
        return try await log.page(changelog, from: offset, atMost: bytes)
    }

    /// Where to begin to read for an observer: the last place that lies before everything that it wants.
    private func start(
        for observer: Observer, _ log: any PartitionLog, _ state: StateStore
    ) async throws -> Checkpoint {
        let resume = observer.resume
        var start = Checkpoint(log: state.applied.log, level: state.applied.level, places: [])
        if !state.isShared {
            start.places = core.stores.map { .init(changelog: $0.name, next: state.applied.places[$0.index].next) }
            // Those who were cut off together come again together: they are read for at once.
            let near = replays.waiting.map(\.observer.resume).filter {
                $0.store == resume.store && $0.after <= resume.after
                    && resume.after.rawValue - $0.after.rawValue <= Replays.near
            }
            let first = Offset(Int64(bitPattern: (near.map(\.after).min() ?? resume.after).rawValue))
            start.places[resume.store].next = max(first, try await log.bounds(resume.store).lowerBound)
            return start
        }
        let known = [observer.missed?.from, feed.checkpoint(resume.store, before: resume.after)].compactMap { $0 }
        if let last = known.max(by: { $0.places[resume.store].next < $1.places[resume.store].next }) { return last }
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
