/// The watches of one node that the masters on one other node fill: a session of long polls.
///
/// One poll is on its way at a time; whatever goes wrong ends the session, and every part goes on from its cursor, at
/// whoever is master then. Called by `WatchRouter`, on whose executor it runs; calls `PeerLink`.
actor WatchLink {
    private struct Entry {
        let part: WatchPart
        /// Whether something has come for it: then what is known of the whole partition holds for it.
        var isOpen = false
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
    private var entries: [UInt64: Entry] = [:]
    /// What no batch has confirmed: since which poll it was said, 0 if it was not yet.
    private var additions: [UInt64: UInt64] = [:]
    private var removals: [UInt64: UInt64] = [:]
    private var pages: [UInt64: UInt64] = [:]
    private var progress: [Int: Position] = [:]
    private var number: UInt64 = 0
    private var received: UInt64 = 0
    /// The poll that is on its way.
    private var withdrawal: Withdrawal?
    private var isRunning = false
    private var isOver = false

    /// How long a poll waits at the other node for something to happen.
    static let patience = Duration.seconds(5)
    /// How many additions go with one poll.
    private static let maxAdditions = 4096

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
            link.entries[part.number] = Entry(part: part)
            link.removals[part.number] = nil
            link.additions[part.number] = 0
            link.poll()
        }
    }

    nonisolated func remove(_ part: WatchPart) { assumeIsolated { $0.forget(part.number) } }

    /// The last page of a part has been taken.
    nonisolated func more(_ part: WatchPart) {
        assumeIsolated { link in
            guard link.entries[part.number] != nil else { return }
            link.pages[part.number] = 0
            link.poll()
        }
    }

    /// Takes the parts of a partition back, which has another master.
    nonisolated func give(up partition: Int) -> [WatchPart] {
        assumeIsolated { link in
            let parts = link.entries.values.map(\.part).filter { $0.partition == partition }
            for part in parts { link.forget(part.number) }
            return parts.sorted { $0.number < $1.number }
        }
    }

    /// Nothing is wanted any longer.
    nonisolated func end() {
        assumeIsolated { link in
            (link.isOver, link.entries) = (true, [:])
            link.withdrawal?.withdraw()
        }
    }

    // MARK: -

    private func forget(_ number: UInt64) {
        guard let entry = entries.removeValue(forKey: number) else { return }
        advance(entry)
        additions[number] = nil
        pages[number] = nil
        removals[number] = 0
    }

    /// A quiet part is as far as its partition.
    private func advance(_ entry: Entry) {
        guard entry.isOpen, entry.part.cursor.version != nil, let position = progress[entry.part.partition],
            position.offsets.indices.contains(entry.part.store)
        else { return }
        entry.part.advance(to: Version(upTo: position.offsets[entry.part.store]))
    }

    /// Makes sure that what is new is said.
    private func poll() {
        if isRunning {
            withdrawal?.withdraw()
            return
        }
        isRunning = true
        // Ends when there is nothing to watch, or the session has failed.
        Task(executorPreference: executor) { await self.run() }
    }

    private func run() async {
        while !isOver, !entries.isEmpty {
            let withdrawal = Withdrawal()
            self.withdrawal = withdrawal
            let poll = nextPoll()
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
        for number in additions.keys.sorted().prefix(Self.maxAdditions) {
            guard let part = entries[number]?.part else { continue }
            let cursor = part.cursor
            poll.additions.append(
                .init(
                    number: number, partition: part.partition, store: part.name, scope: part.scope,
                    after: cursor.version, hasBegun: cursor.hasBegun, options: part.buffer.options))
            if additions[number] == 0 { additions[number] = poll.number }
        }
        poll.removals = removals.keys.sorted()
        poll.pages = pages.keys.sorted()
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
        progress.merge(batch.progress) { $1 }
        let lost = batch.lost.compactMap { number -> WatchPart? in
            guard let entry = entries.removeValue(forKey: number) else { return nil }
            additions[number] = nil
            pages[number] = nil
            return entry.part
        }
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
            guard let entry = entries[watch] else { continue }
            if !entry.isOpen {
                entries[watch]?.isOpen = true
                onOpen(entry.part)
            }
            let part = entry.part
            let said = items.map { item -> WatchBuffer.Item in
                switch item.kind {
                case .current: .current(part.index, batch.changes[Int(item.value)])
                case .change: .change(part.index, batch.changes[Int(item.value)])
                case .page: .page(part.index)
                case .level: .level(part.index, Version(item.value))
                case .startOver: .startOver(part.index)
                case .progress: .progress(part.index, Version(item.value))
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
        entries = [:]
        onLoss(left.map(\.part), self)
    }
}
