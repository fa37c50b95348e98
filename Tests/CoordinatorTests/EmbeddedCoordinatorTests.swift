import AffinityCore
import AffinityTestSupport
import Foundation
import Glibc
import Synchronization
import Testing

@testable import AffinityCoordinator

/// What one replica was told.
private final class Told: Sendable {
    private let all = Mutex<[Mastership]>([])

    var notify: @Sendable (Mastership) -> Void { { mastership in self.all.withLock { $0.append(mastership) } } }

    /// The numbers of the grants, in the order in which they came.
    var grants: [UInt64] {
        all.withLock { $0 }.compactMap {
            if case .master(let grant) = $0 { grant.number } else { nil }
        }
    }
}

@Suite struct EmbeddedCoordinatorTests {
    private let folder = FileManager.default.temporaryDirectory.appending(path: "affinity-\(UUID().uuidString)/a/b")
        .path
    private let partition = PartitionID(keyspace: "kv", number: 0)
    private var file: String { "\(folder)/grants" }

    private func coordinator(pool: BlockingPool = .inline) async throws(CoordinatorError) -> EmbeddedCoordinator {
        try await EmbeddedCoordinator.open(folder: folder, pool: pool)
    }

    private func code(_ body: () async throws -> Void) async -> CoordinatorError? {
        await #expect(throws: CoordinatorError.self) { try await body() }
    }

    @Test func whoeverJoinsIsMasterOnce() async throws {
        let coordinator = try await coordinator()
        let told = Told()
        try await coordinator.join(partition, notify: told.notify)
        #expect(told.grants == [1])
        try await coordinator.renew(partition, above: 0)
        #expect(told.grants == [1, 2])
        await coordinator.leave(partition)
        try await coordinator.renew(partition, above: 0)
        #expect(told.grants == [1, 2])
        try await coordinator.join(partition, notify: told.notify)
        #expect(told.grants == [1, 2, 3])
        await coordinator.close()
    }

    @Test func restartsGiveHigherGrants() async throws {
        let told = Told()
        for _ in 0..<5 {
            let coordinator = try await coordinator()
            try await coordinator.join(partition, notify: told.notify)
            try await coordinator.renew(partition, above: 0)
            // Not closed: the lock goes with the object, as with a process that is killed.
        }
        #expect(told.grants.count == 10)
        #expect(zip(told.grants, told.grants.dropFirst()).allSatisfy { $0 < $1 })
    }

    @Test func reservesInBlocksAheadOfUse() async throws {
        let runs = Atomic(0)
        let pool = BlockingPool { work in
            runs.wrappingAdd(1, ordering: .relaxed)
            work()
        }
        let coordinator = try await coordinator(pool: pool)
        let told = Told()
        for number in 0..<1_024 {
            try await coordinator.join(PartitionID(keyspace: "kv", number: number), notify: told.notify)
        }
        #expect(runs.load(ordering: .relaxed) == 1)
        for _ in 0..<4_000 { try await coordinator.renew(partition, above: 0) }
        #expect(told.grants == (1...5_024).map { UInt64($0) })
        #expect(runs.load(ordering: .relaxed) == 2)
        let reserved = try #require(GrantFile.parse(Array(Data(contentsOf: URL(filePath: file)))))
        #expect(reserved >= 5_024)
    }

