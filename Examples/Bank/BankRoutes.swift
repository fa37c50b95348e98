import Affinity

extension Routes {
    /// The bank's counter, and its page.
    func bank(_ accounts: Service<Accounts>) {
        on("GET", "/", query: ["account"]) { _ in Page.response }
        on("POST", "/accounts/:account/deposit") { request in
            let deposit = Deposit(account: try request.account, cents: try request.json(Amount.self).cents)
            return try .json(try await accounts.ask(deposit, try request.commandEnvelope()))
        }
        on("POST", "/accounts/:account/withdraw") { request in
            let withdraw = Withdraw(account: try request.account, cents: try request.json(Amount.self).cents)
            return try .json(try await accounts.ask(withdraw, try request.commandEnvelope()))
        }
        on("POST", "/accounts/:account/transfer") { request in
            let order = try request.json(Order.self)
            guard let to = Account(order.to) else { throw HTTPError(400, "\"\(order.to)\" is no account") }
            let transfer = Transfer(from: try request.account, to: to, cents: order.cents)
            return try .json(try await accounts.ask(transfer, try request.commandEnvelope()))
        }
        on("GET", "/accounts/:account") { request in
            let query = ReadBalance(account: try request.account)
            guard let balance = try await accounts.ask(query, try request.readEnvelope()) else {
                throw HTTPError(404, "there is no account \(query.account)")
            }
            return try .json(balance)
        }
        on("GET", "/accounts/:account/movements") { request in
            let query = ReadMovements(account: try request.account, limit: 20)
            return try .json(try await accounts.ask(query, try request.readEnvelope()))
        }
        watch("/accounts/:account", accounts, \.balances)
        watchQuery("/accounts/:account/movements", accounts, reading: \.movements) { query in
            Movement.Key.prefix(of: query.account)
        } query: {
            ReadMovements(account: try $0.account, limit: 20)
        }
        watchPrefix("/branches/:branch", accounts, \.balances, values: .json) { request in
            Array("\(request.parameter("branch")):".utf8)
        }
    }
}

/// The body of a deposit or a withdrawal.
private struct Amount: Decodable {
    let cents: Int
}

/// The body of a transfer.
private struct Order: Decodable {
    let to: String
    let cents: Int
}

extension Request {
    fileprivate var account: Account {
        get throws(HTTPError) { try parameter("account", as: Account.self) }
    }
}

/// The page, which is a part of the program.
private enum Page {
    static let response = Response(
        headers: [
            ("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-cache"),
            (
                "Content-Security-Policy",
                "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                    + "frame-ancestors 'none'; base-uri 'none'"
            ),
        ], body: PackageResources.page_html)
}
