import AffinityCore
import AffinityTesting

@testable import AffinityCore

/// What must hold when nothing is under way: all copies agree, whatever they were made from.
extension World {
    /// If the master is at rest, compares with it all that can be made of the log.
    func check() -> Bool {
        guard let master = nodes.first(where: \.isAtRest), let state = master.state else { return false }
        history.answer(master.snapshot(state), "master at rest")
        let raw = ModelLog(log)
        raw.forgetCompaction()
        let compacted = ModelLog(log)
        for changelog in 0..<changelogs {
            _ = compacted.compact(changelog, below: settled[changelog], appendedBefore: clock.now)
        }
        let empty = ModelDisk(stores: changelogs)
        compare(empty, raw, "replay of all", with: master)
        for (log, what) in [(log, "the log"), (compacted, "the compacted log")] {
            compare(empty, log, "replay of \(what)", with: master)
            for node in nodes { compare(node.disk, log, "restart on \(what)", with: master) }
            for node in nodes { if let tail = node.tail { compare(tail, of: node, log, "standby on \(what)", master) } }
        }
        return true
    }

    /// Opens a copy of a memstore over a log and reads that to its end.
    private func compare(_ disk: ModelDisk, _ log: ModelLog, _ what: String, with master: ModelNode) {
        let copy = ModelDisk(disk.newest)
        guard let state = master.open(LogUse(log, Producer(node: 9, changelogs: changelogs)), copy) else { return }
        compare(state, copy, log, what, master)
    }

    /// The same for what a standby has in memory.
    private func compare(_ tail: StateStore, of node: ModelNode, _ log: ModelLog, _ what: String, _ master: ModelNode) {
        let copy = ModelDisk(node.disk.newest)
        guard let state = master.open(LogUse(log, Producer(node: 9, changelogs: changelogs)), copy) else { return }
        (state.applied, state.fold, state.unsettled) = (tail.applied, tail.fold, tail.unsettled)
        compare(state, copy, log, what, master)
    }

    private func compare(
        _ state: StateStore, _ disk: ModelDisk, _ log: ModelLog, _ what: String, _ master: ModelNode
    ) {
        do {
            try state.note(ends: log.ends, log.ends)
            while let changelog = state.changelogToRead(log.ends) {
                let page = log.page(changelog, from: state.readNext(changelog), limit: 3)
                try state.take(page, of: changelog, levelAsOf: nil)
            }
        } catch { return history.fail("\(what): \(error)") }
        for (changelog, end) in log.ends.enumerated() where state.applied.places[changelog].next != end {
            return history.fail(
                "\(what): stuck: at \(state.position) of \(log.ends), epoch \(state.applied.epoch) open "
                    + "\(state.applied.isOpen)")
        }
        guard disk.newest.entries != master.disk.newest.entries else { return checkDoubts(state, what, master) }
        history.fail("\(what): differs from the master: " + difference(disk, master.disk))
    }

    /// A reader that began at the beginning has nothing in doubt that the master has settled. (Whoever resumes may: it
    /// would rewrite too much, which does no harm.)
    private func checkDoubts(_ state: StateStore, _ what: String, _ master: ModelNode) {
        guard !state.wasResumed, let own = master.state, !own.owesCover else { return }
        for changelog in 0..<changelogs {
            let keys = state.unsettled.doubtful(changelog).keys.map { String(decoding: $0, as: UTF8.self) }
            if !keys.isEmpty { history.fail("\(what): in doubt for ever: \(keys) of \(changelog)") }
        }
    }

    private func difference(_ disk: ModelDisk, _ other: ModelDisk) -> String {
        var text: [String] = []
        for store in 0..<changelogs {
            let (mine, its) = (disk.newest.entries[store], other.newest.entries[store])
            for key in Set(mine.keys).union(its.keys).sorted(by: { $0.lexicographicallyPrecedes($1) })
            where mine[key] != its[key] {
                let name = String(decoding: key.filter { $0 >= 32 }, as: UTF8.self)
                text.append("\(store)/\(name)=\(shown(mine[key])), master \(shown(its[key]))")
            }
        }
        return text.joined(separator: "; ")
    }

    private func shown(_ entry: StoredEntry?) -> String { entry.map { "\($0.value)v\($0.version)" } ?? "-" }

    // MARK: - Healing

    /// Lets everything land and arrive, and everybody work, until a master is at rest.
    func heal() throws {
        try settleDown()
        guard history.violation == nil else { return }
        guard check() else { return history.fail("stuck: nobody came to rest") }
        // And it goes on: one more command.
        guard history.violation == nil, let master = nodes.first(where: \.isAtRest) else { return }
        let note = Note(number: UInt8(history.operations.count), writes: 15, removes: 0, isLinear: history.isLinear)
        history.operations.append(History.Operation(note: note, least: history.seen, isRequest: false))
        guard master.run(history.operations.count - 1) else { return history.fail("stuck: no command can be run") }
        try settleDown()
        guard history.violation == nil else { return }
        if history.operations.last?.acknowledged != 1 { history.fail("stuck: a command was not acknowledged") }
        if !check() { history.fail("stuck: nobody came to rest again") }
    }

    private func settleDown() throws {
        for _ in 0..<400 {
            if history.violation != nil { return }
            var isBusy = false
            for producer in producers.indices { isBusy = try take(.landAll, producer, 0) || isBusy }
            for node in nodes.indices { isBusy = try push(node) || isBusy }
            if holder == nil { isBusy = try take(.grant, nodes.count - 1, 0) || isBusy }
            if !isBusy, nodes.contains(where: \.isAtRest) { return }
        }
        let state = nodes.map(\.shown).joined(separator: "; ")
        history.fail("stuck: nobody comes to rest: holder \(holder.map { "\($0)" } ?? "-"): \(state)")
    }

    private func push(_ node: Int) throws -> Bool {
        var isBusy = false
        for kind in [ModelStep.Kind.restart, .tell, .ackAll, .gap, .work, .retry, .read, .poll, .cover] {
            // 3 and 2: the longest page of a reader, and of a gap.
            while try take(kind, node, kind == .read ? 3 : kind == .gap ? 2 : 0) { isBusy = true }
        }
        return isBusy
    }

    private func take(_ kind: ModelStep.Kind, _ who: Int, _ how: UInt8) throws -> Bool {
        try take(ModelStep(kind: kind, who: UInt8(who), how: how))
    }
}
