import AffinityCore

@testable import AffinityCore

/// What clients were told, and whether it fits into one history.
///
/// Acknowledged commands and answered reads form one line in real time; versions never go back; a command that was
/// said not to be applied is never seen; no command is seen twice.
final class History {
    /// A command of a client, with all of its attempts.
    struct Operation {
        var note: Note
        /// What had been seen when it was first sent: it comes behind that.
        var least: [UInt8]
        var isRequest: Bool
        /// How many attempts are open, and how many of the others were or may have been applied.
        var open = 0
        var unknown = 0
        var acknowledged = 0
        /// The version that its caller was told.
        var version: Version?

        /// Its last write or removal.
        var lastSlot: Slot {
            let last = (0..<Scribe.slots.count).last { (note.writes | note.removes) >> $0 & 1 == 1 }
            return Scribe.slots[last ?? 0]
        }
    }

    /// What a query has read.
    struct Snapshot {
        var entries: [StoredEntry?]
        /// What had been seen when it was asked.
        var least: [UInt8]
        var leastVersions: [Version]
    }

    private(set) var violation: String?
    var operations: [Operation] = []
    let isLinear: Bool
    /// The longest list that anybody was told, and the greatest version of each key.
    private(set) var seen: [UInt8] = []
    private(set) var versions = Scribe.slots.map { _ in Version.none }
    private(set) var acknowledgedCount = 0
    private(set) var readCount = 0

    /// Whether the versions in the outcomes of requests are right for certain. They are foretold; a record of another
    /// writer in between makes them wrong until the master has corrected them.
    var knowsOutcomeVersions = true

    init(isLinear: Bool) { self.isLinear = isLinear }

    func fail(_ reason: String) { if violation == nil { violation = reason } }

    // MARK: - Answers

    func acknowledge(_ number: Int, answer: [UInt8], version: Version, isReplay: Bool, in log: ModelLog) {
        acknowledgedCount += 1
        operations[number].acknowledged += 1
        see(answer, least: operations[number].least, "ack")
        if isReplay { checkReplay(number, version) }
        checkVersion(number, version, isReplay, in: log)
        if operations[number].version == nil { operations[number].version = version }
    }

    private func checkReplay(_ number: Int, _ version: Version) {
        guard knowsOutcomeVersions, let told = operations[number].version, told != version else { return }
        fail("replay: another version: \(number) was told \(told), and is now told \(version)")
    }

    /// The version names a record of the command.
    private func checkVersion(_ number: Int, _ version: Version, _ isReplay: Bool, in log: ModelLog) {
        if isReplay, !knowsOutcomeVersions { return }
        let operation = operations[number]
        let slot = operation.lastSlot
        let place = Int(version.rawValue) - 1
        // A removal of nothing writes nothing: then the version is that of the write before it.
        if operation.note.removes != 0 { return }
        guard log.raw[slot.store].indices.contains(place), let record = log.raw[slot.store][place]?.record else {
            return fail("\(isReplay ? "replay" : "ack"): version of nothing: \(number) was told \(version)")
        }
        if record.key != slot.bytes || record.value?.last != UInt8(number) || record.headers.stamp == nil {
            fail("\(isReplay ? "replay" : "ack"): version of another record: \(number) was told \(version)")
        }
        if let index = Scribe.slots.firstIndex(where: { $0.store == slot.store && $0.key == slot.key }), !isReplay {
            versions[index] = max(versions[index], version)
        }
    }

    // MARK: - What is seen

    func answer(_ snapshot: Snapshot, _ what: String) {
        readCount += 1
        for slot in Scribe.slots.indices {
            guard let entry = snapshot.entries[slot] else { continue }
            if entry.version < snapshot.leastVersions[slot] { fail("\(what): a version goes back") }
            versions[slot] = max(versions[slot], entry.version)
            checkNotApplied(entry.value, what)
        }
        guard isLinear else { return }
        let values = snapshot.entries.map { $0?.value }
        let longest = values.compactMap { $0 }.reduce([]) { $0.count >= $1.count ? $0 : $1 }
        let expected = state(after: longest)
        if values != expected { fail("\(what): torn state: \(values), not \(expected)") }
        see(longest, least: snapshot.least, what)
    }

    /// What each key has after those commands.
    private func state(after list: [UInt8]) -> [[UInt8]?] {
        var state: [[UInt8]?] = Scribe.slots.map { _ in nil }
        for (place, number) in list.enumerated() where Int(number) < operations.count {
            let note = operations[Int(number)].note
            for slot in Scribe.slots.indices {
                if note.writes >> slot & 1 == 1 {
                    state[slot] = Array(list[...place])
                } else if note.removes >> slot & 1 == 1 {
                    state[slot] = nil
                }
            }
        }
        return state
    }

    private func see(_ list: [UInt8], least: [UInt8], _ what: String) {
        checkNotApplied(list, what)
        guard isLinear else { return }
        if !list.starts(with: least) { fail("\(what): lost or stale: \(list) lacks \(least)") }
        if !list.starts(with: seen), !seen.starts(with: list) { fail("\(what): forked history: \(list) and \(seen)") }
        if list.count > seen.count { seen = list }
    }

    private func checkNotApplied(_ list: [UInt8], _ what: String) {
        if Set(list).count != list.count { fail("\(what): applied twice: \(list)") }
        for number in list where Int(number) < operations.count {
            let operation = operations[Int(number)]
            if operation.open + operation.unknown + operation.acknowledged == 0 {
                fail("\(what): a command that was not applied is seen: \(list), \(number)")
            }
        }
    }

    /// An attempt ended without being applied, for certain or not.
    func lose(_ number: Int, _ outcome: AskError.Outcome) {
        if outcome != .notApplied { operations[number].unknown += 1 }
        let operation = operations[number]
        if operation.open + operation.unknown + operation.acknowledged == 0, seen.contains(UInt8(number)) {
            fail("answer: not applied, though it was seen: \(number)")
        }
    }
}
