import AffinityTestSupport
import Foundation
import Glibc
import Synchronization

/// Writers and readers that put a service under load, with a `Ledger` of what they have seen.
///
/// Each runs on a thread and a connection of its own until the connection ends; the next round of them goes on where
/// this one was.
final class Load: Sendable {
    let ledger: Ledger
    private let seed: UInt64
    private let writers: Int
    private let readers: Int
    private let pace: UInt32
    private let keysEach = 6
    private let state = Mutex(State())
    private let progressed = NSCondition()

    private struct State {
        var isStopping = false
        var round: UInt64 = 0
        var nextValue = 0
        /// Adds whose answer was lost; they are asked again under their own name.
        var lostAdds: [Add] = []
        var answeredAdds: [(add: Add, sum: Int)] = []
    }

    struct Add: Sendable {
        var counter: String
        var name: String
    }

    /// - Parameter pace: how many microseconds each thread lets pass between two requests.
    init(seed: UInt64, writers: Int = 6, readers: Int = 2, pace: UInt32 = 0, allowsRewrites: Bool = false) {
        self.pace = pace
        ledger = Ledger(allowsRewrites: allowsRewrites)
        self.seed = seed
        self.writers = writers
        self.readers = readers
    }

    // MARK: - Running

    /// Loads the service at `port` until the connections end or `stop` is called; returns when all threads have ended.
    ///
    /// - Parameter meanwhile: runs beside them, on the caller's thread.
    func run(_ port: Int, meanwhile: () throws -> Void) throws {
        let round = state.withLock { state in
            state.isStopping = false
            state.round += 1
            return state.round
        }
        let group = DispatchGroup()
        for number in 0..<(writers + readers) {
            group.enter()
            Thread.detachNewThread {
                defer { group.leave() }
                var random = Seeded(self.seed &+ round &* 1_000 &+ UInt64(number))
                guard let connection = try? HTTPClient(port: port) else { return }
                if number < self.writers {
                    self.write(connection, number, &random)
                } else {
                    self.read(connection, &random)
                }
                self.progressed.lock()
                self.progressed.broadcast()
                self.progressed.unlock()
            }
        }
        defer {
            stop()
            group.wait()
        }
        try meanwhile()
    }

    /// Lets every thread end behind its answer.
    func stop() { state.withLock { $0.isStopping = true } }

    /// Returns when so many more writes have been acknowledged.
    func waitForWrites(_ count: Int) throws {
        let end = ledger.acknowledged + count
        let limit = Date(timeIntervalSinceNow: 120)
        progressed.lock()
        defer { progressed.unlock() }
        while ledger.acknowledged < end {
            guard progressed.wait(until: limit) else {
                throw Failure("no progress: \(ledger.summary)")
            }
        }
    }

    /// Returns when so many more reads have been checked, or the load has found a mistake.
    func waitForReads(_ count: Int) throws {
        let end = ledger.checked + count
        try waitUntil("reads: \(ledger.summary)", within: 120) { ledger.checked >= end || !ledger.mistakes.isEmpty }
    }

    private var isStopping: Bool { state.withLock { $0.isStopping } }

    // MARK: - Writing

