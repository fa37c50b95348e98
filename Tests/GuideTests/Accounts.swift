import Affinity

// The samples of the guides *Commands, queries and transactions*, *Watching* and *Testing your partition*.

struct Account: StoreKey, Codable, LosslessStringConvertible {
    let branch: String
    let number: Int

    var description: String { "\(branch):\(number)" }
    var route: String { branch }

    init(_ branch: String, _ number: Int) { (self.branch, self.number) = (branch, number) }

    init?(_ text: String) {
        let parts = text.split(separator: ":")
        guard parts.count == 2, let number = Int(parts[1]) else { return nil }
        self.init(String(parts[0]), number)
    }
}

struct Deposit: Command {
    typealias Reply = Int
    let account: Account
    let amount: Int
    var key: String { account.branch }
}

struct Transfer: Command {
    typealias Reply = Int
    let branch: String
    let from: Int
    let to: Int
    let amount: Int
    var key: String { branch }
}

struct Balance: Query {
    typealias Reply = Int
    let account: Account
    var key: String { account.branch }
}

struct Richest: ScatterQuery {
    typealias Reply = [String: Int]
    let above: Int
}

struct Total: Query {
    typealias Reply = Int
    let branch: String
    var key: String { branch }
}

struct Moved: Event {
    let account: Account
    let balance: Int
}

final class Accounts: Partition {
    let balances = Store<Account, Int>("balances", ordered: true)
    let lastMoves = Store<Account, Timestamp>("last-moves")

    override class func register(_ on: Handlers) {
        on.command(Deposit.self, deposit)
        on.command(Transfer.self, transfer)
        on.query(Balance.self, balance)
        on.query(Richest.self, richest)
        on.query(Total.self, total)
    }

    func deposit(_ deposit: Deposit, _ tx: inout Transaction) throws(Rejected) -> Int {
        try move(deposit.amount, to: deposit.account, &tx)
    }

    func transfer(_ transfer: Transfer, _ tx: inout Transaction) throws(Rejected) -> Int {
        _ = try move(transfer.amount, to: Account(transfer.branch, transfer.to), &tx)
        return try move(-transfer.amount, to: Account(transfer.branch, transfer.from), &tx)
    }

    private func move(_ amount: Int, to account: Account, _ tx: inout Transaction) throws(Rejected) -> Int {
        let balance = tx[balances, account, default: 0] + amount
        guard balance >= 0 else {
            throw Rejected(.refused, "insufficient funds", details: ["account": account.description])
        }
        tx[balances, account] = balance
        tx[lastMoves, account] = tx.now
        tx.publish(Moved(account: account, balance: balance))
        return balance
    }

    func balance(_ query: Balance, _ view: borrowing View) -> Int { view[balances, query.account, default: 0] }

    func richest(_ query: Richest, _ view: borrowing View) -> [String: Int] {
        var found: [String: Int] = [:]
        view.scan(balances) { account, entry in
            if entry.value > query.above { found[account.description] = entry.value }
            return true
        }
        return found
    }

    func total(_ query: Total, _ view: borrowing View) -> Int {
        var sum = 0
        view.scan(balances, .prefix(Array("\(query.branch):".utf8))) { _, entry in
            sum += entry.value
            return true
        }
        return sum
    }
}
