import Foundation

extension Subcommand {
    static let put = Subcommand(
        "put", arguments: "KEY [VALUE]", words: 1...2, "writes the value of a key; the standard input, without VALUE",
        options: [
            .url, .timeout,
            Option("if-match", "VERSION", "only if that is its version; * for any"),
            Option("if-none-match", "VERSION", "only if that is not its version; * only if there is none"),
            Option("idempotency-key", "TEXT", "writes once, however often the command is called with that text"),
            Option("content-type", "TYPE", "what the value is; application/json"),
        ],
        details: """
            Prints what became of it, with the new version. After exit code 4, call it again with the same
            --idempotency-key, or look with get.
            """
    ) { call in
        var exchange = try call.exchange("PUT")
        exchange.headers += [("Content-Type", call["content-type"] ?? "application/json")]
        for (option, name) in [("if-match", "If-Match"), ("if-none-match", "If-None-Match")] {
            if let version = call[option] { exchange.headers += [(name, tag(version))] }
        }
        if let key = call["idempotency-key"] { exchange.headers += [("Idempotency-Key", key)] }
        exchange.body = try value(call)
        let answer = try exchange.success()
        try show(answer, call)
    }

    private static func value(_ call: Invocation) throws -> [UInt8] {
        if call.words.count == 2 { return Array(call.words[1].utf8) }
        // A node takes no more than its own limit, which is lower unless somebody has raised it.
        let limit = 1 << 30
        var value = Data()
        while let part = try FileHandle.standardInput.read(upToCount: 1 << 20), !part.isEmpty {
            value += part
            if value.count > limit { throw Failure(.usage, "the value is longer than a node may be made to take") }
        }
        return Array(value)
    }

    private static func show(_ answer: Exchange.Answer, _ call: Invocation) throws {
        struct Written: Encodable {
            var key: String
            var isNew: Bool
            var isReplay: Bool
            var version: Int?
            var position: String?
        }
        let written = Written(
            key: call.words[0], isNew: answer.head.status == 201,
            isReplay: answer.head["idempotency-replayed"] == "true", version: answer.version,
            position: answer.head["affinity-position"])
        if call.wantsJSON { return print(try json(written)) }
        var text = written.isNew ? "new" : "replaced"
        if let version = written.version { text += ", version \(version)" }
        if written.isReplay { text += ", as answered before" }
        print(text)
    }
}
