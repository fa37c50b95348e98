public import AffinityCore

/// One thread on which a whole system runs: its time, its chance, and the order in which everything happens.
///
/// What can run next is chosen by chance from a seed; time stands still as long as anything can run, and then goes to
/// the next timer. So the same seed takes the same course, in every process. What runs here must not start work of its
/// own on other threads, and everything is called by the one thread that drives the simulation; that is why nothing in
/// it is locked.
public final class Simulation: @unchecked Sendable {
    private struct Timer {
        var time: MonotonicTime
        var number: UInt64
        /// Where it runs; `nil` for what happens outside of all processes.
        var executor: SimulatedExecutor?
        var work: @Sendable () -> Void
    }

    // Exclusive access is not checked at run time for what every step touches: one thread does, and no closure is called
    // while one of these is being changed.

    /// What everything that is left to chance follows from.
    public let seed: UInt64
    let random: SeededRandom
    /// How much time has passed.
    @exclusivity(unchecked) public private(set) var now = MonotonicTime(nanoseconds: 0)
    /// How many things have run.
    @exclusivity(unchecked) public private(set) var stepCount = 0
    /// A number that depends on all of them and their order.
    @exclusivity(unchecked) public private(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    /// Gets what the simulation and its parts have to say of each step that a reader wants to know of.
    public var trace: ((String) -> Void)?

    /// Called whenever time is about to pass, also while a process stalls.
    var onTime: () -> Void = {}
    @exclusivity(unchecked) private var timers = Heap<Timer> { ($0.time, $0.number) < ($1.time, $1.number) }
    @exclusivity(unchecked) private var lastTimer: UInt64 = 0
    @exclusivity(unchecked) private var ready: [SimulatedExecutor] = []
    private var lastExecutor = 0
    @exclusivity(unchecked) private(set) var current: SimulatedExecutor?

    /// How long every way takes where nothing is left to chance but what is asked for; `nil` where it is.
    let latency: Duration?

    /// A simulation in which nothing has happened.
    ///
    /// - Parameters:
    ///   - seed: what everything that is left to chance follows from.
    ///   - latency: what every way takes; `nil` leaves that, what runs first and what goes together to chance.
    public init(seed: UInt64, latency: Duration? = nil) {
        self.seed = seed
        self.latency = latency
        random = SeededRandom(seed)
    }

    // MARK: - Running

    /// Runs everything up to a moment.
    public func run(for duration: Duration) { run(until: now.advanced(by: duration)) }

    /// Runs until the moment has come, or `isDone` says so: it is asked whenever time is about to pass.
    func run(until end: MonotonicTime, or isDone: () -> Bool = { false }) {
        while true {
            if runOne() { continue }
            onTime()
            if isDone() { return }
            guard let next = timers.first?.time, next <= end else { break }
            now = max(now, next)
            fire()
        }
        now = max(now, end)
    }

    /// Runs one job of those that could run now; returns whether there was one.
    private func runOne() -> Bool {
        while !ready.isEmpty {
            let index = latency == nil ? random.below(ready.count) : 0
            let executor = ready[index]
            guard executor.canRun else {
                leave(index)
                continue
            }
            let outer = current
            current = executor
            count(executor.number)
            executor.runFirst()
            current = outer
            return true
        }
        return false
    }

    /// Takes the timers of this moment out.
    private func fire() {
        while let timer = timers.first, timer.time <= now {
            timers.removeFirst()
            if let executor = timer.executor {
                executor.post(timer.work)
            } else {
                count(0)
                timer.work()
            }
        }
    }

    private func count(_ number: Int) {
        stepCount += 1
        digest = (digest ^ UInt64(truncatingIfNeeded: number) ^ UInt64(bitPattern: now.nanoseconds)) &* 0x100_0000_01b3
    }

    private func leave(_ index: Int) {
        ready[index].isListed = false
        ready[index] = ready[ready.count - 1]
        ready.removeLast()
    }

    /// Lets everything else go on for a while inside of what runs now: its process stands still at this instruction.
    func stall(_ process: SimulatedProcess, for duration: Duration) {
        say("\(process.name) stalls for \(duration)")
        let outer = current
        current = nil
        process.beginStall()
        run(until: now.advanced(by: duration))
        process.endStall()
        current = outer
    }

    /// Forgets what was still to happen: the end of the simulation.
    func dismantle() {
        timers.removeAll()
        (ready, trace) = ([], nil)
    }

    // MARK: - What is to happen

    /// Has `work` run at a moment, on an executor or outside of all processes; in the order of the calls where the moments
    /// are the same.
    func at(_ time: MonotonicTime, on executor: SimulatedExecutor? = nil, _ work: @escaping @Sendable () -> Void) {
        lastTimer += 1
        timers.insert(Timer(time: max(time, now), number: lastTimer, executor: executor, work: work))
    }

    /// Has `work` run after some time, outside of all processes.
    public func after(_ time: Duration, _ work: @escaping @Sendable () -> Void) { at(now.advanced(by: time), work) }

    func list(_ executor: SimulatedExecutor) {
        guard !executor.isListed else { return }
        executor.isListed = true
        ready.append(executor)
    }

    func nextExecutor() -> Int {
        lastExecutor += 1
        return lastExecutor
    }

    /// Tells `trace`, with the time.
    public func say(_ text: @autoclosure () -> String) {
        if let trace { trace("\(Double(now.nanoseconds / 1_000_000) / 1000) \(text())") }
    }

    // MARK: - Chance

    /// How long a way takes.
    func way(_ range: ClosedRange<Duration>) -> Duration { latency ?? duration(range) }

    /// How many of so many go together, at least one: all of them where it is not left to chance.
    func share(of count: Int) -> Int { latency == nil ? 1 + random.below(count) : count }

    /// Whether something happens now that happens by chance only, about once in so many times.
    func happens(onceIn count: Int) -> Bool { latency == nil && random.once(in: count) }

    /// A duration between two others.
    func duration(_ range: ClosedRange<Duration>) -> Duration {
        let least = range.lowerBound.wholeNanoseconds
        return .nanoseconds(least + Int64(random.below(Int(range.upperBound.wholeNanoseconds - least) + 1)))
    }
}

/// Elements of which the first by an order can be taken: a binary heap.
struct Heap<Element> {
    private var elements: [Element] = []
    private let precedes: (Element, Element) -> Bool

    init(_ precedes: @escaping (Element, Element) -> Bool) { self.precedes = precedes }

    var first: Element? { elements.first }

    mutating func insert(_ element: Element) {
        elements.append(element)
        var index = elements.count - 1
        while index > 0, precedes(elements[index], elements[(index - 1) / 2]) {
            elements.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    mutating func removeAll() { elements = [] }

    mutating func removeFirst() {
        elements.swapAt(0, elements.count - 1)
        elements.removeLast()
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2] where child < elements.count {
                if precedes(elements[child], elements[least]) { least = child }
            }
            if least == index { return }
            elements.swapAt(index, least)
            index = least
        }
    }
}