    @Test func concurrentJoinsShareNoGrant() async throws {
        let pool = BlockingPool { work in Thread.detachNewThread { work() } }
        let coordinator = try await coordinator(pool: pool)
        let told = (0..<64).map { _ in Told() }
        await withDiscardingTaskGroup { group in
            for (number, told) in told.enumerated() {
                group.addTask {
                    let partition = PartitionID(keyspace: "kv", number: number)
                    try? await coordinator.join(partition, notify: told.notify)
                    for _ in 0..<200 { try? await coordinator.renew(partition, above: 0) }
                }
            }
        }
        let all = told.flatMap(\.grants)
        #expect(all.count == 64 * 201)
        #expect(Set(all).count == all.count)
        for told in told { #expect(told.grants == told.grants.sorted()) }
        await coordinator.close()
    }

    @Test func oneFolderHasOneCoordinator() async throws {
        let first = try await coordinator()
        let error = await code { _ = try await coordinator() }
        #expect(error?.code == .inUse)
        #expect(error?.reason == "the folder \(folder) is in use by process \(getpid())")
        await first.close()
        let second = try await coordinator()
        await second.close()
    }

    @Test func aClosedFolderIsFreeWhoeverHasInheritedItsDescriptor() async throws {
        let first = try await coordinator()
        let inherited = try #require(try duplicateDescriptor(of: "\(folder)/LOCK"))
        defer { close(inherited) }
        await first.close()
        try await coordinator().close()
    }

    @Test func anotherProcessIsExcludedToo() async throws {
        try await coordinator().close()
        let holder = Process()
        holder.executableURL = URL(filePath: "/usr/bin/flock")
        holder.arguments = ["-x", "\(folder)/LOCK", "sh", "-c", "echo locked; read x"]
        let (input, output) = (Pipe(), Pipe())
        holder.standardInput = input
        holder.standardOutput = output
        try holder.run()
        _ = try output.fileHandleForReading.read(upToCount: 7)
        let error = await code { _ = try await coordinator() }
        #expect(error?.code == .inUse)
        try input.fileHandleForWriting.close()
        holder.waitUntilExit()
        try await coordinator().close()
    }

    @Test func closedIsClosed() async throws {
        let coordinator = try await coordinator()
        let told = Told()
        try await coordinator.join(partition, notify: told.notify)
        await coordinator.close()
        await coordinator.close()
        #expect(await code { try await coordinator.join(partition, notify: told.notify) }?.code == .closed)
        #expect(await code { try await coordinator.renew(partition, above: 0) }?.code == .closed)
        await coordinator.leave(partition)
        #expect(told.grants == [1])
    }

    @Test func closingAwaitsTheWriteAndLetsNobodyIn() async throws {
        let held = Mutex<[@Sendable () -> Void]>([])
        let isHolding = Atomic(false)
        let pool = BlockingPool { work in
            if isHolding.load(ordering: .acquiring) { held.withLock { $0.append(work) } } else { work() }
        }
        let coordinator = try await coordinator(pool: pool)
        let told = Told()
        for _ in 0..<EmbeddedCoordinator.blockLength { try await coordinator.join(partition, notify: told.notify) }
        isHolding.store(true, ordering: .releasing)
        async let late: Void = coordinator.join(partition, notify: told.notify)
        while held.withLock({ $0.isEmpty }) { await Task.yield() }
        async let end: Void = coordinator.close()
        while (try? await coordinator.renew(PartitionID(keyspace: "x", number: 0), above: 0)) != nil {
            await Task.yield()
        }
        #expect(await code { _ = try await self.coordinator() }?.code == .inUse)
        for work in held.withLock({ $0 }) { work() }
        await end
        let refused = (try? await late) == nil
        #expect(refused)
        #expect(told.grants.count == Int(EmbeddedCoordinator.blockLength))
        try await self.coordinator().close()
    }

    @Test func damageIsAnErrorThatNamesTheFile() async throws {
        try await coordinator().close()
        let good = try Data(contentsOf: URL(filePath: file))
        var damaged: [Data] = [Data(), good + good, good + Data([0]), Data(repeating: 0, count: good.count)]
        for length in 0..<good.count { damaged.append(good.prefix(length)) }
        for index in 0..<good.count {
            for bit in 0..<8 {
                var copy = good
                copy[index] ^= 1 << bit
                damaged.append(copy)
            }
        }
        for content in damaged {
            #expect(GrantFile.parse(Array(content)) == nil)
        }
        for content in damaged.prefix(6) {
            try content.write(to: URL(filePath: file))
            let error = await code { _ = try await coordinator() }
            #expect(error?.code == .corrupt)
            #expect(error?.reason.contains(file) == true)
            #expect(try Data(contentsOf: URL(filePath: file)) == content)
        }
        try good.write(to: URL(filePath: file))
        try await coordinator().close()
    }

    @Test func aDraftThatACrashLeftIsNoMatter() async throws {
        try await coordinator().close()
        try Data("half".utf8).write(to: URL(filePath: file + ".new"))
        let coordinator = try await coordinator()
        let told = Told()
        try await coordinator.join(partition, notify: told.notify)
        #expect(told.grants == [EmbeddedCoordinator.blockLength + 1])
    }

    @Test func whatCannotBeUsedSaysSo() async throws {
        for (path, words) in [("/proc/affinity", "/proc/affinity"), ("/dev/null", "/dev/null"), ("", "cannot")] {
            let error = await code {
                _ = try await EmbeddedCoordinator.open(folder: path, pool: .inline)
            }
            #expect(error?.code == .io)
            #expect(error?.reason.contains(words) == true)
        }
    }

    @Test func numbersEndInAnErrorNotInATrap() async throws {
        try await coordinator().close()
        try Data(GrantFile.text(GrantFile.end - 2).utf8).write(to: URL(filePath: file))
        #expect(await code { _ = try await coordinator() }?.code == .corrupt)
    }

    @Test func aFailedReservationCanBeTriedAgain() async throws {
        let coordinator = try await coordinator()
        let told = Told()
        try await coordinator.join(partition, notify: told.notify)
        for _ in 1..<EmbeddedCoordinator.blockLength { try await coordinator.renew(partition, above: 0) }
        // A folder in the place of the draft makes the next write fail.
        try FileManager.default.createDirectory(atPath: file + ".new", withIntermediateDirectories: false)
        #expect(await code { try await coordinator.renew(partition, above: 0) }?.code == .io)
        #expect(told.grants.last == EmbeddedCoordinator.blockLength)
        try FileManager.default.removeItem(atPath: file + ".new")
        try await coordinator.renew(partition, above: 0)
        #expect(told.grants.last == EmbeddedCoordinator.blockLength + 1)
    }
}
