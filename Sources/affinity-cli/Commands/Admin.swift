import Foundation

extension Option {
    static let admin = Option(
        "admin", "URL", "an admin.listeners of any node; AFFINITY_ADMIN, or http://127.0.0.1:8079")
}

extension Subcommand {
    static let settings = asking("settings", summary: "what operators have asked for") { _ in ("GET", "settings") }

    static let drain = asking("drain", "NODE", summary: "moves everything off a node") {
        ("PUT", "drained/\($0[0].segment)")
    }

    static let undrain = asking("undrain", "NODE", summary: "lets the node hold something again") {
        ("DELETE", "drained/\($0[0].segment)")
    }

    static let pause = asking("pause", summary: "moves nothing any more") { _ in ("PUT", "paused") }

    static let resume = asking("resume", summary: "moves again what has to be moved") { _ in ("DELETE", "paused") }

    static let pin = asking(
        "pin", "KEYSPACE PARTITION NODE…", words: 3...1_026,
        summary: "wants a partition on these nodes, the preferred master first"
    ) { ("PUT", "pins/\($0[0].segment)/\($0[1].segment)") }

    static let unpin = asking(
        "unpin", "KEYSPACE PARTITION", summary: "leaves the partition to the planner"
    ) { ("DELETE", "pins/\($0[0].segment)/\($0[1].segment)") }

    /// A command that asks for one thing below `/admin`, and prints what stands there then.
    private static func asking(
        _ name: String, _ arguments: String = "", words: ClosedRange<Int>? = nil, summary: String,
        _ request: @escaping @Sendable (_ words: [String]) -> (method: String, path: String)
    ) -> Subcommand {
        let count = arguments.split(separator: " ").count
        return Subcommand(
            name, arguments: arguments, words: words ?? count...count, summary, options: [.admin],
            details: """
                A system with a coordinator for many nodes is asked for it, through any of them. What is asked for is done
                in the background; `affinity status` shows how far it is. Prints what has been asked for then.
                """
        ) { call in
            let address = try call.address("admin", "AFFINITY_ADMIN", default: "http://127.0.0.1:8079")
            let (method, path) = request(call.words)
            var exchange = Exchange(address: address, method: method, path: "/admin/" + path)
            if call.words.count > 2 {
                exchange.headers = [("Content-Type", "application/json")]
                exchange.body = try Array(JSONEncoder().encode(Array(call.words[2...])))
            }
            let answer = try exchange.success()
            try printAnswer(answer, call, from: address) { try JSONDecoder().decode(Settings.self, from: $0).text }
        }
    }
}

/// Prints an answer for a program, or as `text` has it for a person.
func printAnswer(
    _ answer: Exchange.Answer, _ call: Invocation, from address: ServerAddress, _ text: (Data) throws -> String
) throws {
    do {
        print(try call.wantsJSON ? json(answer.body) : text(Data(answer.body)))
    } catch {
        throw Failure(.refused, "what \(address) answers cannot be read: is it an admin listener?")
    }
}

/// What operators have asked for, as a node answers it.
private struct Settings: Decodable {
    var drained: [String]
    var isPaused: Bool
    var pins: [String: [Int: [String]]]

    var text: String {
        var lines = [
            "drained: \(drained.isEmpty ? "none" : drained.joined(separator: " "))",
            "paused: \(isPaused ? "yes" : "no")",
        ]
        let pinned = pins.sorted { $0.key < $1.key }.flatMap { keyspace, partitions in
            partitions.sorted { $0.key < $1.key }.map { "pinned: \(keyspace) \($0) on \($1.joined(separator: " "))" }
        }
        lines += pinned.isEmpty ? ["pinned: none"] : pinned
        return lines.joined(separator: "\n")
    }
}
