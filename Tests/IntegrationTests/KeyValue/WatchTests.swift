import AffinityTestSupport
import Foundation
import Testing

extension KeyValueInterface {
    /// `WS /kv/{key}`.
    @Suite struct Watching {
        @Test func theEntryComesFirstAndThenEveryChange() throws {
            let client = try keyValue.connect()
            let value = "{ \"a\": 1,\n\t\"a\":2 , \"é\\u0041\":[1.0,1e1] }"
            let first = try client.put("watched-1", value)
            let watch = try keyValue.watch("watched-1")
            #expect(try watch.text() == "{\"version\":\(first),\"value\":\(value)}")
            let second = try client.put("watched-1", "\"two\"")
            #expect(try watch.text() == "{\"version\":\(second),\"value\":\"two\"}")
            // Others' changes are not its own; a value that stands is written again.
            try client.put("watched-1-other", "0")
            let third = try client.put("watched-1", "\"two\"")
            #expect(try watch.text() == "{\"version\":\(third),\"value\":\"two\"}")
            #expect(try client.ask("DELETE", "/kv/watched-1").status == 204)
            let removal = try watch.event()
            #expect(removal.isDeleted && removal.version > third)
            #expect(removal.text == "{\"version\":\(removal.version),\"deleted\":true}")
            let sum = try client.ask("POST", "/kv/watched-1/add", json, body: "{\"by\":7}")
            #expect(try watch.text() == "{\"version\":\(try #require(sum.version)),\"value\":7}")
        }

        @Test func aKeyWithoutEntryIsSaidToHaveNone() throws {
            let watch = try keyValue.watch("watched-2")
            #expect(try watch.text() == "{\"version\":0,\"deleted\":true}")
            let version = try keyValue.connect().put("watched-2", "1")
            #expect(try watch.text() == "{\"version\":\(version),\"value\":1}")
            #expect(try keyValue.connect().ask("DELETE", "/kv/watched-2").status == 204)
            #expect(try watch.event().isDeleted)
            #expect(try keyValue.watch("watched-2").text() == "{\"version\":0,\"deleted\":true}")
        }

        @Test func aWatchGoesOnBehindAVersion() throws {
            let client = try keyValue.connect()
            var versions: [UInt64] = []
            for number in 0..<10 {
                versions.append(try client.put("watched-3", "\(number)"))
                try client.put("watched-3-other-\(number)", "0")
            }
            for seen in [0, 4, 8] {
                let watch = try keyValue.watch("watched-3", after: "\(versions[seen])")
                for number in (seen + 1)..<10 {
                    #expect(try watch.text() == "{\"version\":\(versions[number]),\"value\":\(number)}")
                }
            }
            // Behind the last one nothing is to be told, until something happens.
            let watch = try keyValue.watch("watched-3", after: "\(versions[9])")
            #expect(try !watch.http.hasInput(within: 100))
            let next = try client.put("watched-3", "10")
            #expect(try watch.text() == "{\"version\":\(next),\"value\":10}")
        }

        @Test func aVersionThatNobodyWasGivenStartsOver() throws {
            let last = try keyValue.connect().put("watched-4", "4")
            var expected = last
            for after in ["\(Int64.max)", "\(last + 1_000_000)"] {
                let watch = try keyValue.watch("watched-4", after: after)
                #expect(try watch.text() == "{\"reset\":true}", "\(after)")
                #expect(try watch.text() == "{\"version\":\(expected),\"value\":4}")
                expected = try keyValue.connect().put("watched-4", "4")
                #expect(try watch.text() == "{\"version\":\(expected),\"value\":4}")
            }
        }

        @Test func theSeenAbsenceCanBeGoneOnFrom() throws {
            #expect(try keyValue.watch("watched-5").event().version == 0)
            let version = try keyValue.connect().put("watched-5", "5")
            let watch = try keyValue.watch("watched-5", after: "0")
            // Either every change since ever, or the entry behind a reset.
            var event = try watch.event()
            if event.isReset { event = try watch.event() }
            #expect(event.version == version)
        }

