internal import Synchronization

/// What was said to one watch and not taken yet: bounded, and with a defined end when it overflows.
///
/// Filled by replicas, or by what other nodes send, each part of it by one of them at a time; emptied by whoever reads
/// the watch, on any thread.
final class WatchBuffer: Sendable {
    enum Item: Sendable {
        case current(Int, Change)
        case change(Int, Change)
        /// A change that had been missed when the watch began.
        case missed(Int, Change)
        /// The end of a page of what stands there, or of what was missed: when it is taken, the next one is asked for.
        /// Everything up to the version was said, if there is one.
        case page(Int, Version)
        case level(Int, Version)
        case startOver(Int)
        /// Everything up to this version was said.
        case progress(Int, Version)
        /// The watch is over, for a reason that only the replica knows.
        case end(Int, End)

        var part: Int {
            switch self {
            case .current(let part, _), .change(let part, _), .missed(let part, _), .page(let part, _),
                .level(let part, _), .startOver(let part), .progress(let part, _), .end(let part, _):
                part
            }
        }

        var change: Change? {
            switch self {
            case .current(_, let change), .change(_, let change), .missed(_, let change): change
            default: nil
            }
        }

        /// Whether it is told as it comes, and was not asked for.
        var isLive: Bool { if case .change = self { true } else { false } }
    }

    /// Why a replica ends a watch for good.
    enum End: UInt64, Sendable {
        /// More is written than whoever reads takes of what it has missed: it will never have it all.
        case tooSlow
        /// Many entries of a store without order.
        case unordered

        var error: WatchError {
            switch self {
            case .tooSlow: WatchError(.tooSlow, "more is written than is taken of what was missed")
            case .unordered: WatchError(.refused, "only single entries are watched of a store without order")
            }
        }
    }

    /// How far a part of the watch is.
    private struct Cursor {
        /// Up to where everything was put in; `nil` if it has to begin with what stands there.
        var pushed: Version?
        /// Up to where everything was taken out.
        var taken: Version?
        /// Whether something was said that does not hold when it begins again.
        var hasBegun: Bool
        /// How many bytes wait of what was asked for, and how many of them belong to a page that is not whole yet.
        var asked = 0
        var page = 0
    }

    private struct State {
        var items: [Item] = []
        /// The first one that was not taken.
        var head = 0
        /// How many of those that wait are changes that nobody asked for, and their bytes.
        var changes = 0
        var bytes = 0
        /// Whether whoever reads knows that there is something.
        var isSignalled = false
        var end: WatchError?
        var cursors: [Cursor]
    }

    let options: WatchOptions
    private let executor: any EventExecutor
    private let onReady: @Sendable () -> Void
    private let state: Mutex<State>

    /// - Parameters:
    ///   - after: for each part, up to where everything is known.
    ///   - hasBegun: whether something was said that a new beginning takes back, though nothing is known whole.
    ///   - onReady: called on `executor` when something can be taken; not again before all of it was taken, or too much
    ///     waits.
    init(
        _ options: WatchOptions, after: [Version?], hasBegun: Bool = false, on executor: any EventExecutor,
        onReady: @escaping @Sendable () -> Void
    ) {
        self.options = options
        self.executor = executor
        self.onReady = onReady
        state = Mutex(State(cursors: after.map { Cursor(pushed: $0, taken: $0, hasBegun: hasBegun || $0 != nil) }))
    }

    // MARK: - Filling

    /// Puts a change in, unless it was said before; returns whether whoever reads has to be called.
    func push(_ change: Change, _ part: Int) -> Bool {
        state.withLock { state in
            if let pushed = state.cursors[part].pushed {
                if change.version <= pushed { return false }
                state.cursors[part].pushed = change.version
            }
            return put(.change(part, change), &state)
        }
    }

    /// Puts items of one part in; returns whether whoever reads has to be called.
    func push(_ items: [Item], _ part: Int) -> Bool {
        state.withLock { state in
            var mustSignal = false
            for item in items where note(pushed: item, part, &state) { if put(item, &state) { mustSignal = true } }
            return mustSignal
        }
    }

    /// Moves the cursor; returns whether the item is new.
    private func note(pushed item: Item, _ part: Int, _ state: inout State) -> Bool {
        let pushed = state.cursors[part].pushed
        switch item {
        case .startOver:
            state.cursors[part].pushed = nil
            forget(part, &state)
        case .current: state.cursors[part].hasBegun = true
        case .level(_, let version), .progress(_, let version):
            guard version >= pushed ?? .none else { return false }
            state.cursors[part].pushed = version
            state.cursors[part].hasBegun = true
        case .change(_, let change), .missed(_, let change):
            guard let pushed else { return true }
            if change.version <= pushed { return false }
            state.cursors[part].pushed = change.version
        case .page(_, let version): if let pushed { state.cursors[part].pushed = max(pushed, version) }
        case .end: break
        }
        return true
    }

    /// Whoever starts over need not know what waits.
    private func forget(_ part: Int, _ state: inout State) {
        replaceItems(of: &state, by: state.items[state.head...].filter { $0.part != part })
    }

