import AffinityCore
import AffinityTesting
import Foundation

/// Whether what clients have seen of each key is what one after the other could have seen.
enum Linearizability {
    /// Complains of every key whose history cannot be, and writes that history into the folder.
    static func check(_ journal: Journal, _ complaints: Complaints, folder: String) {
        for (key, operations) in journal.operations.sorted(by: { $0.key < $1.key }) {
            let history = History(RewrittenModel(), operations.map(RewrittenModel.operation))
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
}

/// An entry of a system whose masters change: a new one may write again what it finds, so that the version of an entry
/// grows although nobody has asked for it.
struct RewrittenModel: SequentialModel {
    private let model = KeyValueModel()

    var initial: KeyValueModel.State { Self.open(model.initial) }

    func apply(
        _ input: KeyValueModel.Input, _ reply: KeyValueModel.Reply?, to state: KeyValueModel.State
    ) -> KeyValueModel.State? {
        var reply = reply
        // A command learns the version of what is on its way to the log before the log has given it: it is foretold,
        // and wrong if a record of a former master comes between. So nothing follows from it.
        if case .conditionFailed(_?) = reply { reply = .conditionFailed(state.version) }
        return model.apply(input, reply, to: state).map(Self.open)
    }

    func isRead(_ input: KeyValueModel.Input, _ reply: KeyValueModel.Reply?) -> Bool { model.isRead(input, reply) }

    func mayFollow(
        _ input: KeyValueModel.Input, _ reply: KeyValueModel.Reply, _ state: KeyValueModel.State
    ) -> Bool {
        if case .conditionFailed = reply { return true }
        return model.mayFollow(input, reply, state)
    }

    func isAsOpen(_ state: KeyValueModel.State, as other: KeyValueModel.State) -> Bool {
        model.isAsOpen(state, as: other)
    }

    /// The version is this one, or a greater one.
    private static func open(_ state: KeyValueModel.State) -> KeyValueModel.State {
        KeyValueModel.State(state.value, version: state.version, isExact: false)
    }

    static func operation(_ operation: Journal.Operation) -> History<RewrittenModel>.Operation {
        let outcome: History<RewrittenModel>.Outcome =
            switch operation.outcome {
            case .ok(let reply): .ok(reply)
            case .failed: .failed
            case .unknown: .unknown
            }
        return History<RewrittenModel>.Operation(
            operation.client, operation.input, from: operation.call, to: operation.end, outcome)
    }
}
