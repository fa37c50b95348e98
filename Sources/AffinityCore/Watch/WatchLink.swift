/// The watches of one node that the masters on one other node fill: a session of long polls.
///
/// One poll is on its way at a time; whatever goes wrong ends the session, and every part goes on from its cursor, at
/// whoever is master then. Called by `WatchRouter`, on whose executor it runs; calls `PeerLink`.
actor WatchLink {
    private struct Entry {
        let part: WatchPart
        /// Whether something has come for it.
        var isOpen = false
        /// Since which batch nothing of what it has missed is still to come: what later ones say of the whole partition
        /// holds for it.
        var levelSince: UInt64?
    }

    nonisolated let peer: PeerAddress
    nonisolated let executor: any EventExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private let keyspace: String
    private let link: any PeerLink
    private let clock: any NodeClock
    private let session: UInt64
    private let onOpen: @Sendable (WatchPart) -> Void
    private let onLoss: @Sendable ([WatchPart], WatchLink) -> Void
    /// By a number that each part gets anew whenever it is placed here: what was on its way for a former placement is not
    /// taken for this one's.
    private var entries: [UInt64: Entry] = [:]
    /// Where each part is among them.
    private var places: [UInt64: UInt64] = [:]
    private var lastPlace: UInt64 = 0
    /// What no batch has confirmed: since which poll it was said, 0 if it was not yet.
    private var additions: [UInt64: UInt64] = [:]
    private var removals: [UInt64: UInt64] = [:]
    private var pages: [UInt64: UInt64] = [:]
    /// How far each partition is, and which batch has said so.
    private var progress: [Int: (position: Position, batch: UInt64)] = [:]
    private var number: UInt64 = 0
    private var received: UInt64 = 0
    /// The poll that is on its way, if it waits until something happens; one that says something is answered at once.
    private var withdrawal: Withdrawal?
    private var isRunning = false
    private var isOver = false

    /// How long a poll waits at the other node for something to happen.
    static let patience = Duration.seconds(5)
    /// How many additions, removals and pages go with one poll, and how many bytes of additions.
    private static let most = (additions: 4096, numbers: 16_384, bytes: 256 << 10)

    /// - Parameters:
    ///   - onOpen: hears of each part when the first word of it has come.
    ///   - onLoss: hears of the parts that are filled no longer.
    init(
        _ peer: PeerAddress, _ keyspace: String, _ link: any PeerLink, _ clock: any NodeClock,
        on executor: any EventExecutor, session: UInt64, onOpen: @escaping @Sendable (WatchPart) -> Void,
        onLoss: @escaping @Sendable ([WatchPart], WatchLink) -> Void
    ) {
        self.peer = peer
        self.keyspace = keyspace
        self.link = link
        self.clock = clock
        self.executor = executor
        self.session = session
        self.onOpen = onOpen
        self.onLoss = onLoss
    }

    // MARK: - Called by the router, on the executor

    nonisolated var hasEnded: Bool { assumeIsolated { $0.isOver } }

    nonisolated func add(_ part: WatchPart) {
        assumeIsolated { link in
            link.lastPlace += 1
            link.entries[link.lastPlace] = Entry(part: part)
            link.places[part.number] = link.lastPlace
            link.additions[link.lastPlace] = 0
            link.poll()
        }
    }

    nonisolated func remove(_ part: WatchPart) { assumeIsolated { $0.forget(part) } }

    /// The last page of a part has been taken.
    nonisolated func more(_ part: WatchPart) {
        assumeIsolated { link in
            guard let place = link.places[part.number] else { return }
            link.pages[place] = 0
            link.poll()
        }
    }

    /// Takes the parts of a partition back, which has another master.
    nonisolated func give(up partition: Int) -> [WatchPart] {
        assumeIsolated { link in
            let parts = link.entries.values.map(\.part).filter { $0.partition == partition }
            for part in parts { link.forget(part) }
            return parts.sorted { $0.number < $1.number }
        }
    }

    /// Nothing is wanted any longer.
    nonisolated func end() {
        assumeIsolated { link in
            (link.isOver, link.entries, link.places) = (true, [:], [:])
            link.withdrawal?.withdraw()
        }
    }

    // MARK: -

    private func forget(_ part: WatchPart) {
        guard let place = places[part.number], let entry = take(place) else { return }
        advance(entry)
        poll()
    }

    /// Takes a placement away, here and at the other node.
    private func take(_ place: UInt64) -> Entry? {
        guard let entry = entries.removeValue(forKey: place) else { return nil }
        places[entry.part.number] = nil
        additions[place] = nil
        pages[place] = nil
        removals[place] = 0
        return entry
    }

    /// A quiet part is as far as its partition.
    private func advance(_ entry: Entry) {
        guard let since = entry.levelSince, entry.part.cursor.version != nil,
            let (position, batch) = progress[entry.part.partition], batch >= since,
            position.offsets.indices.contains(entry.part.store)
        else { return }
        entry.part.advance(to: Version(upTo: position.offsets[entry.part.store]))
    }

    /// Makes sure that what is new is said.
    private func poll() {
        if isOver { return }
        if isRunning {
            withdrawal?.withdraw()
            return
        }
        isRunning = true
        // Ends when there is nothing to watch, or the session has failed.
        Task(executorPreference: executor) { await self.run() }
    }

    private func run() async {
        while !isOver, !entries.isEmpty || !removals.isEmpty {
            let withdrawal = Withdrawal()
            let poll = nextPoll()
            self.withdrawal = poll.saysSomething ? nil : withdrawal
            do throws(PeerError) {
                let bytes = try await link.ask(
                    peer, WatchPoll.requestType, poll.bytes,
                    deadline: clock.monotonic.advanced(by: Self.patience + .seconds(3)), withdrawal: withdrawal)
                self.withdrawal = nil
                guard !isOver else { break }
                let batch: WatchBatch
                do throws(CBORError) { batch = try WatchBatch(bytes: bytes) } catch {
                    throw PeerError(.refused, isNotSent: false, "the batch of \(peer) cannot be read: \(error)")
                }
                take(batch)
            } catch {
                self.withdrawal = nil
                // There is something new to say, and nothing is wrong.
                if withdrawal.isWithdrawn { continue }
                break
            }
        }
        isRunning = false
        fail()
    }

    private func nextPoll() -> WatchPoll {
        number += 1
        var poll = WatchPoll(keyspace: keyspace, session: session, number: number, received: received)
        var bytes = 0
        for number in additions.keys.sorted().prefix(Self.most.additions) {
            guard bytes < Self.most.bytes, let part = entries[number]?.part else { continue }
            bytes += 64 + part.name.utf8.count + part.scope.size
            let cursor = part.cursor
            poll.additions.append(
                .init(
                    number: number, partition: part.partition, store: part.name, scope: part.scope,
                    after: cursor.version, hasBegun: cursor.hasBegun, options: part.buffer.options))
            if additions[number] == 0 { additions[number] = poll.number }
        }
        poll.removals = Array(removals.keys.sorted().prefix(Self.most.numbers))
        poll.pages = Array(pages.keys.sorted().prefix(Self.most.numbers))
        for removal in poll.removals where removals[removal] == 0 { removals[removal] = poll.number }
        for page in poll.pages where pages[page] == 0 { pages[page] = poll.number }
        return poll
    }

    private func take(_ batch: WatchBatch) {
        func isOpen(_ since: UInt64) -> Bool { since == 0 || since > batch.poll }
        additions = additions.filter { isOpen($0.value) }
        removals = removals.filter { isOpen($0.value) }
        pages = pages.filter { isOpen($0.value) }
        // Said again, because its answer was not known to have come.
        guard batch.number > received else { return }
        received = batch.number
        hand(batch)
        for (partition, position) in batch.progress { progress[partition] = (position, batch.number) }
        // Taken away there too: a poll that repeated the addition may have brought it back.
        let lost = batch.lost.compactMap { take($0)?.part }
        if !lost.isEmpty { onLoss(lost, self) }
    }

    /// Puts what has come into the buffers, and calls whoever reads them, all at once.
    private func hand(_ batch: WatchBatch) {
        var signals: [WatchBuffer] = []
        var place = 0
        while place < batch.items.count {
            let watch = batch.items[place].watch
            var items: [WatchBatch.Item] = []
            while place < batch.items.count, batch.items[place].watch == watch {
                items.append(batch.items[place])
                place += 1
            }
            guard let entry = entries[watch] else {
                if removals[watch] == nil { removals[watch] = 0 }
                continue
            }
            if !entry.isOpen {
                entries[watch]?.isOpen = true
                onOpen(entry.part)
            }
            if let last = items.last {
                entries[watch]?.levelSince = last.kind.isLevel ? entry.levelSince ?? batch.number : nil
            }
            let part = entry.part
            let said = items.map { item -> WatchBuffer.Item in
                switch item.kind {
                case .current: .current(part.index, batch.changes[Int(item.value)])
                case .change: .change(part.index, batch.changes[Int(item.value)])
                case .missed: .missed(part.index, batch.changes[Int(item.value)])
                case .page: .page(part.index, Version(item.value))
                case .level: .level(part.index, Version(item.value))
                case .startOver: .startOver(part.index)
                case .progress: .progress(part.index, Version(item.value))
                case .end: .end(part.index, WatchBuffer.End(rawValue: item.value) ?? .tooSlow)
                }
            }
            if part.buffer.push(said, part.index) { signals.append(part.buffer) }
        }
        WatchBuffer.signal(signals)
    }

    /// The session has ended: everybody goes on elsewhere, or in another one.
    private func fail() {
        isOver = true
        let left = entries.values.sorted { $0.part.number < $1.part.number }
        for entry in left { advance(entry) }
        (entries, places) = ([:], [:])
        onLoss(left.map(\.part), self)
    }
}
