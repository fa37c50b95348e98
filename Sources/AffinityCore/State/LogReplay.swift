/// Reads a part of the changelogs once more, for those who go on from there: what counts is decided by the same rules,
/// and by the same code, as for the state (`LogFold`).
///
/// A value beside the state: it changes nothing of it. Bounded: whoever has got a piece is left alone, and after some
/// bytes of the log everybody is; the checkpoint says where to read on.
struct LogReplay {
    /// One that goes on: it wants the changes of a scope behind `after`.
    struct Resume {
        let store: Int
        let scope: WatchScope
        let after: Version
        fileprivate(set) var changes: [Change] = []
        /// Up to where they are all, and where to read on.
        fileprivate(set) var reached: (version: Version, from: Checkpoint)?
        /// Whether something of it cannot be had.
        fileprivate(set) var isLost = false
        fileprivate var bytes = 0
        fileprivate var isReading: Bool { !isLost && reached == nil }

        init(store: Int, scope: WatchScope, after: Version) {
            (self.store, self.scope, self.after) = (store, scope, after)
        }
    }

    /// A record that is not decided: what was read for it, and what is held.
    private struct Undecided {
        var offset: Offset
        var read: Int
        var held: Int
    }

    private let partition: Int
    private let stores: [AnyStore]
    private let isShared: Bool
    private let ends: [Offset]
    private let position: Position
    private let limits: WatchLimits
    private var checkpoint: Checkpoint
    private var unsettled: UnsettledKeys
    private var fold: LogFold
    private(set) var resumes: [Resume]
    /// Who wants a key of a store, and who wants many.
    private var ofKey: [Int: [[UInt8]: [Int]]] = [:]
    private var ofMany: [Int] = []
    private var read = 0
    private var undecided: [Queue<Undecided>]
    private var undecidedBytes = (read: 0, held: 0)

    /// - Parameters:
    ///   - checkpoint: where to begin.
    ///   - position: where to end.
    init(
        _ resumes: [Resume], partition: Int, stores: [AnyStore], isShared: Bool, from checkpoint: Checkpoint,
        to position: Position, _ limits: WatchLimits
    ) {
        self.resumes = resumes
        self.partition = partition
        self.stores = stores
        self.isShared = isShared
        self.checkpoint = checkpoint
        self.position = position
        self.limits = limits
        ends = position.offsets
        unsettled = UnsettledKeys(doubtful: checkpoint.places.map(\.doubtful))
        fold = LogFold(checkpoint, controlKeys: stores.map(\.controlKey))
        // All commands up to here were acknowledged, and stand before here.
        fold.note(ends: ends, ends)
        undecided = stores.map { _ in Queue() }
        for (index, resume) in resumes.enumerated() {
            if case .key(let key) = resume.scope.kind {
                ofKey[resume.store, default: [:]][key, default: []].append(index)
            } else {
                ofMany.append(index)
            }
        }
    }

    /// The changelog to read next, and where; `nil` when everything is read.
    var next: (changelog: Int, offset: Offset)? {
        // Where nothing waits for another changelog, only what is wanted is read.
        let wanted =
            isShared
            ? Array(stores.indices)
            : stores.indices.filter { store in resumes.contains { $0.store == store && $0.isReading } }
        let changelog = wanted.filter { next(in: $0) < ends[$0] }.min { fold.waiting($0) < fold.waiting($1) }
        return changelog.map { ($0, next(in: $0)) }
    }

    private func next(in changelog: Int) -> Offset {
        isShared ? fold.next(changelog) : checkpoint.places[changelog].next
    }

    /// Whether nobody is left who goes on, or enough was read. What is not decided then is read again: it is less than
    /// half, so that each pass comes on.
    var isEnough: Bool {
        if !resumes.contains(where: \.isReading) { return true }
        return read >= limits.replay && undecidedBytes.read <= read / 2
    }

