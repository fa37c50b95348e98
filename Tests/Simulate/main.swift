import AffinitySimulation
import AffinityThreads
import Foundation
import Synchronization

/// What is asked for.
struct Options {
    static let usage = """
        usage: Simulate [--seeds N] [--from S] [--minutes M] [--threads T] [--stop]
               Simulate --seed S [--short]

          --seeds N    runs the plans of so many seeds (default 300)
          --from S     from this one on (default: any)
          --minutes M  begins no further one after so much time
          --threads T  at a time (default: as many as there are processors)
          --stop       ends with the first seed that fails, and does not shorten it
          --seed S     runs the plan of one seed, and shows what happens
          --short      leaves out what it fails without as well

        Ends with 1 if a seed fails.
        """

    var seeds: UInt64 = 300
    var from = UInt64.random(in: 1..<1 << 40)
    var minutes: Double?
    var threads = ProcessInfo.processInfo.activeProcessorCount
    var stops = false
    var seed: UInt64?
    var isShortened = false
    /// Where the outcome goes, for the process that has started this one.
    var slice: String?

    /// Reads the arguments; `nil` if they cannot be understood.
    init?(_ arguments: [String]) {
        var rest = arguments[...]
        while let name = rest.popFirst() {
            switch name {
            case "--stop": stops = true
            case "--short": isShortened = true
            case "--slice": slice = rest.popFirst()
            case "--seeds", "--from", "--seed":
                guard let number = rest.popFirst().flatMap({ UInt64($0) }) else { return nil }
                switch name {
                case "--seeds": seeds = number
                case "--from": from = number
                default: seed = number
                }
            case "--minutes":
                guard let number = rest.popFirst().flatMap({ Double($0) }), number > 0 else { return nil }
                minutes = number
            case "--threads":
                guard let number = rest.popFirst().flatMap({ Int($0) }), (1...1024).contains(number) else { return nil }
                threads = number
            default: return nil
            }
        }
    }
}

/// Runs one plan, and shows what happens.
func show(_ seed: UInt64, isShortened: Bool) throws -> Int32 {
    var plan = Plan(seed: seed)
    if isShortened {
        let run = try Run(plan)
        run.run()
        if let violation = run.violation { plan = try plan.shortened(violation).plan }
    }
    let run = try Run(plan) { print($0) }
    run.run()
    print("digest \(run.digest)")
    return run.violation == nil ? 0 : 1
}

/// What came of many plans.
struct Outcome: Codable {
    var tally = Run.Tally()
    var failed = 0

    /// Says it, and gives the status of the process.
    func tell(_ options: Options, _ duration: Duration) -> Int32 {
        print(
            """
            \(tally.runs) runs from seed \(options.from) in \(duration.components.seconds) s, \(failed) failed: \
            \(tally.requests) requests (\(tally.acknowledged) writes and \(tally.reads) reads answered), \
            \(tally.watched) events watched (\(tally.resets) times from the beginning), \(tally.faults) faults and \
            \(tally.situations) situations, \(tally.steps) steps, \(tally.simulated.components.seconds) s simulated, \
            \(tally.undecided) histories undecided
            """)
        // A history that is not decided shows nothing.
        let isUndecided = tally.undecided > 1 + tally.runs / 500
        if isUndecided { print("too many histories are undecided") }
        return failed == 0 && !isUndecided ? 0 : 1
    }
}

/// Runs plans on several threads.
final class Sweep: Sendable {
    private struct State {
        var next: UInt64
        var outcome = Outcome()
        var isOver = false
    }

    private let options: Options
    private let state: Mutex<State>
    private let begin = ContinuousClock.now
    private let parent = getppid()

    init(_ options: Options) {
        self.options = options
        state = Mutex(State(next: options.from))
    }

    func run() -> Outcome {
        let threads = (0..<options.threads).map { _ in
            ServiceThread { [self] in
                while let seed = nextSeed() {
                    do { try run(seed) } catch { report("seed \(seed): \(error)") }
                }
            }
        }
        for thread in threads { thread.join() }
        return state.withLock(\.outcome)
    }

