import Affinity

/// Accounts that are routed by their branch, with a page on which balances change while one looks at them.
@main enum Bank {
    static func main() async {
        await Node.main { node in
            let accounts = try node.keyspace("accounts", Accounts.self)
            // After the commit: whoever hears of a transfer can rely on it.
            accounts.onEvent(Transferred.self) { transfer in
                node.log.info(
                    "transferred",
                    [("from", "\(transfer.from)"), ("to", "\(transfer.to)"), ("cents", "\(transfer.cents)")])
            }
            return try HTTPGateway { routes in
                routes.bank(accounts)
                routes.operations(node)
            }
        }
    }
}
