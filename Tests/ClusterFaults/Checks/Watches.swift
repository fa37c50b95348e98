import AffinityCore
import AffinityTesting
import Foundation

/// Whether clients who watch were told every change once, and in order.
enum Watches {
    /// Complains of what a watcher was told that cannot be, and of changes that it was not told; writes what it saw into
    /// the folder then.
    ///
    /// - Parameter operations: what was asked of the key.
    static func check(
        _ watcher: Watcher, _ operations: [Journal.Operation], _ complaints: Complaints, folder: String
    ) {
        let events = watcher.events
        let mistakes = mistakes(events, operations.compactMap(\.written))
        if mistakes.isEmpty { return }
        for mistake in mistakes.prefix(5) { complaints.add("\(watcher.name) \(mistake)") }
        let lines = events.map { "\($0)" }.joined(separator: "\n")
        try? lines.write(toFile: "\(folder)/\(watcher.name)", atomically: true, encoding: .utf8)
    }

    private static func mistakes(_ events: [Watcher.Event], _ written: [(version: UInt64, value: String)]) -> [String] {
        var mistakes: [String] = []
        var told: [UInt64: String?] = [:]
        var first: UInt64?
        var last: UInt64 = 0
        for event in events {
            switch event {
            case .opened: break
            // The topics keep all that is younger than a day, and nobody goes on behind what was never told.
            case .startOver: mistakes.append("starts over behind \(last)")
            case .entry(let version, let value):
                if first != nil, version <= last { mistakes.append("was told \(version) behind \(last)") }
                told[version] = value
                first = first ?? version
                last = version
            }
        }
        guard let first else { return ["was told nothing"] }
        for (version, value) in written where first < version && version <= last && told[version] != value {
            let other = told[version].map { $0 ?? "a removal" } ?? "nothing"
            mistakes.append("was told \(other) of \(version), which wrote \(value)")
        }
        return mistakes
    }
}

extension Journal {
    /// The newest version of a key that a client was told of its own write.
    func newest(_ key: String) -> UInt64 { operations[key]?.compactMap(\.written?.version).max() ?? 0 }
}

extension Journal.Operation {
    /// What was written, and the version of it, where a client was told.
    fileprivate var written: (version: UInt64, value: String)? {
        switch (input.action, outcome) {
        case (.put(let value), .ok(.written(let version?, _))):
            (version.rawValue, String(decoding: value, as: UTF8.self))
        case (.add, .ok(.sum(let sum, let version?))): (version.rawValue, "\(sum)")
        default: nil
        }
    }
}
