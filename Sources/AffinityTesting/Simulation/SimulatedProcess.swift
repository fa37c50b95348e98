internal import AffinityCore

/// A process of a simulated system: what is stopped, and dies, together.
///
/// Its threads are executors of the simulation. A process that has died runs on as a shadow, so that its tasks can end:
/// nothing of what it does reaches anybody.
final class SimulatedProcess: @unchecked Sendable {
    let name: String
    let simulation: Simulation
    @exclusivity(unchecked) private(set) var isDead = false
    /// Whether somebody has stopped it, and in how many places it stands still by itself.
    @exclusivity(unchecked) private var isPaused = false
    @exclusivity(unchecked) private var stalls = 0
    private var executors: [SimulatedExecutor] = []
    /// Of how many looks at the clock one is followed by a pause of the process; 0 for none.
    @exclusivity(unchecked) var stallRate = 0
    var stallsLeft = 0
    var stallRange: ClosedRange<Duration> = .milliseconds(1)...(.seconds(6))
    /// How far the calendar is off.
    var calendarError = Duration.zero
    private let clockBase: Duration
    private var mourners: [@Sendable () -> Void] = []

    init(_ name: String, _ simulation: Simulation) {
        self.name = name
        self.simulation = simulation
        // No two machines count from the same moment.
        clockBase = .seconds(1 + simulation.random.below(1000))
    }

    /// What stands still in the midst of something cannot even end before it has gone on.
    var isStopped: Bool { stalls > 0 || (isPaused && !isDead) }

    func makeExecutor() -> SimulatedExecutor {
        let executor = SimulatedExecutor(self)
        executors.append(executor)
        return executor
    }

    /// Stands still, and goes on.
    func pause() { isPaused = true }

    func resume() {
        isPaused = false
        wake()
    }

    func beginStall() { stalls += 1 }

    func endStall() {
        stalls -= 1
        wake()
    }

    /// Has `body` run when the process dies; at once if it has.
    func onDeath(_ body: @escaping @Sendable () -> Void) {
        if isDead { body() } else { mourners.append(body) }
    }

    func die() {
        isDead = true
        // Connections break some time later.
        for body in mourners { simulation.after(.milliseconds(1), body) }
        mourners = []
        stallRate = 0
        wake()
    }

    /// Nothing runs here any more: the end of the simulation.
    func dismantle() { (executors, mourners) = ([], []) }

    private func wake() { for executor in executors { executor.list() } }

    // MARK: - Time

    /// A moment of the simulation on the clock of this process, and the other way round.
    func local(_ time: MonotonicTime) -> MonotonicTime { time.advanced(by: clockBase) }

    func global(_ time: MonotonicTime) -> MonotonicTime {
        time == .never ? .never : MonotonicTime(nanoseconds: max(0, time.nanoseconds - clockBase.wholeNanoseconds))
    }
}

/// The clock that a process of the simulation reads. A process may come to stand still right behind a look at it.
struct SimulatedClock: NodeClock {
    let process: SimulatedProcess

    /// The calendar of the whole simulation begins at 2024-01-01T00:00:00Z.
    static func calendar(_ time: MonotonicTime) -> Timestamp {
        Timestamp(milliseconds: 1_704_067_200_000 + time.nanoseconds / 1_000_000)
    }

    var now: Timestamp { Self.calendar(process.simulation.now).advanced(by: process.calendarError) }

    var monotonic: MonotonicTime {
        let seen = process.local(process.simulation.now)
        if process.stallRate > 0 { stall() }
        return seen
    }

    private func stall() {
        let simulation = process.simulation
        guard simulation.current?.process === process, simulation.random.once(in: process.stallRate) else { return }
        process.stallsLeft -= 1
        if process.stallsLeft == 0 { process.stallRate = 0 }
        simulation.stall(process, for: simulation.duration(process.stallRange))
    }
}

/// A thread of a simulated process.
final class SimulatedExecutor: EventExecutor, @unchecked Sendable {
    private enum Item {
        case job(UnownedJob)
        case closure(@Sendable () -> Void)
    }

    let process: SimulatedProcess
    let number: Int
    private unowned let simulation: Simulation
    @exclusivity(unchecked) private var queue: [Item] = []
    @exclusivity(unchecked) private var head = 0
    /// Whether the simulation has it among those that may run.
    @exclusivity(unchecked) var isListed = false

    init(_ process: SimulatedProcess) {
        self.process = process
        simulation = process.simulation
        number = process.simulation.nextExecutor()
    }

    var canRun: Bool { head < queue.count && !process.isStopped }

    func list() { if canRun { simulation.list(self) } }

    func runFirst() {
        let item = queue[head]
        head += 1
        if head == queue.count {
            queue.removeAll(keepingCapacity: true)
            head = 0
        }
        switch item {
        case .job(let job): job.runSynchronously(on: asUnownedSerialExecutor())
        case .closure(let work): work()
        }
    }

    private func append(_ item: Item) {
        queue.append(item)
        if !isListed, !process.isStopped { simulation.list(self) }
    }

    // MARK: - EventExecutor

    var isCurrent: Bool { simulation.current === self }

    func post(_ work: @escaping @Sendable () -> Void) { append(.closure(work)) }

    func schedule(at time: MonotonicTime, _ work: @escaping @Sendable () -> Void) {
        guard time != .never else { return }
        simulation.at(process.global(time), on: self, work)
    }

    func enqueue(_ job: consuming ExecutorJob) { append(.job(UnownedJob(job))) }

    func checkIsolated() { precondition(isCurrent, "not on this executor") }

    func isIsolatingCurrentContext() -> Bool? { isCurrent }
}

extension SimulatedProcess {
    /// Returns after some time, on whatever executor it was called.
    func sleep(_ time: Duration) async {
        await withCheckedContinuation { continuation in
            simulation.after(time) { continuation.resume() }
        }
    }
}
