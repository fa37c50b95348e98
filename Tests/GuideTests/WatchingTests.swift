import Affinity
import AffinityTesting
import Testing

// The samples of the guide *Watching*.

func follow(_ account: Account, _ accounts: Service<Accounts>, _ show: (Int?) -> Void) async throws {
    for try await event in try accounts.watch(\.balances, key: account) {
        switch event {
        case .current(let entry), .change(let entry): show(entry.value)
        case .startOver, .level: break
        }
    }
}

func waitUntil(_ account: Account, has amount: Int, _ accounts: Service<Accounts>) async throws -> Version {
    for try await event in try accounts.watch(\.balances, key: account) {
        if case .current(let entry) = event, entry.value ?? 0 >= amount { return entry.version }
        if case .change(let entry) = event, entry.value ?? 0 >= amount { return entry.version }
    }
    throw CancellationError()
}

/// The balances of a branch, as they are known.
struct Overview: Sendable {
    var balances: [Account: Int] = [:]
    var token = WatchToken()

    mutating func follow(_ branch: String, _ accounts: Service<Accounts>, until isEnough: (Overview) -> Bool)
        async throws
    {
        var options = WatchOptions()
        options.overflow = .coalesce
        let watch = try accounts.watch(\.balances, prefix: Array("\(branch):".utf8), after: token, options)
        for try await event in watch {
            switch event {
            case .current(let entry), .change(let entry): balances[entry.key] = entry.value
            case .startOver: balances = [:]
            case .level: break
            }
            token = watch.token
            if isEnough(self) { return }
        }
    }
}

@Suite struct WatchingTests {
    private let account = Account("north", 1)

    @Test(arguments: UInt64(1)...3) func changesComeInOrderAndAreResumedBehindTheLastOne(seed: UInt64) throws {
        let cluster = try SimulatedCluster(Accounts.self, seed: seed)
        defer { cluster.end() }
        #expect(cluster.run(atMost: .seconds(10)) { cluster.isSettled() })
        let account = account
        let seen = cluster.ask("n1") { accounts -> [Int?] in
            var events = try accounts.watch(\.balances, key: account).makeAsyncIterator()
            guard case .current(let first) = try await events.next(), first.value == nil else { return [] }
            var seen: [Int?] = [first.value]
            for amount in [5, 7] {
                _ = try await accounts.ask(Deposit(account: account, amount: amount))
                if case .change(let entry) = try await events.next() { seen.append(entry.value) }
            }
            return seen
        }
        cluster.run(atMost: .seconds(20)) { !seen.isWaiting }
        #expect(seen.value == [nil, 5, 12], "seed \(seed)")

        let version = cluster.ask("n2") { accounts in try await waitUntil(account, has: 12, accounts) }
        cluster.run(atMost: .seconds(20)) { !version.isWaiting }
        let last = try #require(version.value)
        cluster.crash("n1")
        let later = cluster.ask("n3") { accounts -> [(version: Version, value: Int?)] in
            var seen: [(version: Version, value: Int?)] = []
            let watch = try accounts.watch(\.balances, key: account, after: last)
            _ = try await accounts.ask(Deposit(account: account, amount: 1))
            for try await event in watch {
                guard case .change(let entry) = event else { return [] }
                seen.append((entry.version, entry.value))
                if entry.value == 13 { break }
            }
            return seen
        }
        cluster.run(atMost: .seconds(40)) { !later.isWaiting }
        let changes = try #require(later.value)
        // A new master writes again what its predecessor has left in doubt: as a change, with a version of its own.
        #expect(
            changes.last?.value == 13 && changes.dropLast().allSatisfy { $0.value == 12 }, "seed \(seed): \(changes)")
        let versions = [last] + changes.map(\.version)
        #expect(zip(versions, versions.dropFirst()).allSatisfy { $0 < $1 }, "seed \(seed): \(versions)")
    }

    @Test func aBranchIsFollowedAndResumedByItsToken() throws {
        let cluster = try SimulatedCluster(Accounts.self, seed: 4)
        defer { cluster.end() }
        #expect(cluster.run(atMost: .seconds(10)) { cluster.isSettled() })
        let answer = cluster.ask("n1") { accounts in
            for number in 1...3 {
                _ = try await accounts.ask(Deposit(account: Account("north", number), amount: number))
            }
            _ = try await accounts.ask(Deposit(account: Account("south", 1), amount: 100))
            var overview = Overview()
            try await overview.follow("north", accounts) { $0.balances.count == 3 }
            _ = try await accounts.ask(Deposit(account: Account("north", 2), amount: 40))
            try await overview.follow("north", accounts) { $0.balances[Account("north", 2)] == 42 }
            return overview.balances
        }
        cluster.run(atMost: .seconds(40)) { !answer.isWaiting }
        #expect(answer.value == [Account("north", 1): 1, Account("north", 2): 42, Account("north", 3): 3])
    }
}
