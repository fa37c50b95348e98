import AffinityTestSupport
import Foundation
import Testing

/// Watching the bank: typed values, event streams, prefixes and queries.
@Suite struct BankWatchTests {
    /// Runs `body` with a bank that has ten in `north:1`.
    private func withBank(
        _ arguments: [String] = [], stops: Bool = true,
        _ body: @escaping @Sendable (ServiceProcess, HTTPClient) throws -> Void
    ) async throws {
        try await onThread {
            let bank = try ServiceProcess.bank(arguments)
            let client = try bank.connect()
            try client.deposit("north:1", 1000)
            try body(bank, client)
            if stops { bank.child.send(SIGTERM) }
            #expect(try bank.child.waitForExit() == 0)
        }
    }

    @Test func aSocketTellsTypedValues() async throws {
        try await withBank { bank, client in
            let watch = try WebSocketProbe(port: bank.port, "/accounts/north:1")
            let first = try watch.event()
            #expect(first.text == "{\"version\":\(first.version),\"value\":{\"cents\":1000,\"movements\":1}}")
            try client.deposit("north:1", 1)
            let second = try watch.event()
            #expect(
                second.text.hasSuffix("\"value\":{\"cents\":1001,\"movements\":2}}") && second.version > first.version)
            let resumed = try WebSocketProbe(port: bank.port, "/accounts/north:1?after=\(first.version)")
            #expect(try resumed.text() == second.text)
            #expect(throws: Failure.self) { try WebSocketProbe(port: bank.port, "/accounts/north") }
        }
    }

    @Test func anEventStreamTellsTheSameAndGoesOn() async throws {
        try await withBank { bank, client in
            let stream = try EventStreamProbe(bank.port, "/accounts/north:1")
            #expect(
                stream.answer["Content-Type"] == "text/event-stream" && stream.answer["Cache-Control"] == "no-store")
            #expect(stream.answer["X-Accel-Buffering"] == "no")
            let first = try stream.event()
            #expect(first.data == "{\"version\":\(first.id ?? ""),\"value\":{\"cents\":1000,\"movements\":1}}")
            for cents in 1...3 { try client.deposit("north:1", cents) }
            let rest = try (0..<3).map { _ in try stream.event() }
            #expect(rest.map { $0.data?.contains("\"movements\":") } == [true, true, true])
            #expect(stream.retry == "1000")
            // As a browser comes again: with the address that it had, and what it has seen last.
            for (target, headers) in [
                ("/accounts/north:1", [("Last-Event-ID", rest[0].id ?? "")]),
                ("/accounts/north:1?after=\(first.id ?? "")", [("Last-Event-ID", rest[0].id ?? "")]),
                ("/accounts/north:1?after=\(rest[0].id ?? "")", []),
            ] {
                let resumed = try EventStreamProbe(bank.port, target, headers)
                #expect(try (0..<2).map { _ in try resumed.event() } == Array(rest[1...]))
            }
            let anew = try EventStreamProbe(bank.port, "/accounts/north:1", [("Last-Event-ID", "\(Int64.max)")])
            #expect(try anew.event().data == "{\"reset\":true}")
            #expect(try anew.event().data == rest[2].data)
        }
    }

    @Test func badPlacesToGoOnAreRefused() async throws {
        try await withBank { bank, _ in
            for (target, headers, status) in [
                ("/accounts/north:1?after=x", [], 400), ("/accounts/north:1?since=1", [], 400),
                ("/accounts/north:1", [("Last-Event-ID", "-1")], 400),
                ("/accounts/north:1", [("Last-Event-ID", "1"), ("Last-Event-ID", "2")], 400),
                ("/accounts/north", [], 404), ("/branches/north?after=1", [], 400),
                ("/branches/north?after=1:x", [], 400), ("/branches/north", [("Last-Event-ID", "1:2,1:3")], 400),
            ] {
                let client = try bank.connect()
                let answer = try client.ask("GET", target, [("Accept", "text/event-stream")] + headers)
                #expect(answer.status == status && answer["Content-Type"] == "application/problem+json", "\(target)")
            }
        }
    }

    @Test func heartbeatsComeWhenNothingElseDoes() async throws {
        try await withBank(["--gateway.watch.heartbeat", "20ms"]) { bank, _ in
            let stream = try EventStreamProbe(bank.port, "/accounts/north:1")
            _ = try stream.event()
            try waitUntil("heartbeats") {
                _ = try stream.line()
                return stream.comments >= 3
            }
        }
    }

    @Test func streamsThatVanishAndDrainEnd() async throws {
        try await withBank(stops: false) { bank, client in
            for _ in 0..<100 { _ = try EventStreamProbe(bank.port, "/accounts/north:1") }
            for cents in 1...50 { try client.deposit("north:1", cents) }
            let stream = try EventStreamProbe(bank.port, "/accounts/north:1")
            _ = try stream.event()
            bank.child.send(SIGTERM)
            // It ends as a body does, so that the client knows that nothing is missing.
            while try stream.line() != nil {}
        }
    }

    @Test func aPrefixIsToldByPartitions() async throws {
        try await withBank { bank, client in
            try client.deposit("north:2", 5)
            try client.deposit("northern:1", 7)
            let watch = try WebSocketProbe(port: bank.port, "/branches/north")
            var keys: Set<String> = []
            var levels: [Int: UInt64] = [:]
            while levels.count < 4 {
                let event = try BranchEvent(watch.text())
                if event.level == true {
                    levels[event.partition] = event.version
                } else if let key = event.key {
                    keys.insert(key)
                }
            }
            #expect(keys == ["north:1", "north:2"])
            try client.deposit("north:2", 1)
            let change = try BranchEvent(watch.text())
            #expect(change.key == "north:2" && change.value?.cents == 6)
            // Goes on behind what it has seen of each partition.
            levels[change.partition] = change.version
            try client.deposit("north:1", 1)
            let token = levels.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }.joined(separator: ",")
            let resumed = try WebSocketProbe(port: bank.port, "/branches/north?after=\(token)")
            let next = try BranchEvent(resumed.text())
            #expect(next.key == "north:1" && next.value?.cents == 1001 && next.version > change.version)
            // An event stream has the same as its id.
            let stream = try EventStreamProbe(bank.port, "/branches/north", [("Last-Event-ID", token)])
            let event = try stream.event()
            #expect(event.data?.contains("\"key\":\"north:1\"") == true)
            let id = try stream.event().id
            #expect(id?.contains("\(next.partition):\(next.version)") == true && id?.split(separator: ",").count == 4)
        }
    }

    @Test func aQueryIsRunAgainWhenItsReplyMayHaveChanged() async throws {
        try await withBank { bank, client in
            let watch = try WebSocketProbe(port: bank.port, "/accounts/north:1/movements")
            #expect(try watch.text() == #"[{"balance":1000,"cents":1000}]"#)
            try client.deposit("north:2", 1)
            try client.deposit("north:1", 5)
            #expect(try watch.text() == #"[{"balance":1005,"cents":5},{"balance":1000,"cents":1000}]"#)
            #expect(try !watch.http.hasInput(within: 50))
            #expect(try client.ask("GET", "/accounts/north:1/movements").status == 200)
        }
    }

    @Test func anOpenPageOfAnotherOriginNeedsToBeAllowed() async throws {
        let shop = "https://shop.example"
        try await withBank(["--gateway.cors.origins", shop]) { bank, client in
            let watch = try WebSocketProbe(port: bank.port, "/accounts/north:1", [("Origin", shop)])
            #expect(try watch.event().version > 0)
            let stream = try EventStreamProbe(bank.port, "/accounts/north:1", [("Origin", shop)])
            #expect(stream.answer["Access-Control-Allow-Origin"] == shop)
            #expect(
                try client.ask("GET", "/accounts/north:1", [("Origin", shop)])["Access-Control-Allow-Origin"] == shop)
        }
    }
}

