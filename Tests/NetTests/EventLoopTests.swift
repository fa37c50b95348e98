import AffinityCore
import AffinityNet
import Synchronization
import Testing

/// An actor pinned to a loop, as a partition replica is.
private actor Pinned {
    let loop: EventLoop
    var count = 0
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    init(_ loop: EventLoop) { self.loop = loop }

    func add() -> Bool {
        count += 1
        return loop.isCurrent
    }
}

/// How many are in it at once, at most.
private final class Load: Sendable {
    let running = Atomic<Int>(0)
    let most = Atomic<Int>(0)

    func visit() {
        most.max(running.wrappingAdd(1, ordering: .relaxed).newValue, ordering: .relaxed)
        waitBriefly()
        running.wrappingSubtract(1, ordering: .relaxed)
    }
}

private func withLoops(_ count: Int, _ body: (EventLoopGroup) async throws -> Void) async throws {
    let group = try EventLoopGroup(count: count)
    do {
        try await body(group)
    } catch {
        await group.shutdown()
        throw error
    }
    await group.shutdown()
}

@Suite struct EventLoopTests {
    @Test func actorsAndTasksRunOnTheirLoop() async throws {
        try await withLoops(2) { group in
            let (one, other) = (group.loops[0], group.loops[1])
            #expect(!one.isCurrent)
            let pinned = Pinned(one)
            #expect(await pinned.add())
            await Task(executorPreference: other) {
                #expect(other.isCurrent)
                #expect(await pinned.add())
                #expect(other.isCurrent)
            }.value
            #expect(await pinned.count == 2)
            await one.start {
                #expect(one.isCurrent)
                #expect(await pinned.add())
                await Task.yield()
                #expect(one.isCurrent)
            }.value
        }
    }

    @Test func aTaskOfTheLoopStartsAtOnceAndCallsPinnedActorsWithoutAHop() async throws {
        try await withLoops(1) { group in
            let loop = group.loops[0]
            let pinned = Pinned(loop)
            let order = Mutex<[String]>([])
            await withCheckedContinuation { continuation in
                loop.post {
                    loop.start {
                        order.withLock { $0.append("start") }
                        _ = await pinned.add()
                        loop.post { order.withLock { $0.append("posted") } }
                        for _ in 0..<10 { _ = await pinned.add() }
                        order.withLock { $0.append("calls") }
                    }
                    order.withLock { $0.append("after the start") }
                    loop.post { loop.post { loop.post { continuation.resume() } } }
                }
            }
            // Had the calls been queued, they would have ended behind what was posted before them.
            #expect(order.withLock { $0 } == ["start", "after the start", "calls", "posted"])
        }
    }

    @Test func postsOfOneThreadKeepTheirOrder() async throws {
        try await withLoops(1) { group in
            let loop = group.loops[0]
            let seen = Mutex<[Int]>([])
            await withCheckedContinuation { continuation in
                for index in 0..<10_000 { loop.post { seen.withLock { $0.append(index) } } }
                loop.post { continuation.resume() }
            }
            #expect(seen.withLock { $0 } == Array(0..<10_000))
        }
    }

    @Test func aPostNeverRunsInsideTheCall() async throws {
        try await withLoops(1) { group in
            let loop = group.loops[0]
            let order = Mutex<[Int]>([])
            await withCheckedContinuation { continuation in
                loop.post {
                    loop.post {
                        order.withLock { $0.append(2) }
                        continuation.resume()
                    }
                    order.withLock { $0.append(1) }
                }
            }
            #expect(order.withLock { $0 } == [1, 2])
        }
    }

    @Test func aJobThatPostsItselfDoesNotStarveTheRest() async throws {
        try await withLoops(1) { group in
            let loop = group.loops[0]
            let isDone = Atomic<Bool>(false)
            @Sendable func spin() {
                if !isDone.load(ordering: .relaxed) { loop.post { spin() } }
            }
            loop.post { spin() }
            await withCheckedContinuation { continuation in
                loop.schedule(at: SystemClock().monotonic.advanced(by: .milliseconds(5))) { continuation.resume() }
            }
            await withCheckedContinuation { continuation in loop.post { continuation.resume() } }
            isDone.store(true, ordering: .relaxed)
        }
    }

