import AffinityCore
import Synchronization

/// What a test's command does, step by step.
enum Step: Codable, Sendable {
    case put(String, String)
    case remove(String)
    case get(String)
    case number(String, Int)
    /// Value, event time in milliseconds, tags.
    case dated(String, String, Int64, [String])
    case version(String)
    case update(String, String)
    case insert(String, String)
    case scan(String, limit: Int, isForward: Bool)
    case count
    case publish(String)
    case effect(String)
    case spend(milliseconds: Int)
    case reject(String)
    case scanUnordered
    case putBytes([UInt8])
}

/// Runs its steps and answers what the reading ones saw.
struct Steps: Command {
    typealias Reply = [String]
    var key = "k"
    var steps: [Step]

    init(_ steps: Step..., key: String = "k") {
        self.steps = steps
        self.key = key
    }
}

struct Peek: Query {
    typealias Reply = String?
    var key: String

    init(_ key: String) { self.key = key }
}

struct Size: ScatterQuery {
    typealias Reply = Int
}

struct Unheard: Command {
    typealias Reply = Int
    var key = "k"
}

struct Noted: Event {
    var text: String
}

/// A keyspace whose handlers do what the test's commands say.
final class Ledger: Partition {
    let texts = Store<String, String>("texts", ordered: true)
    let numbers = Store<String, Int>("numbers")
    let bytes = Store<[UInt8], [UInt8]>("bytes")

    /// What the hooks and effects of a test have done, under the keyspace's name.
    static let notes = Mutex<[String: [String]]>([:])
    /// Moved by steps that spend time, under the keyspace's name.
    static let spending = Mutex<[String: @Sendable (Int) -> Void]>([:])
    private var keyspace = ""

    override class func register(_ on: Handlers) {
        on.command(Steps.self, run)
        on.query(Peek.self, peek)
        on.query(Size.self, size)
    }

    static func note(_ keyspace: String, _ text: String) {
        notes.withLock { $0[keyspace, default: []].append(text) }
    }

    override func becameMaster(of partition: PartitionID, epoch: Epoch) {
        keyspace = partition.keyspace
        Self.note(keyspace, "master \(epoch)")
    }

    override func becameStandby(of partition: PartitionID) {
        keyspace = partition.keyspace
        Self.note(keyspace, "standby")
    }

    override func stopping() { Self.note(keyspace, "stopping") }

    func run(_ command: Steps, _ tx: inout Transaction) throws(Rejected) -> [String] {
        var seen: [String] = []
        for step in command.steps { try run(step, &tx, &seen) }
        return seen
    }

    private func run(_ step: Step, _ tx: inout Transaction, _ seen: inout [String]) throws(Rejected) {
        switch step {
        case .put(let key, let value): tx[texts, key] = value
        case .remove(let key): seen.append(tx.remove(texts, key) ?? "-")
        case .get(let key): seen.append(tx[texts, key] ?? "-")
        case .number(let key, let value): tx[numbers, key] = value
        case .dated(let key, let value, let time, let tags):
            tx.put(texts, key, value, time: Timestamp(milliseconds: time), tags: tags)
        case .version(let key): seen.append(tx.entry(texts, key).map { "\($0.version)@\($0.time.milliseconds)" } ?? "-")
        case .update(let key, let suffix): tx.update(texts, key) { $0 = ($0 ?? "") + suffix }
        case .insert(let key, let value): seen.append("\(tx.insertIfAbsent(texts, key, value))")
        case .scan(let prefix, let limit, let isForward):
            tx.scan(texts, .prefix(Array(prefix.utf8)), isForward ? .forward : .backward, limit: limit) { key, entry in
                seen.append("\(key)=\(entry.value)")
                return true
            }
        case .count: seen.append("\(tx.count(texts))")
        case .publish(let text): tx.publish(Noted(text: text))
        case .effect(let text):
            let keyspace = keyspace
            tx.afterCommit { _ in Ledger.note(keyspace, text) }
        case .spend(let milliseconds): Self.spending.withLock { $0[keyspace] }?(milliseconds)
        case .reject(let reason): throw Rejected(reason)
        case .scanUnordered: tx.scan(numbers, .keys(from: "a")) { _, _ in true }
        case .putBytes(let key): tx[bytes, key] = key
        }
    }

    func peek(_ query: Peek, _ view: borrowing View) -> String? { view[texts, query.key] }

    func size(_ query: Size, _ view: borrowing View) -> Int { view.count(texts) }
}
