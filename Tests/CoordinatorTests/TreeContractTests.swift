import AffinityCore
import Testing

/// What every tree owes its sessions.
@Suite(.timeLimit(.minutes(3))) struct TreeContractTests {
    @Test(arguments: TreeFixture.Kind.available) func nodesHaveDataVersionsAndOwners(_ kind: TreeFixture.Kind)
        async throws
    {
        try await TreeFixture(kind).withSession { session in
            #expect(try await session.read("/") == TreeNode(data: [], version: 0, owner: nil))
            #expect(try await session.read("/a") == nil)
            try await session.commit(.create("/a", "x"), .create("/a/e", isEphemeral: true))
            #expect(try await session.read("/a") == TreeNode(data: [120], version: 0, owner: nil))
            #expect(try await session.read("/a/e") == TreeNode(data: [], version: 0, owner: session.id))
            try await session.commit(.set("/a", "y", version: 0))
            try await session.commit(.set("/a", ""))
            #expect(try await session.read("/a") == TreeNode(data: [], version: 2, owner: nil))
            try await session.commit(.create("/a/ä ö", [UInt8](repeating: 0, count: 100_000), isEphemeral: false))
            #expect(try await session.read("/a/ä ö")?.data.count == 100_000)
            #expect(try await session.children(of: "/a") == ["e", "ä ö"])
            #expect(try await session.children(of: "/a/e") == [])
            #expect(try await session.children(of: "/b") == nil)
            try await session.commit(.delete("/a/e", version: 0))
            try await session.commit(.delete("/a/ä ö", version: nil))
            try await session.commit(.delete("/a", version: 2))
            #expect(try await session.read("/a") == nil)
            try await session.commit([])
        }
    }

    @Test(arguments: TreeFixture.Kind.available) func whatDoesNotFitChangesNothing(_ kind: TreeFixture.Kind)
        async throws
    {
        try await TreeFixture(kind).withSession { session in
            try await session.commit(.create("/a", "x"), .create("/a/e", isEphemeral: true))
            let unfit: [TreeChange] = [
                .create("/a"), .create("/no/b"), .create("/a/e/b"), .set("/no", "y"), .set("/a", "y", version: 1),
                .delete("/no", version: nil), .delete("/a", version: nil), .delete("/a/e", version: 7),
                .check("/no", version: 0), .check("/a", version: 1),
            ]
            for change in unfit {
                #expect(await code { try await session.commit([change]) } == .conflict, "\(change)")
                let before: [TreeChange] = [
                    .create("/b"), .set("/a/e", "z"), .create("/b/c"), .check("/a", version: 0),
                ]
                let error = await #expect(throws: TreeError.self) {
                    try await session.commit(before + [change, .delete("/b/c", version: nil)])
                }
                #expect(error?.code == .conflict, "\(change)")
                #expect(try await session.read("/b") == nil)
                #expect(try await session.text("/a/e") == "")
            }
        }
    }

    @Test(arguments: TreeFixture.Kind.available) func changesAreMadeTogether(_ kind: TreeFixture.Kind) async throws {
        try await TreeFixture(kind).withSession { session in
            try await session.commit(
                .create("/a", "1"), .create("/a/b", "2"), .set("/a", "3", version: 0), .check("/a", version: 1))
            #expect(try await session.text("/a") == "3")
            try await session.commit(
                .delete("/a/b", version: 0), .create("/a/b", "4", isEphemeral: true), .check("/a/b", version: 0))
            #expect(try await session.read("/a/b")?.owner == session.id)
            try await session.commit(.check("/a", version: 1))
        }
    }

    @Test(arguments: TreeFixture.Kind.available) func namesThatCannotBeAreRefused(_ kind: TreeFixture.Kind) async throws
    {
        try await TreeFixture(kind).withSession { session in
            let names = [
                "", "a", "/a/", "//a", "/a//b", "/.", "/a/..", "/a/./b", "/a\u{0}b", "/a\u{1f}", "/\u{7f}", "/\u{e000}",
                "/🙂",
            ]
            for name in names {
                #expect(await code { _ = try await session.read(name) } == .refused, "\(name)")
                #expect(await code { _ = try await session.children(of: name) } == .refused, "\(name)")
                #expect(await code { try await session.commit(.create(name)) } == .refused, "\(name)")
                #expect(await code { try await session.commit(.create("/ok"), .set(name, "")) } == .refused, "\(name)")
            }
            let large = [UInt8](repeating: 1, count: 600_000)
            #expect(
                await code { try await session.commit(.create("/l", large + large, isEphemeral: false)) } == .refused)
            let two = [TreeChange.create("/l", large, isEphemeral: false), .create("/m", large, isEphemeral: false)]
            #expect(await code { try await session.commit(two) } == .refused)
            #expect(try await session.children(of: "/") == [])
            for name in ["/.a", "/...", "/a.", "/é"] { try await session.commit(.create(name)) }
            #expect(try await session.children(of: "/")?.count == 4)
        }
    }

    @Test(arguments: TreeFixture.Kind.available) func aWatchFiresOnce(_ kind: TreeFixture.Kind) async throws {
        let fixture = try await TreeFixture(kind)
        try await fixture.withSession { session in
            try await fixture.withSession { other in
                let (made, set, deleted) = (Calls(), Calls(), Calls())
                #expect(try await session.read("/a", onChange: made.call) == nil)
                try await other.commit(.create("/b"))
                #expect(made.count == 0)
                try await other.commit(.create("/a", "x"))
                await made.wait()
                #expect(try await session.read("/a", onChange: set.call)?.version == 0)
                try await other.commit(.create("/a/b"))
                try await other.commit(.delete("/a/b", version: nil))
                #expect(set.count == 0)
                try await other.commit(.set("/a", "x"))
                await set.wait()
                #expect(try await session.read("/a", onChange: deleted.call)?.version == 1)
                try await other.commit(.delete("/a", version: nil), .create("/c"))
                await deleted.wait()
                try await other.commit(.create("/a", "x"))
                try await other.commit(.set("/a", "x"))
                // What was told before this is known.
                #expect(try await session.text("/a") == "x")
                #expect([made.count, set.count, deleted.count] == [1, 1, 1])
            }
        }
    }

    @Test(arguments: TreeFixture.Kind.available) func childrenAreWatched(_ kind: TreeFixture.Kind) async throws {
        let fixture = try await TreeFixture(kind)
        try await fixture.withSession { session in
            try await fixture.withSession { other in
                let (none, made, deleted, gone) = (Calls(), Calls(), Calls(), Calls())
                #expect(try await session.children(of: "/a", onChange: none.call) == nil)
                try await other.commit(.create("/a"))
                #expect(try await session.children(of: "/a", onChange: made.call) == [])
                try await other.commit(.set("/a", "x"))
                #expect(made.count == 0)
                try await other.commit(.create("/a/b"))
                await made.wait()
                #expect(try await session.children(of: "/a", onChange: deleted.call) == ["b"])
                try await other.commit(.set("/a/b", "x"))
                #expect(deleted.count == 0)
                try await other.commit(.delete("/a/b", version: nil))
                await deleted.wait()
                #expect(try await session.children(of: "/a", onChange: gone.call) == [])
                try await other.commit(.delete("/a", version: nil))
                await gone.wait()
                #expect([none.count, made.count, deleted.count, gone.count] == [0, 1, 1, 1])
            }
        }
    }

    @Test(arguments: TreeFixture.Kind.available) func aHundredWatchersOfOneNode(_ kind: TreeFixture.Kind) async throws {
        try await TreeFixture(kind).withSession { session in
            let calls = Calls()
            for _ in 0..<100 { _ = try await session.read("/a", onChange: calls.call) }
            try await session.commit(.create("/a"))
            await calls.wait(for: 100)
            for _ in 0..<100 { _ = try await session.read("/a", onChange: calls.call) }
            for _ in 0..<100 { _ = try await session.children(of: "/a", onChange: calls.call) }
            try await session.commit(.delete("/a", version: nil))
            await calls.wait(for: 300)
            _ = try await session.read("/a")
            #expect(calls.count == 300)
        }
    }

    @Test(arguments: TreeFixture.Kind.available) func aSessionTakesItsNodesWithIt(_ kind: TreeFixture.Kind) async throws
    {
        let fixture = try await TreeFixture(kind)
        try await fixture.withSession { session in
            let other = try await fixture.tree.open()
            #expect(other.id != session.id)
            #expect(other.timeout > .zero)
            let (node, names, own) = (Calls(), Calls(), Calls())
            try await other.commit(.create("/e", isEphemeral: true), .create("/stays"))
            #expect(try await session.read("/e", onChange: node.call)?.owner == other.id)
            #expect(try await session.children(of: "/", onChange: names.call)?.count == 2)
            _ = try await other.read("/stays", onChange: own.call)
            let ended = Task { await other.ended() }
            await other.close()
            await ended.value
            await node.wait()
            await names.wait()
            await own.wait()
            #expect(try await session.children(of: "/") == ["stays"])
            await other.close()
            await other.ended()
            #expect(await code { _ = try await other.read("/stays") } == .ended)
            #expect(await code { _ = try await other.children(of: "/") } == .ended)
            #expect(await code { try await other.commit(.create("/b")) } == .ended)
        }
    }

    @Test(arguments: TreeFixture.Kind.available) func aNodeOfADeadSessionIsAnothersBefore(_ kind: TreeFixture.Kind)
        async throws
    {
        let fixture = try await TreeFixture(kind)
        let first = try await fixture.tree.open()
        try await first.commit(.create("/master", isEphemeral: true))
        try await fixture.withSession { second in
            #expect(await code { try await second.commit(.create("/master", isEphemeral: true)) } == .conflict)
            let gone = Calls()
            #expect(try await second.read("/master", onChange: gone.call)?.owner == first.id)
            await first.close()
            await gone.wait()
            try await second.commit(.create("/master", isEphemeral: true))
            #expect(try await second.read("/master")?.owner == second.id)
        }
    }

    @Test(arguments: TreeFixture.Kind.available) func requestsAreCarriedOutInTheirOrder(_ kind: TreeFixture.Kind)
        async throws
    {
        try await TreeFixture(kind).withSession { session in
            try await session.commit(.create("/a"))
            // Each runs until it has asked before the next one begins; more than can be on their way.
            var tasks: [Task<Void, any Error>] = []
            for number in 0..<3_000 {
                tasks.append(
                    Task.immediate {
                        let set = TreeChange.set("/a", "\(number)", version: Int32(number))
                        try await session.commit(number % 3 == 0 ? [set, .create("/a/\(number)")] : [set])
                    })
            }
            let last = try await session.read("/a")
            #expect(last == TreeNode(data: Array("2999".utf8), version: 3_000, owner: nil))
            for task in tasks { try await task.value }
            #expect(try await session.children(of: "/a")?.count == 1_000)
        }
    }
}