    /// Takes in a page that was read where `next` said.
    mutating func take(_ page: LogPage, of changelog: Int) {
        var page = page
        let next = next(in: changelog)
        // What came since belongs to those who watch already.
        if page.next > ends[changelog] {
            page.records.removeAll { $0.offset >= ends[changelog] }
            page.next = ends[changelog]
        }
        if let hole = page.hole(from: next) { lose(changelog, before: hole) }
        let decisions: LogFold.Decisions
        if isShared {
            hold(&page, of: changelog)
            decisions = fold.take(page, of: changelog, &checkpoint, &unsettled)
            letGo()
        } else {
            for record in page.records { read += Self.size(record) }
            decisions = LogFold.everything(in: page, of: changelog, stores[changelog].controlKey, &checkpoint)
        }
        for (write, note) in zip(decisions.writes, decisions.notes) {
            switch note.standing {
            case .void: continue
            case .doubtful: lose(write.store, before: note.version)
            case .valid: hand(write, note)
            }
        }
        // From a compacted beginning nothing is decided before the last settled: that must not be held for a watch.
        if undecidedBytes.held > limits.undecided { loseAll() }
        for index in resumes.indices where resumes[index].bytes >= limits.piece { stop(index) }
    }

    /// Nothing more is read: everybody has what is decided.
    mutating func finish() {
        // Everything was read: who still waits for a decision cannot have it.
        if next == nil, isShared, stores.indices.contains(where: { fold.waiting($0) > 0 }) { loseAll() }
        for index in resumes.indices { stop(index) }
    }

    private mutating func stop(_ index: Int) {
        guard resumes[index].isReading else { return }
        resumes[index].reached = (Version(upTo: checkpoint.places[resumes[index].store].next), checkpoint)
    }

    /// Nobody can have what is wanted: the log does not begin so early any longer.
    mutating func loseAll() { for index in resumes.indices where resumes[index].isReading { lose(index) } }

    private mutating func lose(_ index: Int) {
        resumes[index].isLost = true
        resumes[index].changes = []
    }

    private mutating func lose(_ store: Int, before version: Version) {
        for index in resumes.indices
        where resumes[index].isReading && resumes[index].store == store && resumes[index].after < version {
            lose(index)
        }
    }

    // MARK: - What is not decided

    private static func size(_ record: LoggedRecord) -> Int {
        64 + record.record.key.count + (record.record.value?.count ?? 0)
    }

    /// Holds what is not decided, without the values that nobody wants.
    private mutating func hold(_ page: inout LogPage, of changelog: Int) {
        let first = resumes.lazy.filter { $0.isReading && $0.store == changelog }.map(\.after).min()
        let isWantedWhole = ofMany.contains { resumes[$0].store == changelog }
        for index in page.records.indices {
            let (record, size) = (page.records[index], Self.size(page.records[index]))
            let isWanted =
                first.map { Version(at: record.offset) > $0 } ?? false
                && (isWantedWhole || ofKey[changelog]?[record.record.key] != nil)
            if !isWanted, record.record.key != stores[changelog].controlKey { page.records[index].record.value = nil }
            let held = Self.size(page.records[index])
            undecided[changelog].append(Undecided(offset: record.offset, read: size, held: held))
            (undecidedBytes.read, undecidedBytes.held) = (undecidedBytes.read + size, undecidedBytes.held + held)
            read += size
        }
    }

    private mutating func letGo() {
        for changelog in undecided.indices {
            while let first = undecided[changelog].first, first.offset < checkpoint.places[changelog].next {
                _ = undecided[changelog].popFirst()
                undecidedBytes.read -= first.read
                undecidedBytes.held -= first.held
            }
        }
    }

    // MARK: - What is decided

    private mutating func hand(_ write: MemStoreWrite, _ note: ChangeFeed.Note) {
        let interested = (ofKey[write.store]?[write.key] ?? []) + ofMany
        var shared: Change?
        for index in interested {
            guard isWanted(write, note.version, by: resumes[index]) else { continue }
            let change =
                shared
                ?? Change(
                    partition: partition, store: stores[write.store].name, key: write.key, entry: write.entry,
                    version: note.version, position: position, tags: note.tags)
            shared = change
            resumes[index].changes.append(change)
            resumes[index].bytes += change.size
        }
    }

    private func isWanted(_ write: MemStoreWrite, _ version: Version, by resume: Resume) -> Bool {
        resume.isReading && resume.store == write.store && version > resume.after && resume.scope.contains(write.key)
    }
}
