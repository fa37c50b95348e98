import AffinityCore
import AffinityMemStores
import Synchronization

// How much of a request's time the core itself takes: one partition, one thread, a log that acknowledges in the next
// turn, callers on the replica's own executor as a gateway's are. Arguments: seconds a measurement, name filter.

final class Values: Partition {
    let values = Store<String, String>("values")

    override class func register(_ on: Handlers) {
        on.command(Put.self, put)
        on.query(Get.self, get)
    }

    func put(_ put: Put, _ tx: inout Transaction) throws(Rejected) -> Bool {
        tx[values, put.key] = put.value
        return true
    }

    func get(_ query: Get, _ view: borrowing View) -> String? { view[values, query.key] }
}

struct Put: Command {
    typealias Reply = Bool
    let key: String
    let value: String
}

struct Get: Query {
    typealias Reply = String?
    let key: String
}

let clock = SystemClock()
let seconds = CommandLine.arguments.count > 1 ? Int64(CommandLine.arguments[1]) ?? 2 : 2
let filter = CommandLine.arguments.count > 2 ? CommandLine.arguments[2] : ""
let executor = ThreadExecutor()
let environment = PartitionEnvironment(
    node: NodeID("bench"), clock: clock, random: { UInt64.random(in: .min ... .max) },
    memstores: MemoryMemStoreEngine(), log: ImmediateLog(), coordinator: OnlyNode(), report: { _ in })
let service = try Service(
    "values", Values.self, partitions: 1, on: [executor], environment, services: ServiceRegistry())
Task(executorPreference: executor) { await service.run() }
while await service.status()[0].state != .serving { await Task.yield() }

/// One request of a task, in the task's own isolation: no hop that is not the core's.
typealias Request = nonisolated(nonsending) @Sendable (_ task: Int, _ round: Int) async throws -> Void

/// Runs `body` from `inFlight` tasks until time is up; prints the rate and the latencies.
@MainActor func measure(
    _ name: String, inFlight: Int, _ body: @escaping Request
) async throws {
    guard filter.isEmpty || name.contains(filter) else { return }
    let begin = clock.monotonic
    let end = begin.advanced(by: .seconds(seconds))
    let used = clock.processor
    let unsorted = try await withThrowingTaskGroup(of: [Int64].self) { group in
        for task in 0..<inFlight {
            group.addTask(executorPreference: executor) {
                var samples: [Int64] = []
                var round = 0
                var last = clock.monotonic
                while last < end {
                    try await body(task, round)
                    let now = clock.monotonic
                    samples.append(now.nanoseconds - last.nanoseconds)
                    last = now
                    round += 1
                    // A query that never suspends would keep the thread for itself.
                    if round % 64 == 0 { await Task.yield() }
                }
                return samples
            }
        }
        var samples: [Int64] = []
        for try await part in group { samples += part }
        return samples
    }
    let each = Double(clock.processor - used) / 1e3 / Double(unsorted.count)
    let samples = unsorted.sorted()
    let taken = Double(clock.monotonic.nanoseconds - begin.nanoseconds) / 1e9
    func at(_ part: Double) -> String {
        let microseconds = Double(samples[Int(Double(samples.count - 1) * part)]) / 1e3
        return "\((microseconds * 10).rounded() / 10) µs"
    }
    let rate = Int(Double(samples.count) / taken)
    let line = [
        name, "in flight \(inFlight)", "\(rate)/s", "p50 \(at(0.5))", "p99 \(at(0.99))",
        "processor \((each * 100).rounded() / 100) µs",
    ]
    print(line.joined(separator: "  "))
}

let value = String(repeating: "v", count: 100)
let names = (0..<100_000).map { "key:\($0)" }
for inFlight in [1, 64, 1000] {
    try await measure("commands, one key", inFlight: inFlight) { _, _ in
        _ = try await service.ask(Put(key: "hot", value: value))
    }
    try await measure("commands, many keys", inFlight: inFlight) { task, round in
        _ = try await service.ask(Put(key: names[(task &* 7919 &+ round) % names.count], value: value))
    }
    try await measure("queries, many keys", inFlight: inFlight) { task, round in
        _ = try await service.ask(Get(key: names[(task &* 7919 &+ round) % names.count]))
    }
}

/// Changes of one key, as many as there are, told to so many who watch it; each is taken at once, and encoded once for all.
@MainActor func measureWatchers(_ count: Int) async throws {
    let name = "changes of one key, watched by \(count)"
    guard filter.isEmpty || name.contains(filter) else { return }
    final class Frame: Sendable {
        let bytes: [UInt8]
        init(_ bytes: [UInt8]) { self.bytes = bytes }
    }
    let store = service.watched(\.values)
    let taken = Taken()
    let watches = try (0..<count).map { _ in
        let slot = Slot()
        let watch = try service.watch(store, key: "hot", on: executor) {
            guard let watch = slot.watch.withLock({ $0 }), let events = try? watch.take() else { return }
            for case .change(let change) in events {
                taken.add(change.encoded { Frame($0.value ?? []) }.bytes.count > 0 ? 1 : 0)
            }
        }
        slot.watch.withLock { $0 = watch }
        return watch
    }
    while taken.count == 0 {
        _ = try await service.ask(Put(key: "hot", value: value))
        await Task.yield()
    }
    let (begin, used, first) = (clock.monotonic, clock.processor, taken.count)
    let end = begin.advanced(by: .seconds(seconds))
    while clock.monotonic < end { _ = try await service.ask(Put(key: "hot", value: value)) }
    let said = Double(taken.count - first)
    let nanoseconds = Double(clock.processor - used) / said
    print("\(name)  \(Int(said / Double(seconds)))/s  processor \((nanoseconds).rounded()) ns each")
    for watch in watches { watch.cancel() }
}

/// Counts on the executor's thread.
final class Taken: Sendable {
    private let counter = Atomic(0)
    var count: Int { counter.load(ordering: .relaxed) }
    func add(_ number: Int) { counter.wrappingAdd(number, ordering: .relaxed) }
}

/// Where a callback finds its watch.
final class Slot: Sendable {
    let watch = Mutex<ByteWatch?>(nil)
}

for count in [1, 1000] { try await measureWatchers(count) }
