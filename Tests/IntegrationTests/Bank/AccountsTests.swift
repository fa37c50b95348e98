import Affinity
import AffinityTesting
import Testing

@testable import Bank

/// The bank's rules, without a node.
@Suite struct AccountsTests {
    private let one = Account(branch: "north", number: 1)
    private let two = Account(branch: "north", number: 2)

    /// A branch with ten in the first account and one in the second.
    private func branch() throws -> PartitionProbe<Accounts> {
        let bank = try PartitionProbe(Accounts.self)
        try bank.run(Deposit(account: one, cents: 1000))
        try bank.run(Deposit(account: two, cents: 100))
        return bank
    }

    @Test func depositsAndWithdrawalsAddUp() throws {
        let bank = try branch()
        #expect(try bank.run(Deposit(account: one, cents: 250)) == Balance(cents: 1250, movements: 2))
        #expect(try bank.run(Withdraw(account: one, cents: 1250)) == Balance(cents: 0, movements: 3))
        #expect(try bank.run(ReadBalance(account: one)) == Balance(cents: 0, movements: 3))
        #expect(try bank.run(ReadBalance(account: Account(branch: "north", number: 3))) == nil)
    }

    @Test func aTransferChangesBothAccountsAndIsAnnounced() throws {
        let bank = try branch()
        #expect(try bank.run(Transfer(from: one, to: two, cents: 400)).cents == 600)
        #expect(bank[\.balances, one]?.cents == 600 && bank[\.balances, two]?.cents == 500)
        #expect(bank[\.movements, Movement.Key(one, 2)] == Movement(cents: -400, balance: 600, other: two))
        #expect(bank[\.movements, Movement.Key(two, 2)] == Movement(cents: 400, balance: 500, other: one))
        #expect(bank.events(Transferred.self) == [Transferred(from: one, to: two, cents: 400)])
    }

    @Test func whatIsRefusedChangesNothing() throws {
        let bank = try branch()
        let before = bank.entry(\.balances, one)?.version
        let elsewhere = Account(branch: "south", number: 2)
        for (transfer, kind) in [
            (Transfer(from: one, to: two, cents: 1001), Rejected.Kind.refused),
            (Transfer(from: one, to: elsewhere, cents: 1), .refused),
            (Transfer(from: one, to: one, cents: 1), .refused),
            (Transfer(from: one, to: two, cents: 0), .invalid), (Transfer(from: one, to: two, cents: -5), .invalid),
            (Transfer(from: one, to: Account(branch: "north", number: 9), cents: 1), .notFound),
        ] {
            let rejection = #expect(throws: Rejected.self, "\(transfer)") { try bank.run(transfer) }
            #expect(rejection?.kind == kind, "\(transfer)")
        }
        #expect(bank.entry(\.balances, one)?.version == before && bank.events.isEmpty)
        #expect(bank[\.balances, two]?.cents == 100)
    }

    @Test func whatHasBeenWrittenIsUndoneToo() throws {
        let bank = try branch()
        try bank.run(Deposit(account: two, cents: .max - 100))
        // The first account has been debited when the second turns out to be full.
        #expect(throws: Rejected.self) { try bank.run(Transfer(from: one, to: two, cents: 1)) }
        #expect(bank[\.balances, one]?.cents == 1000 && bank[\.movements, Movement.Key(one, 2)] == nil)
    }

    @Test func anOverdraftSaysWhatIsThere() throws {
        let bank = try branch()
        let rejection = #expect(throws: Rejected.self) { try bank.run(Withdraw(account: two, cents: 101)) }
        #expect(rejection?.reason == "insufficient funds" && rejection?.details["balance"] == "100")
    }

    @Test func movementsAreReadFromTheNewestOn() throws {
        let bank = try branch()
        for cents in 1...12 { try bank.run(Deposit(account: two, cents: cents)) }
        // An account whose number begins with that of another one has movements of its own.
        try bank.run(Deposit(account: Account(branch: "north", number: 20), cents: 7))
        let movements = try bank.run(ReadMovements(account: two, limit: 4))
        #expect(movements.map(\.cents) == [12, 11, 10, 9])
        #expect(try bank.run(ReadMovements(account: two, limit: 100)).map(\.cents).last == 100)
    }

    @Test func accountsHaveOneTextEach() {
        #expect(Account("north:1") == one && one.description == "north:1")
        for text in ["", "north", "north:", ":1", "north:0", "north:01", "north:-1", "North:1", "north:1:2", "a b:1"] {
            #expect(Account(text) == nil, "\(text)")
        }
        let key = Movement.Key(one, 42)
        #expect(key.description == "north:1:000000000042" && Movement.Key(key.description) == key)
    }
}