        @Test func whatIsWrongIsRefusedBeforeTheUpgrade() throws {
            let key = String(repeating: "k", count: 1025)
            for (target, status) in [
                ("/kv/watched-6?after=", 400), ("/kv/watched-6?after=x", 400), ("/kv/watched-6?after=-1", 400),
                ("/kv/watched-6?after=1.0", 400),
                ("/kv/watched-6?after=017", 400), ("/kv/watched-6?after=%201", 400),
                ("/kv/watched-6?after=9223372036854775808", 400),
                ("/kv/watched-6?after=18446744073709551617", 400), ("/kv/watched-6?after=1&after=1", 400),
                ("/kv/watched-6?since=1", 400),
                ("/kv/watched-6?after=1&x=", 400), ("/kv/\(key)", 400), ("/kv/%zz", 400), ("/kv/%FF", 400),
                ("/kv/", 404),
                ("/nothing", 404),
            ] {
                let client = try keyValue.connect()
                try client.send(WebSocketProbe.handshake(target))
                let answer = try client.answer()
                #expect(answer.status == status, "\(target): \(answer)")
                #expect(answer["Content-Type"] == "application/problem+json", "\(target)")
            }
        }

        @Test func badHandshakesAreRefused() throws {
            let good = [
                ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ]
            for (name, value, status) in [
                ("Sec-WebSocket-Version", "12", 426), ("Sec-WebSocket-Key", "short", 400), ("Connection", "close", 400),
            ] {
                let headers = good.map { $0.0 == name ? (name, value) : $0 }
                let answer = try keyValue.connect().ask("GET", "/kv/watched-7", headers)
                #expect(answer.status == status, "\(answer)")
                if status == 426 { #expect(answer["Sec-WebSocket-Version"] == "13") }
            }
            // Without an upgrade it is a read, which knows no `after`.
            #expect(try keyValue.connect().ask("GET", "/kv/watched-7").status == 404)
            #expect(try keyValue.connect().ask("GET", "/kv/watched-7?after=1").status == 400)
            #expect(try keyValue.connect().ask("GET", "/kv/watched-7", [("Accept", "text/event-stream")]).status == 404)
        }

        @Test func onlyPagesOfTheSameOriginMayOpenIt() throws {
            let port = try keyValue.port
            #expect(throws: Failure.self) {
                try WebSocketProbe(port: port, "/kv/watched-8", [("Origin", "http://evil.example")])
            }
            #expect(throws: Failure.self) { try WebSocketProbe(port: port, "/kv/watched-8", [("Origin", "null")]) }
            // The probe says that it asks localhost.
            let watch = try WebSocketProbe(port: port, "/kv/watched-8", [("Origin", "http://localhost")])
            #expect(try watch.text() == "{\"version\":0,\"deleted\":true}")
        }

        @Test func keysAreTakenAsWithOtherMethods() throws {
            for key in ["a%2Fb", "%00", "%F0%9F%98%80", "a%20b", "a+b"] {
                let version = try keyValue.connect().put("watched-9\(key)", "9")
                #expect(
                    try keyValue.watch("watched-9\(key)").text() == "{\"version\":\(version),\"value\":9}", "\(key)")
            }
        }

        @Test func dataFromTheClientClosesAndControlFramesDoNot() throws {
            for data in [WebSocketProbe.Frame.text("{}"), .binary([1]), .text("")] {
                let watch = try keyValue.watch("watched-10")
                _ = try watch.text()
                try watch.send(.ping([1, 2]))
                #expect(try watch.frame() == .pong([1, 2]))
                try watch.send(.pong([]))
                try watch.send(data)
                #expect(try watch.frame().closeCode == 1003)
            }
            let unfinished = try keyValue.watch("watched-10")
            _ = try unfinished.text()
            try unfinished.send(1, [65], final: false)
            #expect(try unfinished.frame().closeCode == 1003)
            let watch = try keyValue.watch("watched-10")
            _ = try watch.text()
            try watch.send(.close(1000))
            #expect(try watch.closeCode() == 1000)
        }

