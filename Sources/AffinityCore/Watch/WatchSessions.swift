/// The watches of other nodes that masters of this one fill: what they have to say is kept until the next poll takes it.
///
/// A session is one node's watches on one keyspace here. It ends when no poll comes any more. Called by what other nodes
/// send, and by replicas; calls `PartitionReplica`.
actor WatchSessions: WatchOwner {
    /// One node's watches.
    private final class Session {
        let number: UInt64
        /// By the number that the other node gave.
        var watches: [UInt64: Watched] = [:]
        /// Those that have something to say, in the order in which they said so.
        var ready: [UInt64] = []
        var lost: Set<UInt64> = []
        /// The newest poll that has come, and what lets it go on.
        var poll: UInt64 = 0
        var waiter: UnsafeContinuation<Void, Never>?
        /// The last batch, until it is known to have come.
        var batch: (number: UInt64, bytes: [UInt8])?
        var lastBatch: UInt64 = 0
        var heard: MonotonicTime
        var progressed: MonotonicTime

        init(_ number: UInt64, at now: MonotonicTime) {
            self.number = number
            (heard, progressed) = (now, now)
        }

        func wake() { waiter.take()?.resume() }
    }

    private final class Watched {
        let part: WatchPart
        var isReady = false

        init(_ part: WatchPart) { self.part = part }
    }

    nonisolated let executor: any EventExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private let replicas: [any WatchedReplica]
    private let stores: [String: (index: Int, isOrdered: Bool)]
    private let clock: any NodeClock
    private let limit: Int
    private var sessions: [UInt64: Session] = [:]
    /// Whose the parts are.
    private var owners: [UInt64: (session: UInt64, watch: UInt64)] = [:]
    private var lastPart: UInt64 = 0
    private var isOver = false

    /// A session without a poll ends after this time.
    private static let lifetime = Duration.seconds(15)
    /// How many bytes a batch has, about.
    private static let batch = 512 << 10
    /// How many lost watches go with one.
    private static let mostLost = 16_384
    /// How often the progress of the partitions is said.
    private static let progress = Duration.seconds(1)
    private static let maxSessions = 4096

    init(
        _ replicas: [any WatchedReplica], _ stores: [AnyStore], _ environment: PartitionEnvironment,
        on executor: any EventExecutor
    ) {
        self.replicas = replicas
        self.stores = Dictionary(uniqueKeysWithValues: stores.map { ($0.name, ($0.index, $0.isOrdered)) })
        self.executor = executor
        clock = environment.clock
        limit = environment.limits.watches.watches
    }

    // MARK: - Polls

    /// Returns the next batch of a session, once there is something in it; an empty one after a while.
    func poll(_ poll: WatchPoll) async throws(PeerError) -> [UInt8] {
        if isOver { throw PeerError(.refused, isNotSent: true, "the node stops") }
        let session = try session(of: poll)
        session.heard = clock.monotonic
        // A poll that was overtaken by a later one has nothing new to say.
        if poll.number > session.poll {
            session.poll = poll.number
            take(poll, session)
        }
        session.wake()
        if let batch = session.batch {
            if batch.number > poll.received { return batch.bytes }
            session.batch = nil
        }
        if session.ready.isEmpty, session.lost.isEmpty, !poll.saysSomething { await wait(session) }
        guard session.poll == poll.number, sessions[poll.session] === session else {
            // Nobody hears it: a later poll has come, or the session is over.
            throw PeerError(.lost, isNotSent: false, "the poll was overtaken")
        }
        return try await assemble(poll.number, session)
    }

    private func session(of poll: WatchPoll) throws(PeerError) -> Session {
        if let session = sessions[poll.session] { return session }
        // One that has ended here is not begun again: whoever asks has lost what was said meanwhile.
        guard poll.received == 0, sessions.count < Self.maxSessions else {
            throw PeerError(.refused, isNotSent: false, "the session is over")
        }
        let session = Session(poll.session, at: clock.monotonic)
        sessions[poll.session] = session
        lookAfter(poll.session)
        return session
    }

    private func take(_ poll: WatchPoll, _ session: Session) {
        for number in poll.removals { remove(number, session) }
        for addition in poll.additions where session.watches[addition.number] == nil { add(addition, session) }
        for number in poll.pages {
            guard let part = session.watches[number]?.part else { continue }
            let replica = replicas[part.partition]
            Task(executorPreference: executor) { await replica.more(part) }
        }
    }

    private func wait(_ session: Session) async {
        let number = session.poll
        await withUnsafeContinuation { continuation in
            session.waiter = continuation
            let (executor, id) = (executor, session.number)
            let patience = session.watches.isEmpty ? WatchLink.patience : Self.progress
            executor.schedule(at: clock.monotonic.advanced(by: patience)) { [weak self] in
                self?.assumeIsolated { sessions in
                    guard let session = sessions.sessions[id], session.poll == number else { return }
                    session.wake()
                }
            }
        }
    }

    /// Ends the session when it has heard nothing for too long.
    private func lookAfter(_ number: UInt64) {
        executor.schedule(at: clock.monotonic.advanced(by: Self.lifetime)) { [weak self] in
            self?.assumeIsolated { sessions in
                guard let session = sessions.sessions[number] else { return }
                if sessions.clock.monotonic.since(session.heard) < Self.lifetime { return sessions.lookAfter(number) }
                sessions.end(session)
            }
        }
    }

    private func end(_ session: Session) {
        sessions[session.number] = nil
        for number in session.watches.keys.sorted() { remove(number, session) }
        session.wake()
    }

    /// The node stops.
    nonisolated func end() {
        executor.post { [self] in
            assumeIsolated { sessions in
                sessions.isOver = true
                for session in sessions.sessions.values.sorted(by: { $0.number < $1.number }) { sessions.end(session) }
            }
        }
    }

    // MARK: - Watches

    private func add(_ addition: WatchPoll.Addition, _ session: Session) {
        guard replicas.indices.contains(addition.partition), let store = stores[addition.store], owners.count < limit
        else {
            session.lost.insert(addition.number)
            return
        }
        let (number, id) = (addition.number, session.number)
        let buffer = WatchBuffer(
            addition.options, after: [addition.after], hasBegun: addition.hasBegun, on: executor
        ) { [weak self] in
            self?.assumeIsolated { $0.isReady(number, id) }
        }
        lastPart += 1
        let part = WatchPart(
            lastPart, partition: addition.partition, store: store.index, addition.store, addition.scope, buffer, 0,
            owner: self)
        session.watches[number] = Watched(part)
        owners[lastPart] = (id, number)
        guard addition.scope.isKey || store.isOrdered else { return part.push([.end(0, .unordered)]) }
        let replica = replicas[addition.partition]
        Task(executorPreference: executor) {
            do throws(AskError) {
                try await replica.open(part)
                // It may have been removed meanwhile.
                if await self.owners[part.number] == nil { await replica.close(part) }
            } catch { self.lost([part]) }
        }
    }

    private func remove(_ number: UInt64, _ session: Session) {
        session.lost.remove(number)
        guard let part = session.watches.removeValue(forKey: number)?.part else { return }
        owners[part.number] = nil
        let replica = replicas[part.partition]
        Task(executorPreference: executor) { await replica.close(part) }
    }

    private func isReady(_ number: UInt64, _ id: UInt64) {
        guard let session = sessions[id], let watch = session.watches[number], !watch.isReady else { return }
        watch.isReady = true
        session.ready.append(number)
        session.wake()
    }

    nonisolated func lost(_ parts: [WatchPart]) {
        executor.post { [self] in
            assumeIsolated { sessions in
                for part in parts {
                    guard let owner = sessions.owners[part.number], let session = sessions.sessions[owner.session]
                    else {
                        continue
                    }
                    session.lost.insert(owner.watch)
                    session.wake()
                }
            }
        }
    }

    /// The other node asks for pages itself.
    nonisolated func more(_ part: WatchPart) {}

    // MARK: - Batches

    private func assemble(_ poll: UInt64, _ session: Session) async throws(PeerError) -> [UInt8] {
        var progress: [Int: Position] = [:]
        let now = clock.monotonic
        if now.since(session.progressed) >= Self.progress {
            // Before anything is taken: whatever was said up to there has been announced by then, because it was
            // announced first, by the same thread.
            for partition in Set(session.watches.values.map(\.part.partition)).sorted() {
                if let position = await replicas[partition].watchedPosition { progress[partition] = position }
            }
        }
        // A later poll may have come on the way here: what is taken now has to be in its batch.
        guard session.poll == poll, session.batch == nil, sessions[session.number] === session else {
            throw PeerError(.lost, isNotSent: false, "the poll was overtaken")
        }
        session.lastBatch += 1
        var batch = WatchBatch(number: session.lastBatch, poll: poll)
        let isWhole = fill(&batch, session)
        if isWhole, !progress.isEmpty {
            batch.progress = progress
            session.progressed = now
        }
        let bytes = batch.bytes
        session.batch = (batch.number, bytes)
        return bytes
    }

    /// Takes what the watches have to say; returns whether that was all.
    private func fill(_ batch: inout WatchBatch, _ session: Session) -> Bool {
        var places: [ObjectIdentifier: Int] = [:]
        var size = 0
        // Those that are lost have a last word too.
        for number in session.lost.sorted() where session.watches[number]?.isReady == false {
            session.watches[number]?.isReady = true
            session.ready.append(number)
        }
        let ready = session.ready
        session.ready = []
        for (place, number) in ready.enumerated() {
            guard let watch = session.watches[number] else { continue }
            // A single change may be larger than a batch is meant to be: then it is alone in it.
            let (items, end) = watch.part.buffer.take(
                atMost: 256, bytes: Self.batch - size, evenOne: batch.items.isEmpty)
            if items.isEmpty, watch.part.buffer.count > 0 {
                session.ready = Array(ready[place...]) + session.ready
                break
            }
            for item in items { add(item, number, &batch, &places, &size) }
            if watch.part.buffer.count > 0 { session.ready.append(number) } else { watch.isReady = false }
            // It is the way that was too slow: the other node goes on from where it is.
            if end != nil { session.lost.insert(number) }
        }
        for number in session.lost.sorted().prefix(Self.mostLost) where session.watches[number]?.isReady != true {
            batch.lost.append(number)
            remove(number, session)
            session.lost.remove(number)
        }
        return session.ready.isEmpty
    }

    private func add(
        _ item: WatchBuffer.Item, _ number: UInt64, _ batch: inout WatchBatch, _ places: inout [ObjectIdentifier: Int],
        _ size: inout Int
    ) {
        func place(_ change: Change) -> UInt64 {
            if let known = places[ObjectIdentifier(change)] { return UInt64(known) }
            size += change.size
            places[ObjectIdentifier(change)] = batch.changes.count
            batch.changes.append(change)
            return UInt64(batch.changes.count - 1)
        }
        size += 17
        let said: WatchBatch.Item =
            switch item {
            case .current(_, let change): .init(watch: number, kind: .current, value: place(change))
            case .change(_, let change): .init(watch: number, kind: .change, value: place(change))
            case .missed(_, let change): .init(watch: number, kind: .missed, value: place(change))
            case .page(_, let version): .init(watch: number, kind: .page, value: version.rawValue)
            case .level(_, let version): .init(watch: number, kind: .level, value: version.rawValue)
            case .startOver: .init(watch: number, kind: .startOver, value: 0)
            case .progress(_, let version): .init(watch: number, kind: .progress, value: version.rawValue)
            case .end(_, let end): .init(watch: number, kind: .end, value: end.rawValue)
            }
        batch.items.append(said)
    }

    /// How many parts there are.
    var count: Int { owners.count }
}
