import Affinity
import AffinityTesting
import Testing

// The samples of the guides *Commands, queries and transactions* and *Errors* that ask.

func deposit(_ amount: Int, into account: Account, _ accounts: Service<Accounts>) async throws -> (Int, Version) {
    let commit = try await accounts.commit(Deposit(account: account, amount: amount))
    return (commit.reply, commit.version)
}

func recent(_ account: Account, _ accounts: Service<Accounts>) async throws -> Int {
    var envelope = Envelope()
    envelope.staleness = .milliseconds(500)
    return try await accounts.read(Balance(account: account), envelope).reply
}

func richest(_ accounts: Service<Accounts>) async throws -> [String: Int] {
    let gathered = await accounts.scatter(Richest(above: 1_000))
    return try gathered.all().reduce(into: [:]) { all, answer in all.merge(answer.reply) { first, _ in first } }
}

func depositOnce(_ deposit: Deposit, _ name: String, _ accounts: Service<Accounts>) async throws -> Int {
    var envelope = Envelope()
    envelope.idempotency = IdempotencyKey(name, digest: Array("\(deposit.account) \(deposit.amount)".utf8))
    return try await accounts.commit(deposit, envelope).reply
}

func tryToDeposit(_ deposit: Deposit, _ accounts: Service<Accounts>) async -> String {
    do throws(AskError) {
        return "the balance is \(try await accounts.ask(deposit))"
    } catch {
        switch error.outcome {
        case .rejected: return "no: \(error.rejection?.reason ?? error.reason)"
        case .notApplied where error.isRetriable: return "not now; ask again"
        case .notApplied: return "not done, and asking again would not help: \(error.reason)"
        case .unknown: return "perhaps; look at the balance, or ask again under the same idempotency key"
        }
    }
}

func routes(_ routes: Routes, _ accounts: Service<Accounts>) {
    routes.get("/accounts/:account") { (account: Account) in
        try await accounts.ask(Balance(account: account))
    }
    routes.post("/accounts/:account/deposits") { (amount: Int, account: Account) in
        guard amount > 0 else { throw HTTPError(400, "an amount is positive") }
        return try await accounts.ask(Deposit(account: account, amount: amount))
    }
}

@Suite struct AskingTests {
    /// Runs `body` on a node of a simulated cluster.
    private func ask<Reply: Sendable>(
        _ body: @escaping @Sendable (Service<Accounts>) async throws -> Reply
    ) throws -> Reply {
        let cluster = try SimulatedCluster(Accounts.self, seed: 1)
        defer { cluster.end() }
        #expect(cluster.run(atMost: .seconds(10)) { cluster.isSettled() })
        let answer = cluster.ask("n1", body)
        cluster.run(atMost: .seconds(20)) { !answer.isWaiting }
        return try #require(try answer.result?.get())
    }

    @Test func commandsQueriesAndScattersSayWhatTheGuideSays() throws {
        let account = Account("north", 1)
        let seen = try ask { accounts in
            let first = try await deposit(5_000, into: account, accounts)
            let once = try await depositOnce(Deposit(account: account, amount: 10), "a", accounts)
            let twice = try await depositOnce(Deposit(account: account, amount: 10), "a", accounts)
            let other = try await deposit(1, into: Account("south", 1), accounts)
            return (first, once, twice, other, try await recent(account, accounts), try await richest(accounts))
        }
        #expect(seen.0.0 == 5_000 && seen.0.1 > .none)
        #expect(seen.1 == 5_010 && seen.2 == 5_010)
        #expect(seen.4 <= 5_010)
        #expect(seen.5 == ["north:1": 5_010])
    }

    @Test func anErrorSaysWhatBecameOfTheCommand() throws {
        let said = try ask { accounts in
            let good = await tryToDeposit(Deposit(account: Account("north", 1), amount: 1), accounts)
            return (good, await tryToDeposit(Deposit(account: Account("north", 1), amount: -5), accounts))
        }
        #expect(said == ("the balance is 1", "no: insufficient funds"))
    }

    @Test func routesAnswerAsTheGuideSays() throws {
        let cluster = try SimulatedCluster(Accounts.self, seed: 2)
        defer { cluster.end() }
        #expect(cluster.run(atMost: .seconds(10)) { cluster.isSettled() })
        let client = try #require(try cluster.gateway(of: "n1") { routes($0, $1) })
        let json = [(name: "Content-Type", value: "application/json")]
        let requests: [(String, String, String, Int)] = [
            ("POST", "/accounts/north:1/deposits", "5", 200), ("POST", "/accounts/north:1/deposits", "0", 400),
            ("GET", "/accounts/north:1", "", 200), ("GET", "/accounts/nonsense", "", 404),
        ]
        for (method, target, body, status) in requests {
            let answer = cluster.ask("n1") { _ in await client.ask(method, target, headers: json, body: body) }
            cluster.run(atMost: .seconds(20)) { !answer.isWaiting }
            #expect(answer.value?.status == status, "\(method) \(target)")
        }
    }
}