/// What a watcher of a branch is told.
private struct BranchEvent: Decodable {
    struct Value: Decodable { let cents: Int }
    let partition: Int
    let version: UInt64
    let key: String?
    let value: Value?
    let level: Bool?

    init(_ text: String) throws { self = try JSONDecoder().decode(BranchEvent.self, from: Data(text.utf8)) }
}

extension HTTPClient {
    fileprivate func deposit(_ account: String, _ cents: Int) throws {
        let answer = try ask("POST", "/accounts/\(account)/deposit", json: "{\"cents\":\(cents)}")
        guard answer.status == 200 else { throw Failure("deposit: \(answer)") }
    }
}

/// Reads Server-Sent Events.
private final class EventStreamProbe {
    struct Event: Equatable {
        var id: String?
        var data: String?
    }

    let answer: HTTPClient.Answer
    private(set) var comments = 0
    private(set) var retry: String?
    private let http: HTTPClient
    private var text = ""

    init(_ port: Int, _ target: String, _ headers: [(String, String)] = []) throws {
        http = try HTTPClient(port: port)
        try http.send(HTTPClient.request("GET", Array(target.utf8), [("Accept", "text/event-stream")] + headers))
        answer = try http.answer()
        guard answer.status == 200 else { throw Failure("no stream: \(answer)") }
    }

    /// The next line, without its end; `nil` at the end of the body.
    func line() throws -> String? {
        while true {
            if let end = text.firstIndex(of: "\n") {
                let line = String(text[..<end])
                text = String(text[text.index(after: end)...])
                if line.hasPrefix(":") { comments += 1 }
                if line.hasPrefix("retry: ") { retry = String(line.dropFirst(7)) }
                return line
            }
            guard let chunk = try http.chunk() else { return nil }
            text += String(decoding: chunk, as: UTF8.self)
        }
    }

    /// The next event that has data or an id.
    func event() throws -> Event {
        var event = Event()
        while let line = try line() {
            if line.hasPrefix("id: ") { event.id = String(line.dropFirst(4)) }
            if line.hasPrefix("data: ") {
                event.data = [event.data, String(line.dropFirst(6))].compactMap(\.self).joined(separator: "\n")
            }
            if line.isEmpty, event != Event() { return event }
        }
        throw Failure("the stream has ended")
    }
}
