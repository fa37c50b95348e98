import AffinityCore
import AffinityTesting
import Testing

/// The faults and the manual control that tests of users rely on.
@Suite struct TestingLogTests {
    let fixture: LogFixture

    init() throws { fixture = try LogFixture(.memory) }

    @Test func heldCommandsEnterWhole() async throws {
        let log = InMemoryChangeLog(clock: fixture.clock)
        log.holdsAcknowledgements = true
        let (opened, acks) = try await fixture.open(log)
        for number in 0..<4 { opened.append(0, record("a\(number)", "x"), record("b\(number)", "x")) }
        fixture.executor.run()
        #expect(acks.all.isEmpty && log.heldCount == 4)
        #expect(try await opened.bounds(0).upperBound == .zero)
        log.acknowledge(1)
        fixture.executor.run()
        #expect(acks.texts == ["0:0", "0:1"])
        log.fail(with: LogError(.io, "lost"), written: 1)
        opened.append(0, record("late", "x"))
        log.acknowledge()
        fixture.executor.run()
        #expect(acks.texts == ["0:0", "0:1"] + Array(repeating: "0:io", count: 7))
        #expect(
            log.records(partition, "balances").map(\.record.key) == ["a0", "b0", "a1", "b1"].map { Array($0.utf8) })
        let (_, more) = try await fixture.open(log)
        #expect(log.end(partition, "balances") == Offset(4) && more.all.isEmpty)
    }

    @Test(arguments: [false, true]) func aFaultyAppendFailsAllAfterIt(_ isWritten: Bool) async throws {
        let memory = InMemoryChangeLog(clock: fixture.clock)
        let log = FaultyChangeLog(memory)
        let (opened, acks) = try await fixture.open(log)
        log.delaysAcknowledgements = true
        log.failAppend(after: 1, with: LogError(.full, "full"), isWritten: isWritten)
        for number in 0..<3 { opened.append(0, record("\(number)", "x")) }
        fixture.executor.run()
        #expect(acks.all.isEmpty)
        log.delaysAcknowledgements = false
        fixture.executor.run()
        #expect(acks.texts == ["0:0", "0:full", "0:full"])
        #expect(memory.records(partition, "balances").count == (isWritten ? 2 : 1))
        log.failRead(with: LogError(.io, "unreadable"))
        await #expect(throws: LogError.self) { _ = try await opened.read(0, from: .zero, maxBytes: 1) }
        #expect(try await opened.read(0, from: .zero, maxBytes: 1).records.count == 1)
        let (again, more) = try await fixture.open(log)
        again.append(0, record("new", "x"))
        fixture.executor.run()
        #expect(more.texts == [isWritten ? "0:2" : "0:1"])
    }

    @Test func theExecutorRunsInOrderAndTimersAtTheirTime() throws {
        let executor = ManualExecutor()
        let seen = Acks()
        @Sendable func note(_ number: Int64) -> @Sendable () -> Void {
            { seen.take([LogAck(changelog: 0, result: .success(Offset(number)))]) }
        }
        let start = executor.clock.monotonic
        executor.schedule(at: start.advanced(by: .seconds(2)), note(4))
        executor.schedule(at: start.advanced(by: .seconds(1))) {
            #expect(executor.clock.monotonic == start.advanced(by: .seconds(1)))
            note(2)()
            executor.post(note(3))
        }
        executor.post(note(0))
        executor.post(note(1))
        #expect(seen.all.isEmpty && !executor.isCurrent && !executor.isIdle)
        #expect(executor.run() == 2)
        executor.advance(by: .milliseconds(1999))
        #expect(seen.texts == ["0:0", "0:1", "0:2", "0:3"])
        executor.advance(by: .milliseconds(1))
        #expect(seen.texts.last == "0:4" && executor.nextTimer == nil)
        #expect(executor.clock.monotonic == start.advanced(by: .seconds(2)))
    }
}
