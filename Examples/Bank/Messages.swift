import Affinity

/// Pays into an account; the first time opens it.
struct Deposit: Command {
    typealias Reply = Balance
    let account: Account
    let cents: Int
    var key: String { account.branch }
}

/// Pays out of an account.
struct Withdraw: Command {
    typealias Reply = Balance
    let account: Account
    let cents: Int
    var key: String { account.branch }
}

/// Moves money between two accounts of a branch: both change, or neither.
struct Transfer: Command {
    /// What is left in `from`.
    typealias Reply = Balance
    let from: Account
    let to: Account
    let cents: Int
    var key: String { from.branch }
}

/// Reads what is in an account; `nil` if nobody has opened it.
struct ReadBalance: Query {
    typealias Reply = Balance?
    let account: Account
    var key: String { account.branch }
}

/// Reads the last movements of an account, the newest first.
struct ReadMovements: Query {
    typealias Reply = [Movement]
    let account: Account
    let limit: Int
    var key: String { account.branch }
}

/// Money has moved between two accounts.
struct Transferred: Event, Hashable {
    let from: Account
    let to: Account
    let cents: Int
}
