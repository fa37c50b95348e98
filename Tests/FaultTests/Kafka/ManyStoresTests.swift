import AffinityCoordinator
import AffinityKafka
import AffinityMemStores
import AffinityNet
import AffinityTestSupport
import Foundation
import Synchronization
import Testing

@testable import AffinityCore

extension Faults.Kafka.OneBroker {
    /// A command whose records go to several topics, and a second writer who takes them all.
    @Suite(.serialized) struct ManyStoresTests {
        @Test func aStolenPartitionKeepsEveryCommandWhole() async throws {
            let rounds = Faults.Kafka.rounds(3)
            let folder = try TemporaryFolder()
            let addresses = try brokers.brokers
            let books = Books()
            let bank = try await Bank(folder.path + "/first", addresses)
            for round in 0..<rounds { try await Self.steal(bank, books, addresses, round) }
            try await books.check(bank)
            await bank.close()
            // The same from the log alone.
            let other = try await Bank(folder.path + "/second", addresses)
            try await books.check(other)
            await other.close()
            print("Kafka, many stores: \(books.summary)")
        }

        private static func steal(_ bank: Bank, _ books: Books, _ addresses: String, _ round: Int) async throws {
            books.isOpen = true
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<12 {
                    group.addTask {
                        while books.isOpen { await books.write(bank, "w\(writer)") }
                    }
                }
                // Whatever goes wrong, the writers end.
                defer { books.isOpen = false }
                try await books.waitForWrites(200)
                let before = await bank.status.epoch
                let epoch = Epoch(grant: before.grant + 1 + UInt64(round) * 100, run: 0)
                try await onThread {
                    let client = try TopicClient(addresses)
                    let log = try Thief.number(client, Bank.topics[0], 0)
                    // In another order each time: which of the claims the master meets first must not matter.
                    let topics =
                        Bank.topics[(round % Bank.topics.count)...] + Bank.topics[..<(round % Bank.topics.count)]
                    for topic in topics { try client.send([Thief.control(.claim, epoch, log, topic, 0)]) }
                }
                try await bank.waitUntilServing(above: epoch)
                try await books.waitForWrites(200)
            }
        }
    }
}

/// Three stores that every command writes to alike.
final class Accounts: Partition {
    struct Post: Command {
        typealias Reply = Int
        let key: String
        let number: Int
    }

    struct Look: Query {
        typealias Reply = [Int]
        let key: String
    }

    let debits = Store<String, Int>("debits")
    let credits = Store<String, Int>("credits")
    let totals = Store<String, Int>("totals")

    override class func register(_ on: Handlers) {
        on.command(Post.self, post)
        on.query(Look.self, look)
    }

    func post(_ post: Post, _ tx: inout Transaction) throws(Rejected) -> Int {
        tx[debits, post.key] = post.number
        tx[credits, post.key] = post.number
        tx[totals, post.key] = post.number
        return post.number
    }

    func look(_ look: Look, _ view: borrowing View) -> [Int] {
        [
            view[debits, look.key, default: 0], view[credits, look.key, default: 0],
            view[totals, look.key, default: 0],
        ]
    }
}

/// A node with one partition of them, in the test's own process.
private final class Bank: Sendable {
    static let topics = ["debits", "credits", "totals"].map { "many.bank.\($0)" }

    let service: Service<Accounts>
    private let pool = ThreadPool(threads: 4)
    private let loops: EventLoopGroup
    private let coordinator: EmbeddedCoordinator
    private let log: KafkaLog
    private let running: Task<Void, Never>

    init(_ data: String, _ brokers: String) async throws {
        loops = try EventLoopGroup(count: 1)
        coordinator = try await EmbeddedCoordinator.open(folder: data, pool: pool.blocking)
        var configuration = KafkaLogConfiguration(system: "many", brokers: brokers, partitions: ["bank": 1])
        configuration.replication = 1
        log = try await KafkaLog.open(configuration, clock: SystemClock(), pool: pool.blocking, report: { _ in })
        let environment = PartitionEnvironment(
            node: NodeID("n1"), clock: SystemClock(), random: { UInt64.random(in: .min ... .max) },
            memstores: MemoryMemStoreEngine(), log: log, coordinator: coordinator, report: { _ in })
        let service = try Service(
            "bank", Accounts.self, partitions: 1, on: loops.loops, environment, services: ServiceRegistry())
        self.service = service
        // Ends with `close`.
        running = Task { await service.run() }
        try await waitUntilServing(above: .none)
    }

    var status: ReplicaStatus { get async { await service.status()[0] } }

    func waitUntilServing(above epoch: Epoch) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            let status = await status
            if status.state == .serving, status.epoch > epoch { return }
            guard ContinuousClock.now < deadline else { throw Failure("\(status)") }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    func close() async {
        service.stop()
        await running.value
        await log.close()
        await coordinator.close()
        await loops.shutdown()
    }
}

/// What was asked of the bank, and what it has said. Each key has one writer, who counts.
private final class Books: Sendable {
    private struct Account {
        var begun = 0
        var acknowledged = 0
        var refused: Set<Int> = []
    }

    private struct State {
        var accounts: [String: Account] = [:]
        var acknowledged = 0
        var unknown = 0
        var refused = 0
        var isOpen = false
    }

    private let state = Mutex(State())

    /// Whether writers go on.
    var isOpen: Bool {
        get { state.withLock { $0.isOpen } }
        set { state.withLock { $0.isOpen = newValue } }
    }

    var summary: String {
        state.withLock { "\($0.acknowledged) acknowledged, \($0.unknown) unknown, \($0.refused) refused" }
    }

    func write(_ bank: Bank, _ key: String) async {
        let number = state.withLock { state in
            state.accounts[key, default: Account()].begun += 1
            return state.accounts[key, default: Account()].begun
        }
        do {
            _ = try await bank.service.ask(Accounts.Post(key: key, number: number))
            state.withLock {
                $0.accounts[key]?.acknowledged = number
                $0.acknowledged += 1
            }
        } catch {
            state.withLock { state in
                if error.outcome == .unknown {
                    state.unknown += 1
                } else {
                    state.refused += 1
                    state.accounts[key]?.refused.insert(number)
                }
            }
            // A client that was refused comes again a little later.
            try? await Task.sleep(for: .milliseconds(2))
        }
    }

    func waitForWrites(_ count: Int) async throws {
        let end = state.withLock { $0.acknowledged } + count
        let deadline = ContinuousClock.now + .seconds(60)
        while state.withLock({ $0.acknowledged }) < end {
            guard ContinuousClock.now < deadline else { throw Failure("no progress: \(summary)") }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Every command is whole; the last one that was acknowledged is there, or a later one, and none that was refused.
    func check(_ bank: Bank) async throws {
        let accounts = state.withLock { $0.accounts }
        for (key, account) in accounts {
            let found = try await bank.service.ask(Accounts.Look(key: key))
            #expect(Set(found).count == 1, "\(key): \(found)")
            #expect(found[0] >= account.acknowledged && found[0] <= account.begun, "\(key): \(found), \(account)")
            #expect(!account.refused.contains(found[0]), "\(key): \(found) was refused")
        }
        #expect(accounts.count == 12)
    }
}
