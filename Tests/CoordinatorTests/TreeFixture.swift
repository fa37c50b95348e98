import AffinityCore
import AffinityTestSupport
import AffinityTesting
import AffinityZooKeeper
import Foundation
import Synchronization
import Testing

/// A tree of its own for a test, in memory or below a node of a real ZooKeeper.
final class TreeFixture: Sendable {
    enum Kind: String, CaseIterable, CustomTestStringConvertible {
        case memory, zooKeeper
        /// Those that can be tested here.
        static let available = allCases.filter { $0 != .zooKeeper || ZooKeeperServers.isAvailable }
        var testDescription: String { rawValue }
    }

    let tree: any CoordinationTree
    let reports = Reports()

    init(_ kind: Kind) async throws {
        switch kind {
        case .memory: tree = InMemoryTree(timeout: .seconds(1))
        case .zooKeeper:
            let servers = try await onThread { try ZooKeeperServers.shared.get().servers }
            var configuration = ZooKeeperConfiguration(servers: "\(servers)/tests/\(UInt64.random(in: .min ... .max))")
            configuration.sessionTimeout = .seconds(10)
            tree = try ZooKeeperTree(configuration, report: reports.reporter)
        }
    }

    /// Runs a test with a session, which is closed behind it.
    func withSession(_ body: (any TreeSession) async throws -> Void) async throws {
        let session = try await tree.open()
        do { try await body(session) } catch {
            await session.close()
            throw error
        }
        await session.close()
    }
}

/// Collects reports.
final class Reports: Sendable {
    private let all = Mutex<[Report]>([])

    var reporter: Reporter { { report in self.all.withLock { $0.append(report) } } }
    var messages: [String] { all.withLock { $0.map(\.message) } }
    /// Messages with all their fields.
    var texts: [String] { all.withLock { $0.map { "\($0)" } } }
}

/// Counts calls, and wakes who waits for them.
final class Calls: Sendable {
    private struct State {
        var count = 0
        var waiters: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())

    var count: Int { state.withLock { $0.count } }
    var call: @Sendable () -> Void { { self.add() } }

    private func add() {
        let ready = state.withLock { state in
            state.count += 1
            let ready = state.waiters.filter { $0.count <= state.count }
            state.waiters.removeAll { $0.count <= state.count }
            return ready
        }
        for waiter in ready { waiter.continuation.resume() }
    }

    func wait(for count: Int = 1) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.count < count { state.waiters.append((count, continuation)) }
                return state.count >= count
            }
            if isThere { continuation.resume() }
        }
    }
}

/// The code of the failure that `body` must have.
func code(_ body: () async throws -> Void) async -> TreeError.Code? {
    await #expect(throws: TreeError.self) { try await body() }?.code
}

extension TreeChange {
    static func create(_ path: String, _ text: String = "", isEphemeral: Bool = false) -> TreeChange {
        .create(path, Array(text.utf8), isEphemeral: isEphemeral)
    }

    static func set(_ path: String, _ text: String, version: Int32? = nil) -> TreeChange {
        .set(path, Array(text.utf8), version: version)
    }
}

extension TreeSession {
    func read(_ path: String) async throws(TreeError) -> TreeNode? { try await read(path, onChange: nil) }

    func children(of path: String) async throws(TreeError) -> [String]? {
        try await children(of: path, onChange: nil)?.sorted()
    }

    func commit(_ changes: TreeChange...) async throws(TreeError) { try await commit(changes) }

    func text(_ path: String) async throws(TreeError) -> String? {
        try await read(path).map { String(decoding: $0.data, as: UTF8.self) }
    }
}