    private func write(_ connection: HTTPClient, _ writer: Int, _ random: inout Seeded) {
        while !isStopping {
            if pace > 0 { usleep(pace) }
            let key = "w\(writer)-\(Int.random(in: 0..<keysEach, using: &random))"
            let goesOn: Bool
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<40: goesOn = change(connection, key, newValue(&random), conditions: [], isLikely: true)
            case 40..<52: goesOn = change(connection, key, nil, conditions: [], isLikely: true)
            case 52..<65:
                guard let version = ledger.current(key) else { continue }
                let matching = [("If-Match", "\"\(version)\"")]
                goesOn = change(connection, key, newValue(&random), conditions: matching, isLikely: true)
            case 65..<72:
                let failing = ledger.current(key).map { [("If-Match", "\"\($0 - 1)\", \"999999999999\"")] }
                guard let failing else { continue }
                goesOn = change(connection, key, newValue(&random), conditions: failing, isLikely: false)
            default: goesOn = add(connection, &random)
            }
            if Int.random(in: 0..<4, using: &random) == 0 {
                progressed.lock()
                progressed.broadcast()
                progressed.unlock()
            }
            if !goesOn { return }
        }
    }

    private func newValue(_ random: inout Seeded) -> String {
        let number = state.withLock { state in
            state.nextValue += 1
            return state.nextValue
        }
        let length = Int.random(in: 0..<10, using: &random) == 0 ? 4_000 : 20
        return "{\"n\":\(number),\"x\":\"\(String(repeating: "x", count: length))\"}"
    }

    /// One put or removal. False if the connection has ended.
    private func change(
        _ connection: HTTPClient, _ key: String, _ value: String?, conditions: [(String, String)], isLikely: Bool
    ) -> Bool {
        let attempt = ledger.begin(key, value)
        let answer: HTTPClient.Answer
        do {
            answer = try connection.ask(value == nil ? "DELETE" : "PUT", "/kv/\(key)", conditions, json: value)
        } catch {
            ledger.lose(key, attempt)
            return false
        }
        if answer.isGood, !isLikely { ledger.complain("\(key): a condition that does not hold has held") }
        if answer.status == 412, isLikely, !ledger.allowsRewrites {
            ledger.complain("\(key): a condition that holds has failed: \(answer)")
        }
        note(answer, key, attempt, isRemoval: value == nil)
        Self.pause(after: answer)
        return true
    }

    /// A client that was refused comes again a little later.
    private static func pause(after answer: HTTPClient.Answer) {
        if [429, 503].contains(answer.status) { usleep(2_000) }
    }

    /// One put on the caller's own connection.
    func put(_ connection: HTTPClient, _ key: String, _ value: String) throws -> HTTPClient.Answer {
        let attempt = ledger.begin(key, value)
        let answer = try connection.ask("PUT", "/kv/\(key)", json: value)
        note(answer, key, attempt, isRemoval: false)
        return answer
    }

    private func note(_ answer: HTTPClient.Answer, _ key: String, _ attempt: Int, isRemoval: Bool) {
        switch answer.status {
        case 201, 204:
            let version = isRemoval ? nil : answer.version
            ledger.acknowledge(key, attempt, existed: answer.status == 204, version: version)
        case 404 where isRemoval: ledger.acknowledge(key, attempt, existed: false, version: nil)
        case 412, 429, 503: ledger.refuse(key, attempt)
        case 504: ledger.lose(key, attempt)
        default:
            ledger.complain("\(key): \(answer)")
            ledger.refuse(key, attempt)
        }
    }

    private func add(_ connection: HTTPClient, _ random: inout Seeded) -> Bool {
        let isRepeat = Int.random(in: 0..<8, using: &random) == 0
        if isRepeat, let former = state.withLock({ $0.answeredAdds.randomElement(using: &random) }) {
            return ask(connection, former.add, expected: former.sum)
        }
        let counter = "sum-\(Int.random(in: 0..<3, using: &random))"
        ledger.beginAdd(counter)
        return ask(connection, Add(counter: counter, name: "\(random.next())"), expected: nil)
    }

    /// Asks under the request's own name; what was answered before must be answered again.
    private func ask(_ connection: HTTPClient, _ add: Add, expected: Int?) -> Bool {
        let answer: HTTPClient.Answer
        do {
            answer = try connection.ask(
                "POST", "/kv/\(add.counter)/add", [("Idempotency-Key", add.name)], json: "{\"by\":1}")
        } catch {
            if expected == nil { state.withLock { $0.lostAdds.append(add) } }
            return false
        }
        guard answer.status == 200 else {
            if expected == nil { state.withLock { $0.lostAdds.append(add) } }
            if ![429, 503, 504].contains(answer.status) { ledger.complain("\(add): \(answer)") }
            Self.pause(after: answer)
            return true
        }
        let sum = Int(answer.text.filter { $0.isNumber || $0 == "-" }) ?? -1
        if let expected {
            if sum != expected || answer["Idempotency-Replayed"] != "true" {
                ledger.complain("\(add): was \(expected), is now \(answer)")
            }
            return true
        }
        ledger.added(add.counter, sum: sum)
        state.withLock { $0.answeredAdds.append((add, sum)) }
        return true
    }

    // MARK: - Reading

    private func read(_ connection: HTTPClient, _ random: inout Seeded) {
        while !isStopping {
            if pace > 0 { usleep(pace) }
            do {
                if Int.random(in: 0..<8, using: &random) == 0 {
                    let counter = "sum-\(Int.random(in: 0..<3, using: &random))"
                    let least = ledger.beforeCount(counter)
                    let answer = try connection.ask("GET", "/kv/\(counter)")
                    if let count = count(answer) { ledger.checkCount(counter, count, since: least) }
                } else {
                    let key =
                        "w\(Int.random(in: 0..<writers, using: &random))-"
                        + "\(Int.random(in: 0..<keysEach, using: &random))"
                    try check(connection, key, isQuiet: false)
                }
            } catch { return }
        }
    }

    private func check(_ connection: HTTPClient, _ key: String, isQuiet: Bool) throws {
        let begun = ledger.beforeRead(key)
        let answer = try connection.ask("GET", "/kv/\(key)")
        switch answer.status {
        case 200: ledger.check(key, value: answer.text, version: answer.version, since: begun, isQuiet: isQuiet)
        case 404: ledger.check(key, value: nil, version: nil, since: begun, isQuiet: isQuiet)
        case 503 where !isQuiet: Self.pause(after: answer)
        default: ledger.complain("\(key): \(answer)")
        }
    }

    private func count(_ answer: HTTPClient.Answer) -> Int? {
        switch answer.status {
        case 200: return Int(answer.text)
        case 404: return 0
        case 503: return nil
        default:
            ledger.complain("count: \(answer)")
            return nil
        }
    }

    /// With nothing in flight: everything that was acknowledged is there, what was refused is not, and every add is
    /// counted once, those included whose answer was lost.
    func checkAll(_ connection: HTTPClient) throws {
        for key in ledger.keys { try check(connection, key, isQuiet: true) }
        let lost = state.withLock { state in
            defer { state.lostAdds = [] }
            return state.lostAdds
        }
        for add in lost { guard ask(connection, add, expected: nil) else { throw Failure("lost again: \(add)") } }
        for counter in ledger.counters {
            guard let count = count(try connection.ask("GET", "/kv/\(counter)")) else { throw Failure(counter) }
            ledger.checkFinalCount(counter, count)
        }
    }
}
