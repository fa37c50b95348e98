/// Reads a part of the changelogs once more, for those who go on from there: what counts is decided by the same rules,
/// and by the same code, as for the state (`LogFold`).
///
/// A value beside the state: it changes nothing of it.
struct LogReplay {
    /// One that goes on: it wants the changes of a scope behind `after`, up to `end`.
    struct Resume {
        var store: Int
        var scope: WatchScope
        var after: Version
        var end: Version
        var changes: [Change] = []
        /// Whether something of it cannot be had.
        var isLost = false
    }

    private let partition: Int
    private let stores: [AnyStore]
    private let isShared: Bool
    private let ends: [Offset]
    private let position: Position
    private let limit: Int
    private var checkpoint: Checkpoint
    private var unsettled: UnsettledKeys
    private var fold: LogFold
    private(set) var resumes: [Resume]
    /// Who wants a key of a store, and who wants many.
    private var ofKey: [Int: [[UInt8]: [Int]]] = [:]
    private var ofMany: [Int] = []
    private var bytes = 0
    /// How many bytes were read since nothing waited for a decision.
    private var undecided = 0

    /// - Parameters:
    ///   - checkpoint: where to begin.
    ///   - position: where to end.
    ///   - limit: how many bytes of changes there may be.
    init(
        _ resumes: [Resume], partition: Int, stores: [AnyStore], isShared: Bool, from checkpoint: Checkpoint,
        to position: Position, limit: Int
    ) {
        self.resumes = resumes
        self.partition = partition
        self.stores = stores
        self.isShared = isShared
        self.checkpoint = checkpoint
        self.position = position
        self.limit = limit
        ends = position.offsets
        unsettled = UnsettledKeys(doubtful: checkpoint.places.map(\.doubtful))
        fold = LogFold(checkpoint, controlKeys: stores.map(\.controlKey))
        // All commands up to here were acknowledged, and stand before here.
        fold.note(ends: ends, ends)
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
            : stores.indices.filter { store in
                resumes.contains { $0.store == store && !$0.isLost }
            }
        let changelog = wanted.filter { read($0) < ends[$0] }.min { fold.waiting($0) < fold.waiting($1) }
        return changelog.map { ($0, read($0)) }
    }

    private func read(_ changelog: Int) -> Offset {
        isShared ? fold.next(changelog) : checkpoint.places[changelog].next
    }

    /// Whether nobody is left who can go on.
    var isPointless: Bool { resumes.allSatisfy(\.isLost) }

    /// Takes in a page that was read where `next` said.
    mutating func take(_ page: LogPage, of changelog: Int) {
        var page = page
        let next = read(changelog)
        // What came since belongs to those who watch already.
        if page.next > ends[changelog] {
            page.records.removeAll { $0.offset >= ends[changelog] }
            page.next = ends[changelog]
        }
        if let hole = page.hole(from: next) { lose(changelog, before: hole) }
        for record in page.records { undecided += record.record.key.count + (record.record.value?.count ?? 0) }
        let decisions =
            isShared
            ? fold.take(page, of: changelog, &checkpoint, &unsettled)
            : LogFold.everything(in: page, of: changelog, stores[changelog].controlKey, &checkpoint)
        for (write, note) in zip(decisions.writes, decisions.notes) {
            switch note.standing {
            case .void: continue
            case .doubtful: lose(write.store, before: note.version)
            case .valid: hand(write, note)
            }
        }
        // From a compacted beginning nothing is decided before the last settled: that must not be held for a watch.
        if stores.indices.allSatisfy({ fold.waiting($0) == 0 }) { undecided = 0 }
        if undecided > limit { loseAll() }
    }

    /// Everything was read: who still waits for a decision cannot have it.
    mutating func finish() {
        guard isShared, stores.indices.contains(where: { fold.waiting($0) > 0 }) else { return }
        loseAll()
    }

    mutating func loseAll() { for index in resumes.indices { lose(index) } }

    private mutating func lose(_ index: Int) {
        resumes[index].isLost = true
        resumes[index].changes = []
    }

    private mutating func lose(_ store: Int, before version: Version) {
        for index in resumes.indices where resumes[index].store == store && resumes[index].after < version {
            lose(index)
        }
    }

    private mutating func hand(_ write: MemStoreWrite, _ note: ChangeFeed.Note) {
        let interested = (ofKey[write.store]?[write.key] ?? []) + ofMany
        var shared: Change?
        for index in interested {
            let resume = resumes[index]
            guard !resume.isLost, resume.store == write.store, note.version > resume.after, note.version <= resume.end,
                resume.scope.contains(write.key)
            else { continue }
            let change =
                shared
                ?? Change(
                    partition: partition, store: stores[write.store].name, key: write.key, entry: write.entry,
                    version: note.version, position: position, tags: note.tags)
            if shared == nil { bytes += change.size }
            shared = change
            resumes[index].changes.append(change)
        }
        if bytes > limit { loseAll() }
    }
}
