import AffinityTestSupport
import Foundation
import Synchronization
import Testing

@Suite(.enabled(if: Chromium.isAvailable, "needs Chromium: scripts/setup installs it")) struct ConsoleTests {
    /// A text that would be seen if it became HTML anywhere.
    private static let evil = "<img src=x onerror=alert(1)>\"&'"
    /// What was told of a watched key, the newest first.
    private static let changes = "[...document.querySelectorAll('#changes code')].map((what) => what.textContent)"

    @Test func partitionsNodesAndRatesAreShownAsTheyChange() async throws {
        try await onThread {
            let service = try ServiceProcess.keyValue()
            let writer = Writer(service)
            let page = try Chromium("http://127.0.0.1:\(service.port)/console")
            try page.waitUntil("#live", says: "live")
            // Somebody writes all the time.
            try page.waitUntil("Number(document.getElementById('commands').textContent.replaceAll(',', '')) > 0")
            let html = try page.document
            #expect(html.contains("<span id=\"system\">demo</span>") && html.contains("4 of 4"))
            #expect(html.contains("n1 (this one)") && html.contains("127.0.0.1:7001"))
            for cell in ["\"role\">master<", "\"state\">serving<", "\"master\">n1<"] {
                #expect(html.components(separatedBy: "data-label=\(cell)").count == 5, "\(cell)")
            }
            #expect(page.exceptions == [])
            writer.stop()
            #expect(try service.stop() == 0)
        }
    }

    @Test func aKeyIsLookedUpAndWhatComesStaysText() async throws {
        try await onThread {
            let service = try ServiceProcess.keyValue()
            let client = try service.connect()
            let key = encoded(Self.evil + "/é")
            let value = "{ \"html\" : \"<b>bold</b><script>alert(1)</script>\", \"number\": 1.0 }"
            let put = try client.ask("PUT", "/kv/\(key)", json, body: value)
            #expect(put.status == 201)
            let page = try Chromium("http://127.0.0.1:\(service.port)/console#key=\(key)")
            try page.waitUntil("document.getElementById('found').textContent.startsWith('200: ')")
            let (version, partition) = (try #require(put.version), try #require(put.partition))
            #expect(try page.text("#found").hasPrefix("200: version \(version), partition \(partition) at "))
            // Byte for byte what was put there.
            #expect(try page.text("#value") == value)
            let html = try page.document
            #expect(!html.contains("<img") && !html.contains("<b>bold"))
            _ = try page.evaluate("location.hash = '#key=absent'")
            try page.waitUntil("document.getElementById('found').textContent.startsWith('404: nothing there')")
            #expect(page.exceptions == [])
            #expect(try service.stop() == 0)
        }
    }

    @Test func aKeyIsWatchedAsItChangesAndOverARestart() async throws {
        try await onThread {
            let first = try ServiceProcess.keyValue()
            let (port, key) = (first.port, Self.evil + "/é")
            func put(_ value: String) throws {
                let answer = try HTTPClient(port: port).ask("PUT", "/kv/\(encoded(key))", json: value)
                #expect([201, 204].contains(answer.status))
            }
            let page = try Chromium("http://127.0.0.1:\(port)/console")
            try page.waitUntil("#live", says: "live")
            try page.fill("#key", key)
            try page.click("#watch")
            try page.waitUntil("#watching", says: "watching, live")
            try page.waitUntil("\(Self.changes).length === 1")
            let evil = "{ \"html\" : \"<b>bold</b>\" }"
            try put(evil)
            for number in 1...10 { try put("\(number)") }
            #expect(try HTTPClient(port: port).ask("DELETE", "/kv/\(encoded(key))").status == 204)
            try page.waitUntil("\(Self.changes)[0] === 'deleted'")
            #expect(
                try page.list(Self.changes).reversed() == ["nothing there", evil] + (1...10).map(String.init) + [
                    "deleted"
                ])
            #expect(try !page.document.contains("<img"))

            // The page finds a service that has gone and come again, and nothing is missed or told twice.
            #expect(try first.stop() == 0)
            try page.waitUntil("document.getElementById('watching').textContent !== 'watching, live'")
            let place = ["--gateway.listeners", "http://127.0.0.1:\(port)"]
            let second = try ServiceProcess.keyValue(place, on: first.folder)
            try put("11")
            try page.waitUntil("\(Self.changes)[0] === '11'")
            #expect(try page.list(Self.changes).prefix(3) == ["11", "deleted", "10"])
            try page.waitUntil("#watching", says: "watching, live")

            // Where the service has lost what the page has seen, the page says so.
            #expect(try second.stop() == 0)
            let third = try ServiceProcess.keyValue(place)
            try page.waitUntil("\(Self.changes)[0] === 'nothing there'")
            #expect(try page.list(Self.changes)[1].hasPrefix("from here on anew"))

            // Nobody listens any longer behind a click.
            try page.click("#watch")
            try page.waitUntil("#watch", says: "Watch")
            try put("12")
            try page.fill("#key", "other")
            try page.click("#watch")
            try page.waitUntil("\(Self.changes).length === 1 && \(Self.changes)[0] === 'nothing there'")
            #expect(page.exceptions == [])
            #expect(try third.stop() == 0)
        }
    }

    @Test func allOfItFitsATelephone() async throws {
        try await onThread {
            let service = try ServiceProcess.keyValue()
            let writer = Writer(service)
            let page = try Chromium("http://127.0.0.1:\(service.port)/console#watch=ada")
            try page.waitUntil("#watching", says: "watching, live")
            for balance in [12, 42, 40] {
                let value = "{\"name\":\"Ada\",\"balance\":\(balance)}"
                #expect(try [201, 204].contains(service.connect().ask("PUT", "/kv/ada", json: value).status))
            }
            try page.waitUntil("\(Self.changes).length === 4")
            try page.waitUntil("Number(document.getElementById('commands').textContent.replaceAll(',', '')) > 0")
            for (name, width) in [("console", 1000), ("console-telephone", 390)] {
                try page.resize(width: width)
                #expect(try page.evaluate("document.documentElement.scrollWidth <= innerWidth") == "true", "\(width)")
                // CONSOLE_PICTURES=Docs makes the pictures of the documents anew.
                if let folder = ProcessInfo.processInfo.environment["CONSOLE_PICTURES"] {
                    try page.picture(to: "\(folder)/\(name).png")
                }
            }
            // Nor does a long name move what stands beside it.
            _ = try page.evaluate("location.hash = '#watch=' + 'x'.repeat(1000)")
            try page.waitUntil("\(Self.changes).length === 1")
            #expect(try page.evaluate("document.documentElement.scrollWidth <= innerWidth") == "true")
            writer.stop()
            #expect(try service.stop() == 0)
        }
    }
}

extension Chromium {
    /// The texts that an expression gives.
    fileprivate func list(_ expression: String) throws -> [String] {
        try JSONDecoder().decode([String].self, from: Data(try evaluate(expression).utf8))
    }
}

/// Writes and reads all the time, until it is stopped.
private final class Writer: Sendable {
    private let isDone = Atomic(false)

    init(_ service: ServiceProcess) {
        Thread.detachNewThread {
            guard let client = try? service.connect() else { return }
            var number = 0
            while !self.isDone.load(ordering: .relaxed) {
                number += 1
                _ = try? client.ask("PUT", "/kv/busy-\(number % 10)", json, body: "\(number)")
                _ = try? client.ask("GET", "/kv/busy-\(number % 7)")
            }
        }
    }

    func stop() { isDone.store(true, ordering: .relaxed) }
}
