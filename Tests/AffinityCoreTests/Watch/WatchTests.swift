import AffinityTesting
import Testing

@testable import AffinityCore

/// Watches of one node: what they say first, then, and at their end.
@Suite struct WatchTests {
    private func rig(_ keyspace: String, partitions: Int = 1, limits: StateLimits = StateLimits()) throws -> Rig {
        let rig = try Rig(keyspace, partitions: partitions, limits: limits)
        rig.serve()
        return rig
    }

    // MARK: - One key

    @Test func aKeyIsSaidAsItStandsAndThenEachChange() throws {
        let rig = try rig("watch-key")
        _ = rig.send(.put("a", "1"))
        let a = try rig.watch("a")
        let none = try rig.watch("none")
        #expect(a.news == ["!a=1@2"], "the first record of the changelog is the claim, the last the settled")
        #expect(none.news == ["!none-@0"])
        _ = rig.send(.put("a", "2"), .put("b", "x"), .put("a", "3"))
        _ = rig.send(.remove("a"))
        _ = rig.send(.put("a", "3"))
        #expect(a.news.map { $0.prefix { $0 != "@" } } == ["a=3", "a-", "a=3"])
        #expect(none.news.isEmpty)
        #expect(none.signals == 1, "nobody is called for what concerns others")
    }

    @Test func whatIsNotAcknowledgedIsNotSaid() throws {
        let rig = try rig("watch-durable")
        let a = try rig.watch("a")
        _ = a.news
        rig.base.holdsAcknowledgements = true
        _ = rig.send(.put("a", "1"))
        #expect(a.news.isEmpty)
        rig.base.holdsAcknowledgements = false
        rig.executor.run()
        #expect(a.news.count == 1)
    }

    @Test func aTypedWatchIsAnAsyncSequence() throws {
        let rig = try rig("watch-typed")
        _ = rig.send(.put("a", "1"))
        let seen = Box<[String]>([])
        let task = Task(executorPreference: rig.executor) {
            do throws(WatchError) {
                for try await event in try rig.service.watch(\.texts, key: "a") {
                    switch event {
                    case .current(let entry): seen.change { $0.append("current \(entry.key) \(entry.value ?? "-")") }
                    case .change(let entry): seen.change { $0.append("\(entry.value ?? "-") \(entry.version)") }
                    default: seen.change { $0.append("?") }
                    }
                }
            } catch { seen.change { $0.append("\(error.code == .cancelled)") } }
        }
        rig.executor.run()
        _ = rig.send(.put("a", "2"))
        _ = rig.send(.remove("a"))
        task.cancel()
        rig.executor.run()
        #expect(seen.value == ["current a 1", "2 3", "- 4", "true"])
    }

    @Test func aWatchIsForgottenWhenItIsLetGoOf() throws {
        let rig = try rig("watch-drop")
        let (a, b) = (try rig.watch("a"), try rig.watch("a"))
        #expect(rig.observers == 2)
        a.drop()
        rig.executor.run()
        #expect(rig.observers == 1)
        b.watch?.cancel()
        rig.executor.run()
        #expect(rig.observers == 0)
        _ = b.said
        #expect(b.end?.code == .cancelled)
    }
}
