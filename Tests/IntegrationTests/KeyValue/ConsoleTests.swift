import AffinityTestSupport
import Foundation
import Synchronization
import Testing

@Suite(.enabled(if: PageDump.isAvailable, "needs Chromium: scripts/setup installs it")) struct ConsoleTests {
    /// A text that would be seen if it became HTML anywhere.
    private static let evil = "<img src=x onerror=alert(1)>\"&'"

    @Test func partitionsNodesAndRatesAreShownAsTheyChange() throws {
        let service = try ServiceProcess.keyValue()
        let isDone = Flag()
        let writer = Thread {
            guard let client = try? service.connect() else { return }
            while !isDone.isSet { _ = try? client.ask("PUT", "/kv/busy", json, body: "1") }
        }
        writer.start()
        defer { isDone.set() }
        let page = try PageDump.document(of: "http://127.0.0.1:\(service.port)/console")
        #expect(page.contains("<span id=\"system\">demo</span>") && page.contains("role=\"status\">live<"))
        #expect(page.contains("4 of 4") && page.contains("n1 (this one)") && page.contains("127.0.0.1:7001"))
        for cell in ["\"role\">master<", "\"state\">serving<", "\"master\">n1<"] {
            #expect(page.components(separatedBy: "data-label=\(cell)").count == 5, "\(cell)")
        }
        let rate = try #require(page.firstMatch(of: /<b id="commands">([0-9.,]+)<\/b>/)).1
        let digits = String(rate.filter { $0 != "," })
        #expect(try #require(Double(digits)) > 0, "somebody writes all the time")
        isDone.set()
        #expect(try service.stop() == 0)
    }

    @Test func aKeyIsLookedUpAndWhatComesStaysText() throws {
        let service = try ServiceProcess.keyValue()
        let client = try service.connect()
        let key = encoded(Self.evil + "/é")
        let value = "{ \"html\" : \"<b>bold</b><script>alert(1)</script>\", \"number\": 1.0 }"
        let put = try client.ask("PUT", "/kv/\(key)", json, body: value)
        #expect(put.status == 201)
        let page = try PageDump.document(of: "http://127.0.0.1:\(service.port)/console#key=\(key)")
        #expect(
            page.contains("200: version \(try #require(put.version)), partition \(try #require(put.partition)) at "))
        // As it stands in the document's text: byte for byte what was put there.
        let text = value.replacing("<", with: "&lt;").replacing(">", with: "&gt;")
        #expect(page.contains("<pre id=\"value\">\(text)</pre>"), "\(page)")
        #expect(!page.contains("<img") && !page.contains("<b>bold"))
        let absent = try PageDump.document(of: "http://127.0.0.1:\(service.port)/console#key=absent")
        #expect(absent.contains("404: nothing there"))
        #expect(try service.stop() == 0)
    }
}

private final class Flag: Sendable {
    private let value = Atomic(false)

    var isSet: Bool { value.load(ordering: .relaxed) }

    func set() { value.store(true, ordering: .relaxed) }
}