    private func nextSeed() -> UInt64? {
        if options.slice != nil, getppid() != parent { return nil }
        if let minutes = options.minutes, ContinuousClock.now - begin > .seconds(minutes * 60) { return nil }
        return state.withLock { state in
            guard !state.isOver, state.next &- options.from < options.seeds else { return nil }
            defer { state.next &+= 1 }
            return state.next
        }
    }

    private func run(_ seed: UInt64) throws {
        let plan = Plan(seed: seed)
        let run = try Run(plan)
        run.run()
        state.withLock { $0.outcome.tally += run.tally }
        guard let violation = run.violation else { return }
        report("seed \(seed): \(violation)\n  scripts/simulate --seed \(seed)")
        if options.stops { return }
        let short = try plan.shortened(violation)
        let shown = { (steps: [Plan.Step]) in steps.map { "  \($0.milliseconds) ms \($0.action)\n" }.joined() }
        let ambushes = short.plan.ambushes.enumerated().filter { !$0.element.isEmpty }.map {
            "  behind master \($0.offset + 1):\n" + shown($0.element)
        }
        report(
            "seed \(seed), shortened (scripts/simulate --seed \(seed) --short): \(short.violation)\n"
                + shown(short.plan.steps) + ambushes.joined()
                + (short.plan.situation.map { "  and then the situation \($0)\n" } ?? ""))
    }

    private func report(_ text: String) {
        state.withLock { state in
            print(text)
            fflush(nil)
            if text.contains("shortened") { return }
            state.outcome.failed += 1
            state.isOver = state.isOver || options.stops
        }
    }
}

/// Runs many plans, some thousands in a process each: what the tasks of dead nodes hold is never freed, since they wait
/// for ever; and a process that dies costs no more than its slice.
func runInSlices(_ options: Options) throws -> Outcome {
    let begin = ContinuousClock.now
    let file = NSTemporaryDirectory() + "simulate-\(getpid())"
    var (outcome, done) = (Outcome(), UInt64(0))
    while done < options.seeds, !(options.stops && outcome.failed > 0) {
        let (count, first) = (min(2000, options.seeds - done), options.from &+ done)
        var arguments = ["--slice", file, "--seeds", "\(count)", "--from", "\(first)"]
        arguments += ["--threads", "\(options.threads)"]
        if options.stops { arguments.append("--stop") }
        if let minutes = options.minutes {
            let left = minutes - (ContinuousClock.now - begin) / .seconds(60)
            if left <= 0 { break }
            arguments += ["--minutes", "\(left)"]
        }
        let status = try run(arguments)
        let data = FileManager.default.contents(atPath: file) ?? Data()
        let slice = try? JSONDecoder().decode(Outcome.self, from: data)
        try? FileManager.default.removeItem(atPath: file)
        if slice == nil { print("the seeds from \(first) on: the process has ended with \(status)") }
        outcome.tally += slice?.tally ?? Run.Tally()
        outcome.failed += slice?.failed ?? 1
        done += count
    }
    return outcome
}

/// Runs this program with other arguments; gives its status as `wait` has it.
func run(_ arguments: [String]) throws -> Int32 {
    let program = "/proc/self/exe"
    let words = ([program] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var (pid, status) = (pid_t(), Int32(0))
    let error = posix_spawn(&pid, program, nil, nil, words, environ)
    if error != 0 { throw POSIXError(POSIXErrorCode(rawValue: error) ?? .EIO) }
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return status
}

guard let options = Options(Array(CommandLine.arguments.dropFirst())) else {
    print(Options.usage)
    exit(64)
}
if let seed = options.seed { exit(try show(seed, isShortened: options.isShortened)) }
if let slice = options.slice {
    try JSONEncoder().encode(Sweep(options).run()).write(to: URL(fileURLWithPath: slice))
    exit(0)
}
let begin = ContinuousClock.now
exit(try runInSlices(options).tell(options, ContinuousClock.now - begin))
