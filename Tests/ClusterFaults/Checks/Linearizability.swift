import AffinityCore
import AffinityTesting
import Foundation

/// Whether what clients have seen of each key is what one after the other could have seen.
enum Linearizability {
    /// Complains of every key whose history cannot be, and writes that history into the folder.
    static func check(_ journal: Journal, _ complaints: Complaints, folder: String) {
        for (key, operations) in journal.operations.sorted(by: { $0.key < $1.key }) {
            // A new master may write again what it finds.
            let history = History(KeyValueModel(isRewritten: true), operations.map(\.checked))
            let verdict = history.check()
            if verdict == .linearizable { continue }
            complaints.add("\(key): \(verdict)")
            let lines = operations.sorted { $0.call < $1.call }.map(\.line).joined(separator: "\n")
            try? lines.write(toFile: "\(folder)/history-\(key)", atomically: true, encoding: .utf8)
        }
    }
}

extension Journal.Operation {
    /// When, in milliseconds, who asked for what, and what came of it.
    fileprivate var line: String {
        "\(call.nanoseconds / 1_000_000) \(end.nanoseconds / 1_000_000) \(client) \(input) -> \(outcome)"
    }

    /// The same for the checker.
    fileprivate var checked: History<KeyValueModel>.Operation {
        let outcome: History<KeyValueModel>.Outcome =
            switch self.outcome {
            case .ok(let reply): .ok(reply)
            case .failed: .failed
            case .unknown: .unknown
            }
        return History<KeyValueModel>.Operation(client, input, from: call, to: end, outcome)
    }
}
