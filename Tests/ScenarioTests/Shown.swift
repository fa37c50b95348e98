import AffinityCore
import AffinitySimulation
import Foundation

/// What things look like in a scenario.
enum Shown {
    static func of(_ commit: Commit<AffinitySimulation.Change.Reply>) -> String {
        let answer =
            switch commit.reply {
            case .done, .sum: "done"
            case .absent: "absent"
            case .failed(let version): "refused: the version is \(version.map(String.init) ?? "none")"
            case .torn: "TORN"
            }
        var parts = [answer]
        if case .sum(let sum) = commit.reply { parts.append("sum \(text(sum))") }
        if commit.version != .none { parts.append("version \(commit.version)") }
        if commit.isReplay { parts.append("repeated") }
        return parts.joined(separator: ", ")
    }

    static func of(_ answer: Answer<Look.Seen>) -> String {
        let seen = answer.reply
        guard let value = seen.value else { return seen.isTorn ? "absent, TORN" : "absent" }
        return "\(text(value)), version \(seen.version)\(seen.isTorn ? ", TORN" : "")"
    }

    static func of(_ status: ReplicaStatus) -> String {
        var parts = [status.state.rawValue]
        if status.role == .master { parts[0] += " \(status.epoch)" }
        parts.append("at \(status.position.offsets.dropFirst().map(\.description).joined(separator: " "))")
        if status.inFlight > 0 { parts.append("\(status.inFlight) in flight") }
        if let reason = status.reason { parts.append(reason) }
        return parts.joined(separator: ", ")
    }

    /// Offset, what is written, and what its master says of it: epoch, number of the command, how many records that has,
    /// and up to which command everything was acknowledged.
    static func of(_ logged: LoggedRecord, in store: String) -> String {
        let record = logged.record
        guard let stamp = record.headers.stamp else {
            return "\(column("\(logged.offset)", 3)) \(column(entry(record, store), 12)) foreign"
        }
        if stamp.number == 0 {
            let control = record.value.flatMap { try? JSONDecoder().decode(Control.self, from: Data($0)) }
            let kind = control.map { "\($0.kind) \($0.node)" } ?? "?"
            return "\(column("\(logged.offset)", 3)) \(column(kind, 12)) e=\(stamp.epoch) a=\(stamp.acknowledged)"
        }
        return "\(column("\(logged.offset)", 3)) \(column(entry(record, store), 12)) "
            + "e=\(stamp.epoch) n=\(stamp.number) k=\(stamp.count) a=\(stamp.acknowledged)"
    }

    private struct Control: Decodable {
        var kind: String
        var node: String
    }

    private static func entry(_ record: Record, _ store: String) -> String {
        guard let value = record.value else { return "\(text(record.key)) removed" }
        return "\(text(record.key))=\(shown(value, store))"
    }

    /// An outcome of a request is in a layout of its own, which nobody can read.
    private static func shown(_ value: [UInt8], _ store: String) -> String {
        store == "_requests" ? "answered" : text(value)
    }

    static func of(_ event: ByteWatch.Event) -> String {
        switch event {
        case .current(let change): "is told \(of(change))"
        case .change(let change): "sees \(of(change))"
        case .level: "has been told everything"
        case .startOver: "starts over"
        }
    }

    private static func of(_ change: AffinityCore.Change) -> String {
        let value = change.value.map { "\(text(change.key))=\(text($0))" } ?? "\(text(change.key)) removed"
        return change.version == .none ? "\(text(change.key)) is not there" : "\(value) (\(change.version))"
    }

    static func value(of entry: StoredEntry, _ store: String) -> String {
        "\(shown(entry.value, store)) (\(entry.version))"
    }

    /// What of it can be read.
    static func text(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.filter { (33..<127).contains($0) }.prefix(12), as: UTF8.self)
    }

    static func column(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    /// A time of the trace, to a tenth of a second.
    static func time(_ time: Substring) -> String {
        let parts = time.split(separator: ".")
        return "\(parts.first ?? "0").\(parts.count > 1 ? parts[1].prefix(1) : "0")s"
    }
}
