import AffinityCore
import AffinityTesting

typealias KeyHistory = AffinityTesting.History<KeyValueModel>
typealias KeyOperation = KeyHistory.Operation

/// One entry, as a service has it: everything is known.
struct SimulatedRegister {
    var value: [UInt8]?
    var version: UInt64 = 0

    private var tag: Version? { value == nil ? nil : Version(version) }

    private func matches(_ tags: KeyValueModel.Tags) -> Bool {
        switch tags {
        case .any: tag != nil
        case .versions(let versions): tag.map(versions.contains) ?? false
        }
    }

    mutating func apply(_ input: KeyValueModel.Input, step: UInt64) -> KeyValueModel.Reply {
        if let match = input.match, !matches(match) { return .conditionFailed(tag) }
        if let noneMatch = input.noneMatch, matches(noneMatch) {
            return input.action == .get ? .notModified(tag) : .conditionFailed(tag)
        }
        switch input.action {
        case .get: return value.map { .value($0, tag) } ?? .absent
        case .delete:
            if value == nil { return .absent }
            change(to: nil, step)
            return .deleted
        case .put(let new):
            let isNew = value == nil
            change(to: new, step)
            return .written(tag, isNew: isNew)
        case .add(let number):
            guard let present = value.map({ Int64(String(decoding: $0, as: UTF8.self)) }) ?? 0 else { return .refused }
            let (sum, overflow) = present.addingReportingOverflow(number)
            if overflow { return .refused }
            change(to: Array("\(sum)".utf8), step)
            return .sum(sum, tag)
        }
    }

    private mutating func change(to new: [UInt8]?, _ step: UInt64) {
        value = new
        version += 1 + step
    }
}

/// Clients that use a register at the same time: what they are told always fits some order.
struct Simulation {
    private struct Running {
        var operation: KeyOperation
        var effect: Int64?
        var end: Int64
        var reply: KeyValueModel.Reply?
    }

    private let random: SeededRandom
    private var register = SimulatedRegister()
    private var running: [Int: Running] = [:]
    /// Operations that nobody waits for any more, and when they take effect.
    private var late: [(time: Int64, input: KeyValueModel.Input)] = []
    private var numbers: Int64 = 0
    private(set) var history = KeyHistory(KeyValueModel())

    init(_ seed: UInt64, clients: Int = 4, operations: Int, doubts: Int = 10) {
        random = SeededRandom(seed)
        var time: Int64 = 0
        while history.operations.count < operations {
            time += 1
            for (_, input) in late.filter({ $0.time == time }) { _ = register.apply(input, step: random.next() % 3) }
            for client in 0..<clients { step(client, time, doubts) }
        }
        // What is under way may have taken effect, and its answer is not known yet.
        for run in running.values { history.operations.append(run.operation) }
    }

    private func pick(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }

    private mutating func step(_ client: Int, _ time: Int64, _ doubts: Int) {
        guard var run = running[client] else {
            if pick(3) == 0 { running[client] = begin("c\(client)", time, doubts) }
            return
        }
        if run.effect == time { run.reply = register.apply(run.operation.input, step: random.next() % 3) }
        running[client] = run.end > time ? run : nil
        if run.end <= time { end(run, time) }
    }

    private mutating func begin(_ client: String, _ time: Int64, _ doubts: Int) -> Running {
        let operation = KeyOperation(client, input(), from: moment(time), to: moment(time), .unknown)
        let effect = time + 1 + Int64(pick(8))
        let end = effect + Int64(pick(8))
        switch pick(100) {
        case ..<doubts:
            if pick(3) > 0 { late.append((time + 1 + Int64(pick(60)), operation.input)) }
            return Running(operation: operation, effect: nil, end: end)
        case ..<(doubts + 5):
            var failed = operation
            failed.outcome = .failed
            return Running(operation: failed, effect: nil, end: end)
        default: return Running(operation: operation, effect: effect, end: end)
        }
    }

    private mutating func end(_ run: Running, _ time: Int64) {
        var operation = run.operation
        operation.end = moment(time)
        if let reply = run.reply { operation.outcome = .ok(reply) }
        history.operations.append(operation)
    }

    private func moment(_ time: Int64) -> MonotonicTime { MonotonicTime(nanoseconds: time * 1_000_000) }

    /// No two writes have the same value.
    private mutating func input() -> KeyValueModel.Input {
        numbers += 1
        let current: KeyValueModel.Tags = .versions([Version(register.version + UInt64(pick(6) / 5))])
        switch pick(12) {
        case 0...3: return .get
        case 4: return .init(.get, noneMatch: current)
        case 5: return .put("\(numbers * 1_000_000)")
        case 6: return .put("v\(numbers)")
        case 7: return .init(.put(Array("m\(numbers)".utf8)), match: pick(4) == 0 ? .any : current)
        case 8: return .init(.put(Array("n\(numbers)".utf8)), noneMatch: pick(4) == 0 ? current : .any)
        case 9: return pick(2) == 0 ? .delete : .init(.delete, match: current)
        default: return .add(numbers * 1_000 + 1)
        }
    }
}
