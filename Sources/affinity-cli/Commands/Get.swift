import AffinityConfiguration
import Foundation

extension Option {
    static let url = Option(
        "url", "URL", "where the keys are; AFFINITY_URL, or http://127.0.0.1:8080/kv")
    static let timeout = Option("timeout", "DURATION", "how long the node may take, like 500ms or 2s; its own default")
}

extension Subcommand {
    static let get = Subcommand(
        "get", arguments: "KEY", words: 1...1, "prints the value of a key",
        options: [
            .url, .timeout,
            Option("stale", "DURATION", "takes the answer of a standby that is so far behind at most"),
            Option("position", "TOKEN", "waits until that Affinity-Position has been reached"),
            Option("if-none-match", "VERSION", "prints nothing, and exits with 1, if that is the version"),
        ],
        details: """
            Works with resources like those of the KeyValue example: the value of a key at URL/KEY, its version as ETag.
            --json prints key, version, position and value in one object.
            """
    ) { call in
        var exchange = try call.exchange("GET")
        if let lag = call["stale"] {
            exchange.headers += [("Affinity-Read", "stale"), ("Affinity-Max-Lag", lag)]
        }
        if let position = call["position"] { exchange.headers += [("Affinity-Position", position)] }
        if let version = call["if-none-match"] { exchange.headers += [("If-None-Match", tag(version))] }
        let answer = try exchange.answer()
        if answer.head.status == 304 { throw Failure(.refused, "it is still version \(answer.version ?? 0)") }
        guard answer.head.status == 200 else { throw exchange.refusal(answer) }
        if call.wantsJSON {
            print(try json(entry(call.words[0], answer)))
        } else {
            FileHandle.standardOutput.write(Data(answer.body + [UInt8(ascii: "\n")]))
        }
    }

    /// The value is in it as it stands, not as text, if it is JSON.
    private static func entry(_ key: String, _ answer: Exchange.Answer) throws -> [UInt8] {
        let value = try? JSONSerialization.jsonObject(with: Data(answer.body), options: .fragmentsAllowed)
        var members: [String: Any] = ["key": key, "value": value ?? String(decoding: answer.body, as: UTF8.self)]
        if let version = answer.version { members["version"] = version }
        if let position = answer.head["affinity-position"] { members["position"] = position }
        return Array(try JSONSerialization.data(withJSONObject: members))
    }

    /// A version as the tag of an entity: 17 as "17"; what is quoted already, and `*`, as it stands.
    static func tag(_ version: String) -> String {
        version == "*" || version.hasPrefix("\"") ? version : "\"\(version)\""
    }
}

extension Invocation {
    /// A request for the key that the first word names.
    func exchange(_ method: String) throws -> Exchange {
        let address = try address("url", "AFFINITY_URL", default: "http://127.0.0.1:8080/kv")
        var exchange = Exchange(address: address, method: method, path: "/" + words[0].segment)
        if let timeout = self["timeout"] {
            guard let limit = DurationText.parse(timeout), limit > .zero, limit <= .seconds(3600) else {
                throw Failure(.usage, "--timeout takes a time like 500ms or 2s, up to 1h")
            }
            exchange.headers = [("Affinity-Timeout", timeout)]
            // The node answers when its time is over; this is for one that does not.
            exchange.limit = limit + .seconds(5)
        }
        return exchange
    }
}
