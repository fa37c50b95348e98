import Affinity
import AffinityTesting
import Testing

// The samples of the guide *Testing your partition*.

@Suite struct AccountsTests {
    @Test func aTransferMovesMoneyAndMakesNone() throws {
        let bank = try PartitionProbe(Accounts.self)
        try bank.run(Deposit(account: Account("north", 1), amount: 10))
        #expect(try bank.run(Transfer(branch: "north", from: 1, to: 2, amount: 4)) == 6)
        #expect(bank[\.balances, Account("north", 1)] == 6)
        #expect(bank[\.balances, Account("north", 2)] == 4)
        #expect(bank.events(Moved.self).map(\.balance) == [10, 4, 6])
    }

    @Test func aTransferThatIsRejectedChangesNothing() throws {
        let bank = try PartitionProbe(Accounts.self)
        try bank.run(Deposit(account: Account("north", 1), amount: 3))
        #expect(throws: Rejected.self) { try bank.run(Transfer(branch: "north", from: 1, to: 2, amount: 4)) }
        #expect(bank[\.balances, Account("north", 2)] == nil)
        #expect(bank.events(Moved.self).count == 1)
    }

    @Test func aMoveRemembersItsTime() throws {
        let clock = ManualClock()
        let bank = try PartitionProbe(Accounts.self, clock: clock)
        clock.advance(by: .seconds(3_600))
        try bank.run(Deposit(account: Account("north", 1), amount: 1))
        #expect(bank[\.lastMoves, Account("north", 1)] == clock.now)
    }
}

@Suite struct AccountsClusterTests {
    @Test(arguments: UInt64(1)...5) func moneySurvivesTheMaster(seed: UInt64) throws {
        let cluster = try SimulatedCluster(Accounts.self, seed: seed)
        defer { cluster.end() }
        #expect(cluster.run(atMost: .seconds(10)) { cluster.isSettled() })
        let account = Account("north", 1)
        let deposit = cluster.ask("n1") { try await $0.ask(Deposit(account: account, amount: 10)) }
        cluster.run(atMost: .seconds(5)) { !deposit.isWaiting }
        cluster.crash("n1", losesDisk: true)
        let balance = cluster.ask("n2") { try await $0.ask(Balance(account: account)) }
        cluster.run(atMost: .seconds(20)) { !balance.isWaiting }
        #expect(balance.value == 10, "seed \(seed)")
    }

    @Test func aDepositWithoutALogIsNotAcknowledged() throws {
        let cluster = try SimulatedCluster(Accounts.self, seed: 1)
        defer { cluster.end() }
        #expect(cluster.run(atMost: .seconds(10)) { cluster.isSettled() })
        cluster.log.isAway = true
        let deposit = cluster.ask("n1") { try await $0.ask(Deposit(account: Account("north", 1), amount: 10)) }
        cluster.run(atMost: .seconds(20)) { !deposit.isWaiting }
        #expect(deposit.error?.outcome == .unknown)
        cluster.heal()
        #expect(cluster.run(atMost: .seconds(60)) { cluster.isSettled() })
    }
}