    private func put(_ item: Item, _ state: inout State) -> Bool {
        if state.end != nil { return false }
        if case .progress(let part, let version) = item {
            state.cursors[part].page = 0
            // Nobody has to be called for it.
            if state.head == state.items.count {
                state.cursors[part].taken = version
                return false
            }
            if case .progress(part, _)? = state.items.last { state.items.removeLast() }
            state.items.append(item)
            return false
        }
        state.items.append(item)
        count(item, &state)
        makeRoom(for: item, &state)
        // Who knows that there is something, and cannot take it, has to hear that it is over.
        defer { state.isSignalled = true }
        return !state.isSignalled || state.end != nil
    }

    private func count(_ item: Item, _ state: inout State) {
        guard let change = item.change else { return }
        if item.isLive {
            state.changes += 1
            state.bytes += change.size
        } else {
            state.cursors[item.part].asked += change.size
            state.cursors[item.part].page += change.size
        }
    }

    /// What is told as it comes has its bounds; what was asked for is a page, and what is left of former ones.
    private func makeRoom(for item: Item, _ state: inout State) {
        switch item {
        case .change:
            if state.changes > options.events || (state.bytes > options.bytes && state.changes > 1) { makeRoom(&state) }
        case .current(let part, _), .missed(let part, _):
            let cursor = state.cursors[part]
            guard cursor.asked - cursor.page > options.bytes else { return }
            end(WatchError(.tooSlow, "\(cursor.asked) bytes of what was missed were not taken in time"), &state)
        case .page(let part, _), .level(let part, _): state.cursors[part].page = 0
        case .startOver, .progress, .end: break
        }
    }

    private func makeRoom(_ state: inout State) {
        if options.overflow == .coalesce { coalesce(&state) }
        // Half of it has to be free, or it would be gone over for each change that comes.
        let isRoomy = state.changes == 1 || (state.changes <= options.events / 2 && state.bytes <= options.bytes / 2)
        if options.overflow == .coalesce, isRoomy { return }
        end(WatchError(.tooSlow, "\(state.changes) changes were not taken in time"), &state)
    }

    /// Keeps the newest change of each key.
    private func coalesce(_ state: inout State) {
        struct Place: Hashable { var part: Int; var key: [UInt8] }
        var newest = Set<Place>()
        var kept: [Item] = []
        for item in state.items[state.head...].reversed() {
            if let change = item.change, !newest.insert(Place(part: item.part, key: change.key)).inserted { continue }
            kept.append(item)
        }
        replaceItems(of: &state, by: kept.reversed())
    }

    private func replaceItems(of state: inout State, by items: [Item]) {
        (state.items, state.head, state.changes, state.bytes) = (items, 0, 0, 0)
        for part in state.cursors.indices { (state.cursors[part].asked, state.cursors[part].page) = (0, 0) }
        for item in items {
            count(item, &state)
            switch item {
            case .page(let part, _), .level(let part, _), .progress(let part, _): state.cursors[part].page = 0
            default: break
            }
        }
    }

    /// Ends the watch: behind what waits, unless that is too much.
    ///
    /// - Returns: whether whoever reads has to be called.
    func end(_ error: WatchError) -> Bool {
        state.withLock { state in
            guard state.end == nil else { return false }
            if error.code == .cancelled { (state.items, state.head) = ([], 0) }
            state.end = error
            defer { state.isSignalled = true }
            return !state.isSignalled
        }
    }

    /// What was not taken is let go of: it would have to be kept for somebody who does not come.
    private func end(_ error: WatchError, _ state: inout State) {
        replaceItems(of: &state, by: [])
        state.end = error
    }

    // MARK: - Emptying

    /// Takes out what waits, not more than `limit` items.
    ///
    /// - Parameters:
    ///   - bytes: how many bytes the changes among them may have.
    ///   - evenOne: whether the first one may have more.
    /// - Returns: the items, the progress among them too; and the end, if nothing waits before it.
    func take(
        atMost limit: Int, bytes: Int = .max, evenOne: Bool = true
    ) -> (items: [Item], end: WatchError?) {
        state.withLock { state in
            var (count, left) = (0, bytes)
            while count < limit, state.head + count < state.items.count {
                left -= state.items[state.head + count].change?.size ?? 0
                if left < 0, count > 0 || !evenOne { break }
                count += 1
            }
            let items: [Item]
            if count == state.items.count {
                items = state.items
                state.items = []
            } else {
                items = Array(state.items[state.head..<state.head + count])
                state.head += count
                // Not all at once: the space of what was taken is given back when it is half of it.
                if state.head * 2 >= state.items.count {
                    state.items.removeFirst(state.head)
                    state.head = 0
                }
            }
            for item in items { note(taken: item, &state) }
            guard state.head == state.items.count else { return (items, nil) }
            if state.end == nil { state.isSignalled = false }
            return (items, state.end)
        }
    }

