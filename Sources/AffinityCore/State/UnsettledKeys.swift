/// The keys whose newest record may be void or stale (PROTOCOL R3): whoever becomes master rewrites them (C3).
///
/// There are two kinds. *Doubtful* keys are those of records that were dropped, or that an epoch left behind without
/// covering them: they are part of the checkpoint. *Uncovered* records were applied, and no `a` of their epoch has
/// covered them yet: there are as many as commands were in flight, and of those the checkpoint has only the offset of
/// the first in each changelog, because the log itself has the rest.
struct UnsettledKeys {
    private struct Uncovered {
        var number: UInt64
        var offset: Offset
        var key: [UInt8]
        var appended: Timestamp
    }

    private struct Doubt {
        /// When the newest doubtful record was appended, and where it stands; `.zero` for one from the checkpoint, which
        /// lies before everything that is still to be applied.
        var appended: Timestamp
        var offset = Offset.zero
        /// Whether a claimant has rewritten the key since, and its settled is still to come.
        var isRewritten = false
    }

    private var doubts: [[[UInt8]: Doubt]]
    /// Whether there is any doubtful key; kept, because every record that is applied asks.
    private var hasDoubtful: Bool
    private var uncovered: [Queue<Uncovered>]

    init(doubtful: [[[UInt8]: Timestamp]]) {
        doubts = doubtful.map { $0.mapValues { Doubt(appended: $0) } }
        hasDoubtful = doubtful.contains { !$0.isEmpty }
        uncovered = doubtful.map { _ in Queue() }
    }

    /// The doubtful keys of a changelog, and when the newest doubtful record of each was appended.
    func doubtful(_ changelog: Int) -> [[UInt8]: Timestamp] {
        hasDoubtful ? doubts[changelog].mapValues(\.appended) : [:]
    }

    /// Where the first record of a changelog stands that was applied and is not covered; `nil` if all are.
    func firstUncovered(_ changelog: Int) -> Offset? {
        uncovered[changelog].isEmpty ? nil : uncovered[changelog][0].offset
    }

    /// A record was dropped: its key is doubtful until a valid record of it is applied.
    mutating func drop(_ changelog: Int, _ key: [UInt8], at offset: Offset, appended: Timestamp) {
        doubts[changelog][key] = Doubt(appended: appended, offset: offset)
        hasDoubtful = true
    }

    /// A valid record was applied that an `a` covers, or that stands before a settled.
    mutating func applyCovered(_ changelog: Int, _ key: [UInt8]) {
        if hasDoubtful { doubts[changelog][key] = nil }
    }

    /// A valid record was applied that no `a` covers yet.
    ///
    /// - Parameter isRewrite: whether its epoch has not settled: then its key stays doubtful until it has (C4).
    mutating func apply(
        _ changelog: Int, _ key: [UInt8], number: UInt64, offset: Offset, appended: Timestamp, isRewrite: Bool = false
    ) {
        if hasDoubtful { settleDoubt(changelog, key, offset, isRewrite) }
        uncovered[changelog].append(Uncovered(number: number, offset: offset, key: key, appended: appended))
    }

    /// An own record may be applied long after it was acknowledged: one that was dropped meanwhile and stands behind it
    /// stays in doubt.
    private mutating func settleDoubt(_ changelog: Int, _ key: [UInt8], _ offset: Offset, _ isRewrite: Bool) {
        guard let doubt = doubts[changelog][key], doubt.offset <= offset else { return }
        if isRewrite { doubts[changelog][key]?.isRewritten = true } else { doubts[changelog][key] = nil }
    }

    /// A record is read again that was applied before the checkpoint was made, and was not covered then.
    ///
    /// What the checkpoint says of its key stays: a later record of it may have been dropped.
    mutating func resume(_ changelog: Int, _ key: [UInt8], number: UInt64, offset: Offset, appended: Timestamp) {
        uncovered[changelog].append(Uncovered(number: number, offset: offset, key: key, appended: appended))
    }

    /// Every command up to `acknowledged` is covered.
    mutating func cover(upTo acknowledged: UInt64) {
        for changelog in uncovered.indices {
            while !uncovered[changelog].isEmpty, uncovered[changelog][0].number <= acknowledged {
                _ = uncovered[changelog].popFirst()
            }
        }
    }

    /// The epoch ends: what it left uncovered is doubtful.
    mutating func endEpoch() {
        for changelog in uncovered.indices {
            while let record = uncovered[changelog].popFirst() {
                drop(changelog, record.key, at: record.offset, appended: record.appended)
            }
        }
    }

    /// The settled of the epoch is acknowledged in every changelog: its rewrites overwrite what was doubtful.
    mutating func settle() {
        for changelog in doubts.indices { doubts[changelog] = doubts[changelog].filter { !$0.value.isRewritten } }
        hasDoubtful = doubts.contains { !$0.isEmpty }
    }
}
