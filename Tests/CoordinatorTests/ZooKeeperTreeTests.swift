import AffinityCore
import AffinityTestSupport
import Foundation
import Testing

@testable import AffinityZooKeeper

/// What is special to a tree that is in a real ZooKeeper.
@Suite(.enabled(if: ZooKeeperServers.isAvailable), .timeLimit(.minutes(5))) struct ZooKeeperTreeTests {
    // MARK: - Opening

    @Test func waitsForServersThatAreAway() async throws {
        let fixture = try await ZooKeeperFixture.start()
        try fixture.servers.kill()
        let tree = try fixture.tree("/a") { $0.credentials = .init(user: "u", password: "hidden") }
        let opening = Task { try await tree.open() }
        try await fixture.waitForReport("waiting for ZooKeeper")
        try await onThread { try fixture.servers.start() }
        let session = try await opening.value
        try await session.commit(.create("/b"))
        await session.close()
        #expect(
            fixture.reports.texts.contains { $0.contains("waiting") && $0.contains(fixture.servers.servers + "/a") })
        #expect(!fixture.reports.texts.contains { $0.contains("hidden") })
    }

    @Test func openingCanBeCancelled() async throws {
        let fixture = try await ZooKeeperFixture.start()
        try fixture.servers.kill()
        for servers in [fixture.servers.servers, "no-such-name.invalid"] {
            let tree = try fixture.tree(at: servers)
            let opening = Task { try await tree.open() }
            try await fixture.waitForReport("waiting for ZooKeeper", servers.hasPrefix("no") ? 2 : 1)
            opening.cancel()
            let error = await #expect(throws: TreeError.self) { _ = try await opening.value }
            #expect(error?.code == .ended)
        }
        let early = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await fixture.tree().open()
        }
        await #expect(throws: TreeError.self) { _ = try await early.value }
    }

    @Test func whatWillNotDoIsRefused() throws {
        for servers in [
            "", ",", "a:", "a:0", "a:b", "a:70000", "a b:1", "a:1,", "a:1:2", "a:1//b", "a:1/b/", "a:1/./b",
        ] {
            let error = #expect(throws: TreeError.self) {
                _ = try ZooKeeperTree(ZooKeeperConfiguration(servers: servers)) { _ in }
            }
            #expect(error?.code == .refused, "\(servers)")
        }
        #expect(try ServerList("a") == ServerList("a:2181/"))
        #expect(try ServerList("a,b:1,[::1]:5,[fe80::1]/c/d").hosts == "a:2181,b:1,::1:5,fe80::1:2181")
        #expect(try ServerList("a/c/d").ancestors == ["/c", "/c/d"])
        var configuration = ZooKeeperConfiguration(servers: "a")
        configuration.credentials = .init(user: "a:b", password: "hidden")
        let error = #expect(throws: TreeError.self) { try configuration.validate() }
        #expect(error?.reason.contains("hidden") == false)
        configuration.credentials = nil
        configuration.sessionTimeout = .milliseconds(1)
        #expect(throws: TreeError.self) { try configuration.validate() }
    }

    @Test func theNodeThatATreeIsBelowIsMade() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let tree = try fixture.tree("/a/b/c")
        // All at once, and where it is there already.
        let sessions = try await withThrowingTaskGroup { group in
            for _ in 0..<5 { group.addTask { try await tree.open() } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        try await sessions[0].commit(.create("/x", "1"))
        #expect(try await sessions[1].text("/x") == "1")
        try await sessions[2].commit(.set("/", "root"))
        let whole = try await fixture.tree().open()
        #expect(try await whole.children(of: "/") == ["a", "zookeeper"])
        #expect(try await whole.text("/a/b/c") == "root")
        #expect(try await whole.text("/a/b/c/x") == "1")
        for session in sessions + [whole] { await session.close() }
    }

    // MARK: - Connections and sessions

    @Test func aConnectionThatIsLostIsMadeAgain() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let other = try await fixture.tree("/a").open()
        let session = try await fixture.relayed("/a", timeout: .seconds(30)).open()
        let id = session.id
        try await session.commit(.create("/e", isEphemeral: true), .create("/n"))
        let (changed, made) = (Calls(), Calls())
        _ = try await session.read("/n", onChange: changed.call)
        _ = try await session.read("/m", onChange: made.call)
        fixture.relay.cut()
        try await fixture.waitForReport("the connection to ZooKeeper is lost")
        // What is asked meanwhile waits.
        let read = Task.immediate { try await session.text("/n") }
        let commit = Task.immediate { try await session.commit(.create("/late"), .check("/n", version: 1)) }
        try await other.commit(.set("/n", "new"))
        try await other.commit(.create("/m"))
        #expect(changed.count == 0)
        fixture.relay.mend()
        #expect(try await read.value == "new")
        try await commit.value
        await changed.wait()
        await made.wait()
        #expect(session.id == id)
        #expect(try await other.read("/e")?.owner == id)
        await session.close()
        await other.close()
    }

    @Test func anAnswerThatGetsLostIsUnknown() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let other = try await fixture.tree("/a").open()
        let session = try await fixture.relayed("/a", timeout: .seconds(30)).open()
        for isDone in [true, false] {
            fixture.relay.hold([isDone ? .answers : .requests])
            let names = isDone ? ["/a", "/b"] : ["/c", "/d"]
            let one = Task.immediate { try await session.commit(.create(names[0])) }
            let two = Task.immediate { try await session.commit(.create(names[1]), .check("/", version: 0)) }
            let read = Task.immediate { try await session.read(names[0]) }
            if isDone {
                let made = Calls()
                while try await other.read(names[1], onChange: made.call) == nil { await made.wait() }
            }
            fixture.relay.cut()
            #expect(await code { try await one.value } == .unknown)
            #expect(await code { try await two.value } == .unknown)
            fixture.relay.release()
            fixture.relay.mend()
            #expect((try await read.value != nil) == isDone)
            #expect((try await session.read(names[1]) != nil) == isDone)
        }
        await session.close()
        await other.close()
    }

    @Test func aSessionThatExpiresEndsEverything() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let other = try await fixture.tree("/a").open()
        let tree = try fixture.relayed("/a")
        let session = try await tree.open()
        #expect(session.timeout == .seconds(1))
        let watches = Calls()
        try await session.commit(.create("/e", isEphemeral: true))
        _ = try await session.read("/e", onChange: watches.call)
        _ = try await session.read("/none", onChange: watches.call)
        _ = try await session.children(of: "/", onChange: watches.call)
        let ended = Task { await session.ended() }
        fixture.relay.hold([.requests])
        let sent = Task.immediate { try await session.commit(.create("/sent")) }
        try await fixture.waitForReport("the connection to ZooKeeper is lost")
        fixture.relay.cut()
        #expect(await code { try await sent.value } == .unknown)
        let read = Task.immediate { try await session.read("/e") }
        let commit = Task.immediate { try await session.commit(.create("/f"), .create("/g")) }
        try await other.waitUntilGone("/e")
        #expect(watches.count == 0, "nobody could know")
        fixture.relay.release()
        fixture.relay.mend()
        await ended.value
        await watches.wait(for: 3)
        #expect(await code { _ = try await read.value } == .ended)
        #expect(await code { try await commit.value } == .ended)
        #expect(await code { _ = try await session.read("/e", onChange: watches.call) } == .ended)
        #expect(await code { try await session.commit(.create("/f"), .create("/g")) } == .ended)
        #expect(try await other.children(of: "/") == [])
        let next = try await tree.open()
        try await next.commit(.create("/e", isEphemeral: true))
        #expect(try await other.read("/e")?.owner == next.id)
        #expect(next.id != session.id)
        await session.close()
        await next.close()
        await other.close()
        #expect(watches.count == 3)
        #expect(fixture.reports.messages.filter { $0 == "the session with ZooKeeper has expired" }.count == 1)
    }

    @Test func aSessionWithTooManyWatchesEndsWithItsConnection() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let tree = try fixture.tree(at: "127.0.0.1:\(fixture.relay.port)/a") { $0.maxRequestBytes = 1_000 }
        let session = try await tree.open()
        let calls = Calls()
        // Each path counts once, however many watch it.
        for number in 0..<200 { _ = try await session.read("/\(number % 10)", onChange: calls.call) }
        fixture.relay.cut()
        fixture.relay.mend()
        #expect(try await session.read("/") != nil)
        for _ in 0..<200 { _ = try await session.children(of: "/", onChange: calls.call) }
        for number in 0..<200 { _ = try await session.read("/\(number)", onChange: calls.call) }
        fixture.relay.cut()
        fixture.relay.mend()
        await session.ended()
        await calls.wait(for: 600)
        #expect(await code { _ = try await session.read("/") } == .ended)
        #expect(fixture.reports.messages.contains { $0.contains("too many watches") })
        await session.close()
    }

    @Test func sessionsThatExpireAmongManyRequests() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let other = try await fixture.tree("/a").open()
        for round in 0..<5 {
            let session = try await fixture.relayed("/a").open()
            try await session.commit(.create("/e", isEphemeral: true), .create("/\(round)"))
            let workers = (0..<8).map { worker in
                Task {
                    var outcomes: [Bool] = []
                    while true {
                        let path = "/\(round)/\(worker)-\(outcomes.count)"
                        do throws(TreeError) {
                            try await session.commit(.create(path), .set(path, "x"), .check(path, version: 1))
                            outcomes.append(true)
                        } catch {
                            if error.code == .ended { return outcomes }
                            #expect(error.code == .unknown)
                            outcomes.append(false)
                        }
                    }
                }
            }
            if round % 2 == 0 { fixture.relay.hold() } else { fixture.relay.cut() }
            try await other.waitUntilGone("/e")
            fixture.relay.release()
            fixture.relay.mend()
            await session.ended()
            for (worker, task) in workers.enumerated() {
                for (number, isDone) in await task.value.enumerated() where isDone {
                    #expect(try await other.text("/\(round)/\(worker)-\(number)") == "x")
                }
            }
        }
        await other.close()
    }

    @Test func aSessionOutlivesARestartOfTheServer() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let session = try await fixture.tree("/a") { $0.sessionTimeout = .seconds(30) }.open()
        let id = session.id
        try await session.commit(.create("/e", isEphemeral: true))
        let changed = Calls()
        _ = try await session.read("/e", onChange: changed.call)
        try fixture.servers.kill()
        let waiting = Task.immediate { try await session.commit(.set("/e", "x")) }
        try await onThread { try fixture.servers.start() }
        // It may have been handed over before the connection was known to be lost.
        if try await isUnknown({ try await waiting.value }) { try await session.commit(.set("/e", "x")) }
        await changed.wait()
        #expect(try await session.read("/e")?.owner == id)
        await session.close()
    }

    @Test func aServerThatIsPausedLongEndsSessionsOrDoesNot() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let session = try await fixture.tree("/a") { $0.sessionTimeout = .seconds(1) }.open()
        try await session.commit(.create("/e", isEphemeral: true))
        try fixture.servers.pause()
        let commit = Task.immediate { try await session.commit(.set("/e", "x")) }
        try await fixture.waitForReport("the connection to ZooKeeper is lost")
        try fixture.servers.resume()
        do { try await commit.value } catch { #expect([.unknown, .ended].contains((error as? TreeError)?.code)) }
        do throws(TreeError) {
            let node = try await session.read("/e")
            #expect(node?.owner == session.id)
        } catch {
            #expect(error.code == .ended)
            await session.ended()
        }
        await session.close()
    }

    @Test func aSessionNeedNotBeClosed() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let other = try await fixture.tree("/a").open()
        do {
            let session = try await fixture.tree("/a").open()
            try await session.commit(.create("/e", isEphemeral: true))
        }
        try await other.waitUntilGone("/e")
        await other.close()
    }

    @Test func closingWithRequestsOnTheirWay() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let other = try await fixture.tree("/a").open()
        let session = try await fixture.relayed("/a", timeout: .seconds(30)).open()
        let done = (0..<100).map { number in Task.immediate { try await session.commit(.create("/\(number)")) } }
        await session.close()
        for task in done { try await task.value }
        #expect(try await other.children(of: "/")?.count == 100)
        let second = try await fixture.relayed("/a", timeout: .seconds(30)).open()
        fixture.relay.hold([.answers])
        let unanswered = Task.immediate { try await second.commit(.create("/u")) }
        let read = Task.immediate { try await second.read("/u") }
        await second.close()
        #expect(await code { try await unanswered.value } == .unknown)
        #expect(await code { _ = try await read.value } == .ended)
        await other.close()
    }

    // MARK: - Credentials

    @Test func onlyCredentialsOpenWhatWasMadeWithThem() async throws {
        let fixture = try await ZooKeeperFixture.start()
        let secured = try fixture.tree(at: "127.0.0.1:\(fixture.relay.port)/a") {
            $0.credentials = .init(user: "affinity", password: "hidden:ö")
            $0.sessionTimeout = .seconds(30)
        }
        let session = try await secured.open()
        try await session.commit(.create("/n", "x"), .create("/e", isEphemeral: true))
        let wrong = try fixture.tree("/a") { $0.credentials = .init(user: "affinity", password: "wrong") }
        for tree in [try fixture.tree("/a"), wrong] {
            let other = try await tree.open()
            #expect(await code { _ = try await other.read("/n") } == .refused)
            #expect(await code { _ = try await other.children(of: "/") } == .refused)
            #expect(await code { try await other.commit(.set("/n", "y")) } == .refused)
            #expect(await code { try await other.commit(.create("/o")) } == .refused)
            #expect(await code { try await other.commit(.delete("/e", version: nil), .set("/n", "y")) } == .refused)
            await other.close()
        }
        let error = await #expect(throws: TreeError.self) { _ = try await fixture.tree("/a/below").open() }
        #expect(error?.code == .refused)
        fixture.relay.cut()
        fixture.relay.mend()
        // Said again on the next connection.
        let second = try await secured.open()
        try await second.commit(.set("/n", "z"))
        #expect(try await session.text("/n") == "z")
        await session.close()
        await second.close()
        #expect(!fixture.reports.texts.contains { $0.contains("hidden") || $0.contains("wrong") })
    }

    // MARK: - An ensemble

    @Test func anEnsembleLosesItsLeader() async throws {
        let fixture = try await ZooKeeperFixture.start(3)
        let tree = try fixture.tree("/a") { $0.sessionTimeout = .seconds(30) }
        let sessions = [try await tree.open(), try await tree.open(), try await tree.open()]
        for (number, session) in sessions.enumerated() {
            try await session.commit(.create("/\(number)", isEphemeral: true))
        }
        let leader = try await onThread { try fixture.servers.leader() }
        try fixture.servers.kill(leader)
        for (number, session) in sessions.enumerated() {
            while try await isUnknown({ try await session.commit(.set("/\(number)", "x")) }) {}
            #expect(try await session.read("/\(number)")?.owner == session.id)
        }
        #expect(try await onThread { try fixture.servers.leader() } != leader)
        try await onThread { try fixture.servers.start(leader) }
        for session in sessions { await session.close() }
    }
}
