import AffinityTesting

/// What is brought about on purpose, because chance alone would take very long: each is where a rule of the protocol is
/// all that stands between a mistake and its harm. `Scene` plays them.
package enum Situation: String, CaseIterable, Sendable {
    /// A master hears that some commands stand in one changelog only after another one has claimed the log; others of its
    /// commands come to stand behind the claims (W5).
    case wordOfOneChangelog
    /// A master dies with halves of commands in the log, and the claimant dies at some step as well: with its claims, its
    /// rewriting or its settleds standing, or when it has just begun to serve (R3, C2, C3, C4).
    case claimantDies
    /// The claims of a node that was master for a moment come to stand when another one has long served (C2, S1).
    case lateClaims
    /// A master that hears of nothing, of which some only look as if it had a lease (Q1, Q3).
    case unawareMaster
    /// Several grants follow each other while the master before them still has a lease (Q2).
    case severalGrants
    /// The log's proof of a mastership comes when that has long ended (Q3).
    case lateProof
    /// A claimant's change of the grant arrives when another one has been master in between (§4).
    case lateGrant
    /// A master that has handed over does not hear that it has, and the next one hears of nothing (§4, Q2).
    case unheardRelease
    /// Requests to all nodes while a mastership is handed over (§8).
    case handover
    /// A node that takes a former master for the master.
    case outdatedRoutes
    /// A command whose outcome is unknown, and then nobody is master for longer than its client waits.
    case noMaster

    /// Whether it needs a third node.
    var needsThird: Bool {
        switch self {
        case .lateClaims, .lateGrant, .unheardRelease, .outdatedRoutes: true
        default: false
        }
    }
}
