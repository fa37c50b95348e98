import AffinityCore
import AffinityTesting
import Synchronization
import Testing

/// What a test can do to the tree in memory.
@Suite(.timeLimit(.minutes(1))) struct InMemoryTreeTests {
    private let tree = InMemoryTree(timeout: .seconds(7))

    @Test func aSessionExpiresWhenItIsTold() async throws {
        let session = try await tree.open()
        let other = try await tree.open()
        #expect(session.timeout == .seconds(7))
        #expect(tree.sessions == [session.id, other.id])
        let (own, others) = (Calls(), Calls())
        try await session.commit(.create("/e", isEphemeral: true), .create("/n"))
        _ = try await session.read("/n", onChange: own.call)
        _ = try await other.read("/e", onChange: others.call)
        let ended = Task.immediate { await session.ended() }
        tree.expire(session.id)
        await ended.value
        #expect(own.count == 1 && others.count == 1)
        #expect(tree.sessions == [other.id])
        #expect(tree.children(of: "/") == ["n"])
        #expect(await code { try await session.commit(.create("/x")) } == .ended)
        tree.expire(session.id)
        #expect(own.count == 1)
    }

    @Test func aSessionWithoutAConnectionDoesNotHearOfItsEnd() async throws {
        let session = try await tree.open()
        let watch = Calls()
        try await session.commit(.create("/e", isEphemeral: true))
        _ = try await session.read("/e", onChange: watch.call)
        tree.disconnect(session.id)
        let commit = Task.immediate { try await session.commit(.create("/x")) }
        let read = Task.immediate { try await session.read("/e") }
        tree.expire(session.id)
        #expect(tree.node("/e") == nil)
        #expect(watch.count == 0)
        tree.reconnect(session.id)
        #expect(await code { try await commit.value } == .ended)
        #expect(await code { _ = try await read.value } == .ended)
        #expect(watch.count == 1)
        await session.ended()
    }

    @Test func whatIsAskedWithoutAConnectionWaits() async throws {
        let session = try await tree.open()
        let watch = Calls()
        _ = try await session.read("/n", onChange: watch.call)
        tree.isServing = false
        let opening = Task { try await tree.open() }
        let commit = Task.immediate { try await session.commit(.create("/x", "1")) }
        let read = Task.immediate { try await session.text("/x") }
        let second = Task.immediate { try await session.commit(.set("/x", "2", version: 0)) }
        try tree.change([.create("/n")])
        #expect(watch.count == 0)
        #expect(tree.children(of: "/") == ["n"])
        tree.isServing = true
        try await commit.value
        try await second.value
        #expect(try await read.value == "1")
        #expect(watch.count == 1)
        #expect(try await opening.value.id != session.id)
    }

    @Test func openingCanBeCancelled() async throws {
        tree.isServing = false
        let opening = Task.immediate { try await tree.open() }
        opening.cancel()
        let error = await #expect(throws: TreeError.self) { _ = try await opening.value }
        #expect(error?.code == .ended)
        #expect(tree.sessions == [])
    }

    @Test func aServerLagsBehind() async throws {
        let session = try await tree.open()
        let other = try await tree.open()
        try await other.commit(.create("/a", "0"))
        tree.lag(session.id)
        let (node, names) = (Calls(), Calls())
        #expect(try await session.text("/a") == "0")
        try await other.commit(.set("/a", "1"))
        try await other.commit(.set("/a", "2"))
        try await other.commit(.create("/b"))
        #expect(try await session.read("/a", onChange: node.call)?.version == 0)
        #expect(try await session.children(of: "/", onChange: names.call) == ["a"])
        #expect(node.count == 0)
        tree.catchUp(session.id, by: 1)
        #expect(node.count == 1 && names.count == 0)
        #expect(try await session.text("/a") == "1")
        #expect(tree.node("/a")?.version == 2)
        // What it has done itself it sees, and all before that.
        #expect(await code { try await session.commit(.set("/a", "x", version: 1)) } == .conflict)
        #expect(names.count == 1)
        #expect(try await session.text("/a") == "2")
        try await other.commit(.set("/a", "3"))
        #expect(try await session.text("/a") == "2")
        tree.catchUp(session.id)
        try await other.commit(.set("/a", "4"))
        #expect(try await session.text("/a") == "4")
    }

    @Test func answersGetLost() async throws {
        let session = try await tree.open()
        tree.loseAnswers(2, areDone: true)
        #expect(await code { try await session.commit(.create("/a")) } == .unknown)
        #expect(await code { try await session.commit(.create("/a")) } == .unknown)
        #expect(tree.children(of: "/") == ["a"])
        tree.loseAnswers(1, areDone: false)
        #expect(await code { try await session.commit(.create("/b")) } == .unknown)
        try await session.commit(.create("/c"))
        #expect(tree.children(of: "/") == ["a", "c"])
    }

    // MARK: - Steps

    /// Collects steps, and takes them when it is told to.
    private final class Steps: Sendable {
        typealias Kept = (session: Int64, step: InMemoryTree.Step, take: @Sendable () -> Void)
        private let all = Mutex<[Kept]>([])

        var schedule: InMemoryTree.Schedule {
            { session, step, take in self.all.withLock { $0.append((session, step, take)) } }
        }

        var names: [String] { all.withLock { $0.map { "\($0.step)" } } }

        func take() { all.withLock { $0.isEmpty ? nil : $0.removeFirst() }?.take() }
        func drop() { all.withLock { _ = $0.removeFirst() } }
    }

    @Test func stepsAreTakenWhenTheTestSays() async throws {
        let session = try await tree.open()
        let steps = Steps()
        let watch = Calls()
        tree.schedule = steps.schedule
        let read = Task.immediate { try await session.read("/a", onChange: watch.call) }
        let commit = Task.immediate { try await session.commit(.create("/a")) }
        #expect(steps.names == ["request", "request"])
        steps.take()
        steps.take()
        #expect(steps.names == ["answer", "watch", "answer"])
        #expect(tree.node("/a") != nil)
        steps.take()
        #expect(try await read.value == nil)
        #expect(watch.count == 0)
        steps.take()
        #expect(watch.count == 1)
        steps.take()
        try await commit.value
    }

    @Test func whatIsOnItsWayIsLostWithTheConnection() async throws {
        let session = try await tree.open()
        let steps = Steps()
        let watch = Calls()
        tree.schedule = steps.schedule
        let early = Task.immediate { try await session.commit(.create("/early")) }
        let late = Task.immediate { try await session.commit(.create("/late")) }
        let never = Task.immediate { try await session.commit(.create("/never")) }
        let read = Task.immediate { try await session.children(of: "/", onChange: watch.call) }
        steps.take()
        tree.disconnect(session.id)
        for task in [early, late, never] { #expect(await code { try await task.value } == .unknown) }
        #expect(tree.children(of: "/") == ["early"])
        // A server that has the request already does it after all.
        steps.take()
        #expect(tree.children(of: "/") == ["early", "late"])
        steps.drop()
        steps.take()
        while !steps.names.isEmpty { steps.take() }
        tree.reconnect(session.id)
        while !steps.names.isEmpty { steps.take() }
        #expect(try await read.value == ["early", "late"])
        try tree.change([.create("/more")])
        while !steps.names.isEmpty { steps.take() }
        #expect(watch.count == 1)
    }
}
