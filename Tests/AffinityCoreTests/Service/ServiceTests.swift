import AffinityTesting
import Synchronization
import Testing

@testable import AffinityCore

@Suite struct ServiceTests {
    @Test func messagesFindTheirPartition() throws {
        let rig = try Rig("service-routing", partitions: 3)
        rig.serve()
        let service = rig.service
        for key in (0..<20).map({ "key\($0)" }) {
            let sent = rig.send(.put(key, "1"), key: key)
            #expect(sent.value?.reached.partition == service.partition(of: key))
            #expect(service.partition(of: key).number == Partitioner.partition(key, of: 3))
            #expect(rig.peek(key).value == "1")
        }
        let gathered = rig.start { () throws(AskError) in await service.scatter(Size()) }.value
        #expect(gathered?.answers.map(\.reply).reduce(0, +) == 20)
        #expect(gathered?.answers.map(\.reached.partition.number) == [0, 1, 2])
    }

    @Test func scatterSaysWhoFailed() throws {
        let rig = try Rig("service-scatter", partitions: 3)
        rig.serve()
        rig.memstores.fail(.scan, after: 1, with: MemStoreError(.io, "disk"))
        let service = rig.service
        let gathered = rig.start { () throws(AskError) in await service.scatter(Size()) }.value
        #expect(gathered?.answers.map(\.reached.partition.number) == [0, 2])
        #expect(gathered?.failures.map(\.partition.number) == [1])
        #expect(throws: AskError.self) { try gathered?.all() }
    }

    @Test func tellReturnsBeforeTheLogHasSpoken() throws {
        let rig = try Rig("service-tell")
        rig.serve()
        rig.base.holdsAcknowledgements = true
        let service = rig.service
        let told = rig.start { () throws(AskError) in try await service.tell(Steps(.put("a", "1"))) }
        #expect(!told.isWaiting && told.error == nil)
        let rejected = rig.start { () throws(AskError) in try await service.tell(Steps(.reject("no"))) }
        #expect(rejected.error?.rejection == Rejected("no"))
        rig.base.acknowledge()
        rig.executor.run()
        #expect(rig.peek("a").value == "1")
    }

    @Test func eventsAndEffectsLeaveAfterTheCommitAndOnce() throws {
        let rig = try Rig("service-effects")
        let heard = Heard()
        rig.service.onEvent(Noted.self) { heard.add($0.text) }
        rig.serve()
        rig.base.holdsAcknowledgements = true
        _ = rig.send(.put("a", "1"), .publish("1"), .effect("effect"))
        _ = rig.send(.publish("2"))
        _ = rig.send(.publish("never"), .effect("never"), .reject("no"))
        #expect(heard.texts.isEmpty)
        rig.base.acknowledge()
        rig.executor.run()
        #expect(heard.texts == ["1", "2"])
        #expect(rig.notes.filter { $0 == "effect" }.count == 1)
        _ = rig.send(.put("a", "2"), .publish("lost"))
        rig.base.fail(with: LogError(.io, "gone"), written: 1)
        rig.base.holdsAcknowledgements = false
        rig.executor.advance(by: .seconds(1))
        #expect(heard.texts == ["1", "2"], "at most once: the command is there, its event is not")
        rig.stop()
        #expect(rig.isEnded)
    }

    @Test func whatDoesNotFitIsDroppedAndReported() throws {
        let rig = try Rig("service-dropped")
        let heard = Heard()
        rig.service.onEvent(Noted.self) { heard.add($0.text) }
        rig.serve()
        var command = Steps()
        command.steps = (0..<5000).map { .publish("\($0)") }
        let (service, final) = (rig.service, command)
        #expect(rig.start { () throws(AskError) in try await service.commit(final) }.value != nil)
        // The queue holds 4,096, and one more is under way.
        let isInOrder = heard.texts == (0..<4097).map { "\($0)" }
        #expect(isInOrder)
        #expect(rig.messages.contains { $0.contains("dropped") && $0.contains("903") })
    }

    @Test func aServiceThatHasStoppedIsFreed() throws {
        var rig: Rig? = try Rig("service-freed")
        rig?.serve()
        #expect(rig?.send(.put("a", "1")).value != nil)
        rig?.stop()
        #expect(rig?.isEnded == true)
        weak let service = rig?.service
        rig = nil
        #expect(service == nil)
    }

    @Test func aCallerOnAnotherExecutorIsAnsweredToo() throws {
        let rig = try Rig("service-hop")
        rig.serve()
        let service = rig.service
        let reply = try rig.executor.complete {
            // A task without the executor's preference: the message hops there and its answer back.
            try await Task.detached { try await service.ask(Steps(.put("a", "1"), .get("a"))) }.value
        }
        #expect(reply == ["1"])
        #expect(try rig.executor.complete { try await Task.detached { try await service.ask(Peek("a")) }.value } == "1")
    }
}

private final class Heard: Sendable {
    private let heard = Mutex<[String]>([])

    var texts: [String] { heard.withLock { $0 } }

    func add(_ text: String) { heard.withLock { $0.append(text) } }
}