    private func note(taken item: Item, _ state: inout State) {
        if let change = item.change { discount(item, change, &state) }
        switch item {
        case .change(let part, let change), .missed(let part, let change):
            // While what stands there is still being said, nobody can go on from a change.
            if state.cursors[part].taken != nil { state.cursors[part].taken = change.version }
        case .page(let part, let version):
            if let taken = state.cursors[part].taken { state.cursors[part].taken = max(taken, version) }
        case .level(let part, let version), .progress(let part, let version): state.cursors[part].taken = version
        case .startOver(let part): state.cursors[part].taken = nil
        case .current, .end: break
        }
    }

    private func discount(_ item: Item, _ change: Change, _ state: inout State) {
        if item.isLive {
            state.changes -= 1
            state.bytes -= change.size
        } else {
            state.cursors[item.part].asked -= change.size
            state.cursors[item.part].page = min(state.cursors[item.part].page, state.cursors[item.part].asked)
        }
    }

    /// Up to where everything of a part was taken out.
    func taken(_ part: Int) -> Version? { state.withLock { $0.cursors[part].taken } }

    /// Up to where everything of a part was put in, and whether there is something that a new beginning takes back.
    func cursor(_ part: Int) -> (version: Version?, hasBegun: Bool) {
        state.withLock { ($0.cursors[part].pushed, $0.cursors[part].hasBegun) }
    }

    /// Whether it has ended.
    var hasEnded: Bool { state.withLock { $0.end != nil } }

    /// Whether it has ended, and nothing waits before the end.
    var isOver: Bool { state.withLock { $0.end != nil && $0.head == $0.items.count } }

    /// About how many bytes wait.
    var size: Int { state.withLock { $0.bytes + $0.cursors.reduce(0) { $0 + $1.asked } } }

    /// How many items wait.
    var count: Int { state.withLock { $0.items.count - $0.head } }

    // MARK: - Calling whoever reads

    /// Calls those who have to be called: one closure for each executor, however many they are.
    static func signal(_ buffers: [WatchBuffer]) {
        guard let first = buffers.first else { return }
        if buffers.allSatisfy({ $0.executor === first.executor }) {
            return first.executor.post { for buffer in buffers { buffer.onReady() } }
        }
        var groups: [(executor: any EventExecutor, buffers: [WatchBuffer])] = []
        for buffer in buffers {
            if let place = groups.firstIndex(where: { $0.executor === buffer.executor }) {
                groups[place].buffers.append(buffer)
            } else {
                groups.append((buffer.executor, [buffer]))
            }
        }
        for (executor, buffers) in groups {
            executor.post { for buffer in buffers { buffer.onReady() } }
        }
    }

    func signal() { Self.signal([self]) }
}

/// What one watch looks at in one partition.
final class WatchPart: Sendable {
    /// Orders the parts that a node has.
    let number: UInt64
    let partition: Int
    /// The place of the store among those of its partition, and its name.
    let store: Int
    let name: String
    let scope: WatchScope
    let buffer: WatchBuffer
    /// The place of the part in the buffer.
    let index: Int
    /// Whom it belongs to: hears when the replica that fills it cannot go on, and when the next page is wanted.
    private let owner: any WatchOwner

    init(
        _ number: UInt64, partition: Int, store: Int, _ name: String, _ scope: WatchScope, _ buffer: WatchBuffer,
        _ index: Int, owner: any WatchOwner
    ) {
        self.number = number
        self.partition = partition
        self.store = store
        self.name = name
        self.scope = scope
        self.buffer = buffer
        self.index = index
        self.owner = owner
    }

    /// Puts a change in; returns whether whoever reads has to be called.
    func push(_ change: Change) -> Bool { buffer.push(change, index) }

    /// Puts items in, and calls whoever reads.
    func push(_ items: [WatchBuffer.Item]) { if buffer.push(items, index) { buffer.signal() } }

    /// Everything up to `version` was said.
    func advance(to version: Version) { _ = buffer.push([.progress(index, version)], index) }

    /// Up to where everything was said, and whether there is something that a new beginning takes back.
    var cursor: (version: Version?, hasBegun: Bool) { buffer.cursor(index) }

    /// The last page has been taken.
    func wantMore() { owner.more(self) }

    /// Tells the owners of parts that they have to be filled by somebody else now.
    static func lose(_ parts: [WatchPart]) {
        var groups: [(owner: any WatchOwner, parts: [WatchPart])] = []
        for part in parts {
            if let place = groups.lastIndex(where: { $0.owner === part.owner }) {
                groups[place].parts.append(part)
            } else {
                groups.append((part.owner, [part]))
            }
        }
        for (owner, parts) in groups { owner.lost(parts) }
    }
}

/// Who finds a master for parts of watches: a node for its own, and a session for those of another node.
protocol WatchOwner: AnyObject, Sendable {
    /// Nobody fills these any longer. Called by a replica on its executor.
    func lost(_ parts: [WatchPart])
    /// The next page of a scan is wanted. Called on any thread.
    func more(_ part: WatchPart)
}