    @Test func timersRunInTheOrderOfTheirTimes() async throws {
        try await withLoops(1) { group in
            let loop = group.loops[0]
            let clock = SystemClock()
            let order = Mutex<[Int]>([])
            let start = clock.monotonic
            await withCheckedContinuation { continuation in
                for (index, delay) in [30, 10, 20, 0, 10].enumerated() {
                    loop.schedule(at: start.advanced(by: .milliseconds(delay))) {
                        #expect(loop.isCurrent)
                        #expect(clock.monotonic.since(start) >= .milliseconds(delay))
                        order.withLock { $0.append(index) }
                        if delay == 30 { continuation.resume() }
                    }
                }
            }
            #expect(order.withLock { $0 } == [3, 1, 4, 2, 0])
        }
    }

    @Test func aTaskThatIsResumedElsewhereGoesOnInTheOrderOfPosts() async throws {
        try await withLoops(1) { group in
            let loop = group.loops[0]
            let gate = Gate()
            let order = Mutex<[Int]>([])
            loop.post {
                loop.start {
                    await gate.pass()
                    order.withLock { $0.append(1) }
                }
            }
            try await gate.waitForVisitors(1)
            gate.open()
            await withCheckedContinuation { continuation in
                loop.post {
                    order.withLock { $0.append(2) }
                    continuation.resume()
                }
            }
            #expect(order.withLock { $0 } == [1, 2])
        }
    }

    @Test func loopsHandOverToEachOther() async throws {
        try await withLoops(2) { group in
            let (one, other) = (group.loops[0], group.loops[1])
            let a = Pinned(one), b = Pinned(other)
            await one.start {
                for _ in 0..<1000 {
                    #expect(await a.add())
                    #expect(await b.add())
                    #expect(one.isCurrent)
                }
            }.value
            #expect(await a.count == 1000)
            #expect(await b.count == 1000)
        }
    }

    @Test func loopsAreHandedOutInTurn() async throws {
        try await withLoops(3) { group in
            #expect(group.count == 3)
            let first = (0..<3).map { _ in ObjectIdentifier(group.next()) }
            #expect(Set(first).count == 3)
            #expect((0..<3).map { _ in ObjectIdentifier(group.next()) } == first)
        }
        #expect(throws: NetError.self) { try EventLoopGroup(count: 0) }
    }

    @Test func shutdownRunsWhatWasPostedAndDropsTheRest() async throws {
        let group = try EventLoopGroup(count: 2)
        let count = Counter()
        for loop in group.loops { for _ in 0..<1000 { loop.post { count.add() } } }
        await group.shutdown()
        #expect(count.value == 2000)
        group.loops[0].post { count.add() }
        group.loops[0].schedule(at: SystemClock().monotonic) { count.add() }
        await group.shutdown()
        #expect(count.value == 2000)
    }

    @Test func thePoolRunsEverythingAndNeverMoreAtOnceThanItsThreads() async throws {
        let pool = ThreadPool(threads: 3).blocking
        let load = Load()
        let sum = try await withThrowingTaskGroup(of: Int.self) { tasks in
            for index in 0..<200 {
                tasks.addTask {
                    try await pool.run {
                        load.visit()
                        return index
                    }
                }
            }
            return try await tasks.reduce(0, +)
        }
        #expect(sum == 199 * 100)
        #expect(load.most.load(ordering: .relaxed) <= 3)
    }

    @Test func theClocksGoForward() {
        let clock = SystemClock()
        let earlier = clock.monotonic
        #expect(clock.monotonic >= earlier)
        #expect(clock.now.milliseconds > 1_700_000_000_000)
    }
}
