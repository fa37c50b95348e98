import AffinityTestSupport
import Foundation
import Glibc

/// One client: asks one node over a connection that stays, one request after the other. Used by one thread.
final class Client {
    let number: Int
    private let node: ClusterNode
    private let others: () -> [ClusterNode]
    private let history: History
    private let complaints: Complaints
    private var connection: HTTPClient?

    /// How long the service has for an answer, and how long the client waits for it: longer than a pause of the node,
    /// so that requests queue up at one that is paused.
    static let deadline = "3s"
    static let patience = 8

    /// - Parameter others: whom to ask when a request has to be repeated.
    init(
        _ number: Int, _ node: ClusterNode, _ history: History, _ complaints: Complaints,
        others: @escaping () -> [ClusterNode]
    ) {
        (self.number, self.node, self.history) = (number, node, history)
        (self.complaints, self.others) = (complaints, others)
    }

    private enum Reply {
        case answer(HTTPClient.Answer)
        /// There is no node: nothing was sent.
        case notSent
        case lost
    }

    // MARK: - Requests

    func read(_ key: String) -> History.Operation.Outcome? {
        let place = history.begin(number, key, .read)
        switch ask("GET", key) {
        case .answer(let answer) where answer.status == 200:
            guard let value = Int(answer.text) else { return refuse(place, key, answer) }
            return end(place, .entry(value, version: answer.version))
        case .answer(let answer) where answer.status == 404: return end(place, .absent)
        case .answer(let answer) where answer.status == 503: return drop(place, answer)
        case .answer(let answer): return refuse(place, key, answer)
        case .notSent: return drop(place, "not sent")
        case .lost: return drop(place, "reads lost")
        }
    }

    func put(_ key: String, _ value: Int, _ condition: History.Operation.Condition? = nil) -> History.Operation.Outcome?
    {
        write(key, .put(value, condition), "PUT", key, condition.headers, body: "\(value)") { answer in
            switch answer.status {
            case 201: .created(version: answer.version)
            case 204: .replaced(version: answer.version)
            default: nil
            }
        }
    }

    func delete(_ key: String, _ condition: History.Operation.Condition? = nil) {
        _ = write(key, .delete(condition), "DELETE", key, condition.headers) { answer in
            switch answer.status {
            case 204: .deleted
            case 404: .absent
            default: nil
            }
        }
    }

    func add(_ key: String) {
        _ = write(key, .add(1), "POST", "\(key)/add", [], body: "{\"by\":1}", Self.sum)
    }

    /// Adds under an idempotency key, and asks again, any node, until the answer is known.
    ///
    /// - Returns: the sum, or `nil` if nobody has answered for too long.
    func addOnce(_ key: String, _ name: String, _ random: inout Seeded, isRecorded: Bool = true) -> Int? {
        let place = isRecorded ? history.begin(number, key, .add(1)) : nil
        let limit = ContinuousClock.now + .seconds(120)
        var attempt = 0
        while ContinuousClock.now < limit {
            let other = attempt == 0 ? nil : others().filter(\.canAnswer).randomElement(using: &random)
            attempt += 1
            let reply = ask(
                "POST", "\(key)/add", [("Idempotency-Key", name)], body: "{\"by\":1}", at: other)
            if case .answer(let answer) = reply {
                if answer.status == 200, let sum = Self.value(answer) {
                    if let place { _ = end(place, .entry(sum, version: nil)) }
                    return sum
                }
                if ![429, 503, 504].contains(answer.status) { complaints.add("add \(key) \(name): \(answer)") }
            }
            usleep(20_000)
        }
        complaints.add("add \(key) \(name): no answer for two minutes")
        if let place { _ = end(place, .unknown) }
        return nil
    }

    private func write(
        _ key: String, _ action: History.Operation.Action, _ method: String, _ path: String,
        _ headers: [(String, String)], body: String? = nil, _ read: (HTTPClient.Answer) -> History.Operation.Outcome?
    ) -> History.Operation.Outcome? {
        let place = history.begin(number, key, action)
        switch ask(method, path, headers, body: body) {
        case .answer(let answer):
            if let outcome = read(answer) { return end(place, outcome) }
            switch answer.status {
            case 412: return end(place, .failedCondition(current: answer.version))
            case 429, 503: return drop(place, answer)
            case 504: return end(place, .unknown)
            default: return refuse(place, key, answer)
            }
        case .notSent: return drop(place, "not sent")
        case .lost: return end(place, .unknown)
        }
    }

    private static func sum(_ answer: HTTPClient.Answer) -> History.Operation.Outcome? {
        guard answer.status == 200, let sum = value(answer) else { return nil }
        return .entry(sum, version: answer.version)
    }

    /// The number in `{"value": 12}`.
    private static func value(_ answer: HTTPClient.Answer) -> Int? {
        Int(answer.text.filter { $0.isNumber || $0 == "-" })
    }

    // MARK: - Outcomes

    private func end(_ place: Int, _ outcome: History.Operation.Outcome) -> History.Operation.Outcome {
        history.end(place, outcome)
        return outcome
    }

    private func drop(_ place: Int, _ answer: HTTPClient.Answer) -> History.Operation.Outcome? {
        // A client that was refused comes again a little later.
        usleep(10_000)
        return drop(place, "\(answer.status)")
    }

    private func drop(_ place: Int, _ reason: String) -> History.Operation.Outcome? {
        history.drop(place, reason)
        return nil
    }

    /// An answer that no request here can have; whether it has done something is open.
    private func refuse(_ place: Int, _ key: String, _ answer: HTTPClient.Answer) -> History.Operation.Outcome? {
        complaints.add("\(node.id) \(key): \(answer)")
        return end(place, .unknown)
    }

    // MARK: - Connections

    /// - Parameter other: asks that node, over a connection for this request only.
    private func ask(
        _ method: String, _ path: String, _ headers: [(String, String)] = [], body: String? = nil,
        at other: ClusterNode? = nil
    ) -> Reply {
        guard let connection = other.map({ try? $0.connect(timeout: Self.patience) }) ?? usual() else {
            usleep(20_000)
            return .notSent
        }
        do {
            let all = headers + [("Affinity-Timeout", Self.deadline)]
            return .answer(try connection.ask(method, "/kv/\(path)", all, json: body))
        } catch {
            if other == nil { self.connection = nil }
            return .lost
        }
    }

    /// The connection that stays, if the node has not ended it.
    private func usual() -> HTTPClient? {
        if let connection, (try? connection.hasInput(within: 0)) == true { self.connection = nil }
        if connection == nil { connection = try? node.connect(timeout: Self.patience) }
        return connection
    }
}

extension History.Operation.Condition? {
    var headers: [(String, String)] {
        switch self {
        case nil: []
        case .matches(let version): [("If-Match", "\"\(version)\"")]
        case .absent: [("If-None-Match", "*")]
        }
    }
}
