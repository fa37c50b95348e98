import Affinity

/// The accounts of some branches: what is in them, and how it came to that.
final class Accounts: Partition {
    let balances = Store<Account, Balance>("balances", ordered: true)
    let movements = Store<Movement.Key, Movement>("movements", ordered: true)

    override class func register(_ on: Handlers) {
        on.command(Deposit.self, deposit)
        on.command(Withdraw.self, withdraw)
        on.command(Transfer.self, transfer)
        on.query(ReadBalance.self, readBalance)
        on.query(ReadMovements.self, readMovements)
    }

    func deposit(_ deposit: Deposit, _ tx: inout Transaction) throws(Rejected) -> Balance {
        try check(deposit.cents)
        return try move(deposit.cents, deposit.account, other: nil, &tx)
    }

    func withdraw(_ withdraw: Withdraw, _ tx: inout Transaction) throws(Rejected) -> Balance {
        try check(withdraw.cents)
        try check(isOpen: withdraw.account, &tx)
        return try move(-withdraw.cents, withdraw.account, other: nil, &tx)
    }

    func transfer(_ transfer: Transfer, _ tx: inout Transaction) throws(Rejected) -> Balance {
        try check(transfer.cents)
        guard transfer.from.branch == transfer.to.branch else {
            throw Rejected("a transfer stays within its branch: other branches may be on other nodes")
        }
        guard transfer.from != transfer.to else { throw Rejected("a transfer has two accounts") }
        try check(isOpen: transfer.from, &tx)
        try check(isOpen: transfer.to, &tx)
        // Should the second of these throw, nothing of the first will have been.
        let rest = try move(-transfer.cents, transfer.from, other: transfer.to, &tx)
        _ = try move(transfer.cents, transfer.to, other: transfer.from, &tx)
        tx.publish(Transferred(from: transfer.from, to: transfer.to, cents: transfer.cents))
        return rest
    }

    func readBalance(_ query: ReadBalance, _ view: borrowing View) -> Balance? { view[balances, query.account] }

    func readMovements(_ query: ReadMovements, _ view: borrowing View) -> [Movement] {
        var found: [Movement] = []
        let range = StoreRange<Movement.Key>.prefix(Movement.Key.prefix(of: query.account))
        view.scan(movements, range, .backward, limit: query.limit) { _, entry in
            found.append(entry.value)
            return true
        }
        return found
    }

    // MARK: - Rules

    private func move(
        _ cents: Int, _ account: Account, other: Account?, _ tx: inout Transaction
    ) throws(Rejected) -> Balance {
        var balance = tx[balances, account, default: Balance()]
        let (sum, overflow) = balance.cents.addingReportingOverflow(cents)
        if overflow { throw Rejected("\(account) is full") }
        guard sum >= 0 else {
            throw Rejected(.refused, "insufficient funds", details: ["balance": "\(balance.cents)"])
        }
        balance.cents = sum
        balance.movements += 1
        tx[balances, account] = balance
        tx[movements, Movement.Key(account, balance.movements)] = Movement(cents: cents, balance: sum, other: other)
        return balance
    }

    private func check(_ cents: Int) throws(Rejected) {
        guard cents > 0 else { throw Rejected(.invalid, "an amount is at least one cent") }
    }

    private func check(isOpen account: Account, _ tx: inout Transaction) throws(Rejected) {
        guard tx.contains(balances, account) else { throw Rejected(.notFound, "there is no account \(account)") }
    }
}
