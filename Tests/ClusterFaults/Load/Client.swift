import AffinityCore
import AffinityTestSupport
import AffinityTesting
import Foundation
import Glibc

/// One client: asks one node over a connection that stays, one request after the other. Used by one thread.
final class Client {
    typealias Input = KeyValueModel.Input
    typealias Reply = KeyValueModel.Reply

    private let name: String
    private let node: ClusterNode
    private let others: () -> [ClusterNode]
    private let journal: Journal
    private let complaints: Complaints
    private let deadline: String
    private var connection: HTTPClient?
    private var lastUse: Int64 = 0

    /// How many seconds a client waits for an answer: longer than a pause of the node, so that requests queue up there.
    private static let patience = 8

    /// - Parameters:
    ///   - deadline: how long the service has for an answer.
    ///   - others: whom to ask when a request has to be repeated.
    init(
        _ number: Int, _ node: ClusterNode, _ journal: Journal, _ complaints: Complaints, deadline: String = "3s",
        others: @escaping () -> [ClusterNode]
    ) {
        (name, self.node, self.journal) = ("\(number)@\(node.id)", node, journal)
        (self.complaints, self.deadline, self.others) = (complaints, deadline, others)
    }

    private enum Outcome {
        case answer(HTTPClient.Answer)
        /// There is no node: nothing was sent.
        case notSent
        case lost(String)
    }

    // MARK: - Requests

    func read(_ key: String) -> Reply? { ask(.get, key) }

    func put(_ key: String, _ value: Int, match: KeyValueModel.Tags? = nil, noneMatch: KeyValueModel.Tags? = nil) {
        let value = Array("\(value)".utf8)
        _ = ask(Input(.put(value), match: match, noneMatch: noneMatch), key, body: value)
    }

    func delete(_ key: String, match: KeyValueModel.Tags? = nil) { _ = ask(Input(.delete, match: match), key) }

    func add(_ key: String) { _ = ask(.add(1), key, body: Self.one) }

    /// Adds under an idempotency key, and asks again, any node, until the answer is known.
    ///
    /// - Returns: the sum, or `nil` if nobody has answered for too long.
    func addOnce(_ key: String, _ id: String, _ random: inout Seeded, isNoted: Bool = true) -> Int64? {
        let begun = Journal.now
        let limit = ContinuousClock.now + .seconds(120)
        var other: ClusterNode?
        while ContinuousClock.now < limit {
            let outcome = send("POST", "\(key)/add", [("Idempotency-Key", id)], Self.one, to: other)
            if case .answer(let answer) = outcome {
                if case .sum(let sum, let version)? = Self.reply(to: .add(1), answer) {
                    // An answer that is repeated may tell the version that the entry had then.
                    let isFirst = answer["Idempotency-Replayed"] == nil
                    let reply = Reply.sum(sum, isFirst ? version : nil)
                    if isNoted { journal.note(name, key, .add(1), since: begun, .ok(reply), "added once") }
                    return sum
                }
                if ![429, 503, 504].contains(answer.status) { complaints.add("add \(key) \(id): \(answer)") }
            }
            usleep(20_000)
            other = others().filter(\.canAnswer).randomElement(using: &random)
        }
        complaints.add("add \(key) \(id): no answer for two minutes")
        if isNoted { journal.note(name, key, .add(1), since: begun, .unknown, "lost") }
        return nil
    }

    private static let one = Array("{\"by\":1}".utf8)

    /// Sends a request and notes what comes of it.
    private func ask(_ input: Input, _ key: String, body: [UInt8]? = nil) -> Reply? {
        let begun = Journal.now
        func note(_ outcome: History<KeyValueModel>.Outcome, _ what: String) {
            journal.note(name, key, input, since: begun, outcome, what)
        }
        let path = if case .add = input.action { "\(key)/add" } else { key }
        switch send(input.method, path, input.headers, body, to: nil) {
        case .notSent: note(.failed, "not sent")
        case .lost(let reason): note(.unknown, "lost (\(reason))")
        case .answer(let answer):
            if let reply = Self.reply(to: input, answer) {
                note(.ok(reply), input.action == .get ? "read" : "written")
                return reply
            }
            switch answer.status {
            case 429, 503:
                note(.failed, "\(answer.status)")
                // A client that was refused comes again a little later.
                usleep(10_000)
            case 504: note(.unknown, "504")
            default:
                complaints.add("\(node.id) \(key) \(input): \(answer)")
                note(.unknown, "\(answer.status)")
            }
        }
        return nil
    }

    /// What an answer says of the entry; `nil` if nothing.
    private static func reply(to input: Input, _ answer: HTTPClient.Answer) -> Reply? {
        let version = answer.version.map(Version.init)
        switch (input.action, answer.status) {
        case (.get, 200): return .value(answer.body, version)
        case (.get, 404), (.delete, 404): return .absent
        case (.put, 201): return .written(version, isNew: true)
        case (.put, 204): return .written(version, isNew: false)
        case (.delete, 204): return .deleted
        case (.add, 200):
            // {"value":12}
            return Int64(answer.text.filter { $0.isNumber || $0 == "-" }).map { .sum($0, version) }
        case (_, 412): return .conditionFailed(version)
        default: return nil
        }
    }

    // MARK: - Connections

    /// - Parameter other: asks that node, over a connection for this request only.
    private func send(
        _ method: String, _ path: String, _ headers: [(String, String)], _ body: [UInt8]?, to other: ClusterNode?
    ) -> Outcome {
        guard let connection = other.map({ try? $0.connect(timeout: Self.patience) }) ?? usual() else {
            usleep(20_000)
            return .notSent
        }
        var headers = headers + [("Affinity-Timeout", deadline)]
        if body != nil { headers.append(("Content-Type", "application/json")) }
        do {
            let answer = try connection.ask(method, "/kv/\(path)", headers, bytes: body)
            if other == nil {
                lastUse = Journal.now
                if answer["Connection"]?.lowercased() == "close" { self.connection = nil }
            }
            return .answer(answer)
        } catch {
            if other == nil { self.connection = nil }
            return .lost("\(error)")
        }
    }

    /// The connection that stays, unless the node has ended it, or may be about to: who sends a request just then cannot
    /// tell what becomes of it, and a node that stops waits for longer than this.
    private func usual() -> HTTPClient? {
        let isOld = Journal.now - lastUse > 100_000_000
        if isOld || (try? connection?.hasInput(within: 0)) == true { connection = nil }
        if connection == nil { connection = try? node.connect(timeout: Self.patience) }
        return connection
    }
}

extension KeyValueModel.Input {
    fileprivate var method: String {
        switch action {
        case .get: "GET"
        case .put: "PUT"
        case .delete: "DELETE"
        case .add: "POST"
        }
    }

    fileprivate var headers: [(String, String)] {
        let conditions = [("If-Match", match), ("If-None-Match", noneMatch)]
        return conditions.compactMap { name, tags in tags.map { (name, $0.header) } }
    }
}

extension KeyValueModel.Tags {
    fileprivate var header: String {
        switch self {
        case .any: "*"
        case .versions(let versions): versions.map { "\"\($0)\"" }.joined(separator: ", ")
        }
    }
}