        @Test func aClientThatReadsTooSlowlyIsClosed() throws {
            let service = try ServiceProcess.keyValue(["--gateway.watch.changes", "20"])
            let watch = try WebSocketProbe(port: service.port, "/kv/watched-11", receiveBuffer: 4096)
            #expect(try watch.text() == "{\"version\":0,\"deleted\":true}")
            let client = try service.connect()
            let value = "\"" + String(repeating: "x", count: 128 << 10) + "\""
            var last: UInt64 = 0
            for _ in 0..<100 { last = try client.put("watched-11", value) }
            // What it gets is in order, and ends with the code; then it goes on where it was.
            var seen: UInt64 = 0
            var frame = try watch.frameButPings()
            while frame.opcode == 1 {
                let version = try WatchedEvent(frame.text).version
                #expect(version > seen)
                seen = version
                frame = try watch.frameButPings()
            }
            #expect(frame.closeCode == 1013 && seen > 0 && seen < last)
            let resumed = try WebSocketProbe(port: service.port, "/kv/watched-11?after=\(seen)")
            while seen < last {
                let event = try resumed.event()
                try #require(
                    event.version > seen && !event.isReset, "\(event.text.prefix(100)) after \(seen) of \(last)")
                seen = event.version
            }
            #expect(try service.stop() == 0)
        }

        /// Reads what is told in order, up to the close frame.
        private static func readToTheEnd(_ watch: WebSocketProbe) throws -> (seen: UInt64, code: Int?) {
            var seen: UInt64 = 0
            var frame = try watch.frameButPings()
            while frame.opcode == 1 {
                let version = try WatchedEvent(frame.text).version
                try #require(version > seen)
                seen = version
                frame = try watch.frameButPings()
            }
            return (seen, frame.closeCode)
        }

        /// Too much waits for it, or it takes nothing for too long: either way it finds why, when it reads on.
        @Test(arguments: [
            ["--gateway.watch.changes", "20"],
            ["--gateway.watch.changes", "1000000", "--gateway.watch.bytes", "1GiB", "--gateway.websocket.write", "5s"],
        ]) func aClientThatStopsReadingFindsTheEndWhenItReadsOn(options: [String]) throws {
            let service = try ServiceProcess.keyValue(options)
            let watch = try WebSocketProbe(port: service.port, "/kv/watched-15", receiveBuffer: 4096)
            #expect(try watch.text() == "{\"version\":0,\"deleted\":true}")
            let client = try service.connect()
            let value = "\"" + String(repeating: "x", count: 128 << 10) + "\""
            var last: UInt64 = 0
            // It is given up before it reads on.
            try service.waitUntil {
                last = try client.put("watched-15", value)
                return try client.metrics().sum("affinity_observers") == 0
            }
            let (seen, code) = try Self.readToTheEnd(watch)
            #expect(code == 1013 && seen > 0 && seen < last)
            try watch.send(.close(1013))
            #expect(try watch.http.isAtEnd())
            #expect(try service.stop() == 0)
        }

        @Test func aLongWayBehindEveryChangeComesOnceAndInOrder() throws {
            let service = try ServiceProcess.keyValue(["--gateway.watch.bytes", "1MiB"])
            let client = try service.connect()
            let first = try client.put("watched-16", "0")
            var versions: [UInt64] = []
            let value = String(repeating: "x", count: 256 << 10)
            for number in 0..<160 {
                versions.append(try client.put("watched-16", "\"\(number)\(value)\""))
                try client.put("watched-16-\(number)", "0")
            }
            let watches = try (0..<2).map { _ in try service.watch("watched-16", after: "\(first)") }
            for (number, version) in versions.enumerated() {
                for watch in watches {
                    let event = try watch.event()
                    try #require(!event.isReset && event.version == version, "\(event.text.prefix(50)) as \(number)")
                }
                // Somebody writes on.
                if number % 20 == 0 {
                    let next = try client.put("watched-16", "\"\(number)\"")
                    versions.append(next)
                }
            }
            for version in versions.dropFirst(160) {
                for watch in watches { #expect(try watch.event().version == version) }
            }
            let next = try client.put("watched-16", "1")
            for watch in watches { #expect(try watch.text() == "{\"version\":\(next),\"value\":1}") }
            #expect(try service.stop() == 0)
        }

        @Test func aNodeThatDrainsSaysSoAndTheWatchGoesOnAfterARestart() throws {
            let service = try ServiceProcess.keyValue(["--keyspaces.kv.memstore", "rocksdb"])
            let watch = try service.watch("watched-12")
            let version = try service.connect().put("watched-12", "1")
            #expect(try watch.event().version == 0 && watch.event().version == version)
            service.child.send(SIGTERM)
            #expect(try watch.closeCode() == 1001)
            #expect(try service.child.waitForExit() == 0)
            let again = try ServiceProcess.keyValue(["--keyspaces.kv.memstore", "rocksdb"], on: service.folder)
            let resumed = try again.watch("watched-12", after: "\(version)")
            let next = try again.connect().put("watched-12", "2")
            var event = try resumed.event()
            // It may not know any longer what was before it was started.
            if event.isReset {
                event = try resumed.event()
                if event.version == version { event = try resumed.event() }
            }
            #expect(event.version == next)
            #expect(try again.stop() == 0)
        }

        @Test func aThousandWatchersOfOneKeySeeEachChange() throws {
            let watches = try (0..<1000).map { _ in try keyValue.watch("watched-13") }
            for watch in watches { #expect(try watch.event().version == 0) }
            let client = try keyValue.connect()
            for number in 0..<3 {
                let version = try client.put("watched-13", "\(number)")
                for watch in watches { #expect(try watch.text() == "{\"version\":\(version),\"value\":\(number)}") }
            }
        }

        @Test func clientsThatVanishLeaveNothingBehind() throws {
            let client = try keyValue.connect()
            for _ in 0..<300 {
                let watch = try keyValue.connect()
                try watch.send(WebSocketProbe.handshake("/kv/watched-14"))
            }
            for number in 0..<50 { try client.put("watched-14", "\(number)") }
            #expect(try keyValue.watch("watched-14").event().version > 0)
        }
    }
}

extension ServiceProcess {
    /// Watches a key.
    func watch(_ key: String, after: String? = nil) throws -> WebSocketProbe {
        try WebSocketProbe(port: port, "/kv/\(key)" + (after.map { "?after=\($0)" } ?? ""))
    }
}

/// What a watcher is told.
struct WatchedEvent {
    private struct Members: Decodable { var version: UInt64?, deleted: Bool?, reset: Bool? }
    let text: String
    let version: UInt64
    let isDeleted: Bool
    let isReset: Bool

    init(_ text: String) throws {
        let members = try JSONDecoder().decode(Members.self, from: Data(text.utf8))
        self.text = text
        version = members.version ?? 0
        isDeleted = members.deleted ?? false
        isReset = members.reset ?? false
    }
}

extension WebSocketProbe {
    /// The next message, which is text.
    func text() throws -> String {
        let frame = try frameButPings()
        guard frame.opcode == 1, frame.isFinal else { throw Failure("no text: \(frame)") }
        return frame.text
    }

    func event() throws -> WatchedEvent { try WatchedEvent(text()) }
}

extension HTTPClient {
    /// Puts a value, and gives its version.
    @discardableResult
    func put(_ key: String, _ value: String) throws -> UInt64 {
        let answer = try ask("PUT", "/kv/\(key)", json: value)
        guard let version = answer.version else { throw Failure("put: \(answer)") }
        return version
    }
}
