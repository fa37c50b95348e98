import AffinityCore
import AffinityTestSupport
import AffinityZooKeeper
import Foundation
import Glibc
import Testing

/// A process that stands still for longer than its session lasts, with requests on their way.
@Suite(.enabled(if: ZooKeeperServers.isAvailable), .timeLimit(.minutes(5))) struct PausedProcessTests {
    @Test func aProcessThatWasPausedFindsItsSessionEnded() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let servers = fixture.servers.servers + "/a"
        let other = try await fixture.tree("/a").open()
        let child = Task {
            _ = await #expect(processExitsWith: .success) { [servers = servers as String] in
                try await workUntilTheSessionEnds(servers)
            }
        }
        let node = try await other.waitForNode("/pid")
        let pid = try #require(pid_t(String(decoding: node.data, as: UTF8.self)))
        kill(pid, SIGSTOP)
        try await other.waitUntilGone("/pid")
        kill(pid, SIGCONT)
        await child.value
        await other.close()
    }
}

/// The other process: keeps a session busy, and checks what becomes of it.
private func workUntilTheSessionEnds(_ servers: String) async throws {
    var configuration = ZooKeeperConfiguration(servers: servers)
    configuration.sessionTimeout = .seconds(1)
    let session = try await ZooKeeperTree(configuration) { _ in }.open()
    let watch = Calls()
    try await session.commit(.create("/w"))
    _ = try await session.read("/w", onChange: watch.call)
    let workers = (0..<4).map { worker in
        Task {
            for number in 0... {
                let path = "/\(worker)-\(number)"
                do throws(TreeError) {
                    try await session.commit(.create(path), .set(path, "x"), .delete(path, version: 1))
                } catch {
                    if error.code == .ended { return }
                    precondition(error.code == .unknown, "\(error)")
                }
            }
        }
    }
    try await session.commit(.create("/pid", "\(getpid())", isEphemeral: true))
    await session.ended()
    await watch.wait()
    for worker in workers { await worker.value }
    await session.close()
}
