import Synchronization

/// Counters that go through the whole run: every request to add one has an idempotency key, is asked again until it is
/// answered, and must count once.
final class Totals: Sendable {
    private struct Counter {
        var asked = 0
        var sums: Set<Int> = []
    }

    static let names = (0..<3).map { "total-\($0)" }
    private let state = Mutex<[String: Counter]>([:])
    private let complaints: Complaints

    init(_ complaints: Complaints) { self.complaints = complaints }

    func begin(_ name: String) { state.withLock { $0[name, default: Counter()].asked += 1 } }

    func end(_ name: String, sum: Int) {
        if state.withLock({ !$0[name, default: Counter()].sums.insert(sum).inserted }) {
            complaints.add("\(name): two requests have made it \(sum)")
        }
    }

    /// With nothing in flight: as many as were asked, each with a sum of its own.
    func check(_ name: String, _ value: Int) {
        let known = state.withLock { $0[name, default: Counter()] }
        if value != known.asked || known.sums != Set(1..<(known.asked + 1)) {
            complaints.add("\(name) is \(value) after \(known.asked) requests with \(known.sums.count) sums")
        }
    }

    var asked: Int { state.withLock { $0.values.reduce(0) { $0 + $1.asked } } }
}

/// What must not be: the first few of it, in words.
final class Complaints: Sendable {
    private let state = Mutex<[String]>([])

    func add(_ text: String) {
        say("MISTAKE: \(text.prefix(2_000))")
        state.withLock { $0.append(String(text.prefix(2_000))) }
    }

    var all: [String] { state.withLock { $0 } }
}
