import Foundation

/// Debian's Chromium without a window, on one page, told what to do by its DevTools protocol. Ends with the value.
package final class Chromium {
    private let child: Child
    private let folder: TemporaryFolder
    private let tools: WebSocketProbe
    private var number = 0
    /// What scripts of the page have thrown.
    package private(set) var exceptions: [String] = []

    private static let program = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].first(
        where: FileManager.default.isExecutableFile)

    /// Whether it is there; tests of pages are skipped where not, and a line says so.
    package static let isAvailable: Bool = {
        if program == nil { print("chromium is not installed (scripts/setup does it): pages are not looked at") }
        return program != nil
    }()

    /// Opens a page; it may still load when this returns.
    package init(_ url: String) throws {
        guard let program = Self.program else { throw Failure("there is no Chromium") }
        folder = try TemporaryFolder()
        child = try Child(
            program,
            [
                // Tests run as root in containers, where its sandbox cannot be made; the pages are our own.
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-extensions", "--disable-background-networking", "--disable-component-update",
                "--window-size=1000,1200", "--user-data-dir=\(folder.path)", "--remote-debugging-port=0", url,
            ], environment: ["HOME": folder.path])
        do {
            let line = try child.line { $0.text.contains("DevTools listening on ") }
            guard
                let port = line.text.split(separator: "/").dropFirst().first?.split(separator: ":").last.flatMap({
                    Int($0)
                })
            else { throw Failure("no port: \(line.text)") }
            tools = try WebSocketProbe(port: port, try Self.page(port, url))
            try call("Runtime.enable")
        } catch {
            child.send(SIGKILL)
            throw error
        }
    }

    deinit {
        child.send(SIGTERM)
        if (try? child.waitForExit(within: 10)) == nil { child.send(SIGKILL) }
    }

    /// The target of the page's WebSocket.
    private static func page(_ port: Int, _ url: String) throws -> String {
        struct Page: Decodable { let type: String, url: String, webSocketDebuggerUrl: String? }
        // The browser may write the rest in another way.
        let place = url.prefix { $0 != "#" && $0 != "?" }
        var found: String?
        try AffinityTestSupport.waitUntil("the page of the browser") {
            let pages = try JSONDecoder().decode([Page].self, from: Data(try list(port)))
            let page = pages.first { $0.type == "page" && $0.url.hasPrefix(place) }
            found = page?.webSocketDebuggerUrl.map { String($0.drop { $0 != ":" }.dropFirst(3).drop { $0 != "/" }) }
            return found != nil
        }
        return found ?? ""
    }

    /// What the browser says of its pages. Its headers are not written as ours are.
    private static func list(_ port: Int) throws -> [UInt8] {
        let client = try HTTPClient(port: port)
        try client.send(HTTPClient.request("GET", Array("/json/list".utf8)))
        var head = ""
        while !head.hasSuffix("\r\n\r\n") { head += String(decoding: try client.bytes(1), as: UTF8.self) }
        let length = head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
        guard let count = length.flatMap({ Int($0.drop { $0 != ":" }.dropFirst().filter { $0 != " " }) }) else {
            throw Failure("no length: \(head)")
        }
        return try client.bytes(count)
    }

    // MARK: - The page

    /// The value of an expression in the page, as JSON.
    package func evaluate(_ expression: String) throws -> String {
        let result = try call(
            "Runtime.evaluate", ["expression": "JSON.stringify(\(expression))", "returnByValue": true])
        guard let value = (result["result"] as? [String: Any])?["value"] as? String else {
            throw Failure("\(expression): \(result)")
        }
        return value
    }

    /// Waits until an expression is true in the page.
    package func waitUntil(_ expression: String, within seconds: Double = 60) throws {
        try AffinityTestSupport.waitUntil("\(expression); exceptions \(exceptions)", within: seconds) {
            // Not before the page is there.
            try evaluate("(() => { try { return Boolean(\(expression)) } catch { return false } })()") == "true"
        }
    }

    /// The text of an element.
    package func text(_ selector: String) throws -> String {
        try string("document.querySelector(\(Self.literal(selector))).textContent")
    }

    /// Waits until an element's text is that.
    package func waitUntil(_ selector: String, says text: String) throws {
        try waitUntil("document.querySelector(\(Self.literal(selector))).textContent === \(Self.literal(text))")
    }

    /// The page as HTML, as scripts have left it.
    package var document: String { get throws { try string("document.documentElement.outerHTML") } }

    /// Writes into a field, as somebody would.
    package func fill(_ selector: String, _ text: String) throws {
        _ = try evaluate(
            "(() => { const field = document.querySelector(\(Self.literal(selector))); "
                + "field.value = \(Self.literal(text)); "
                + "field.dispatchEvent(new Event('input', { bubbles: true })); return 1 })()")
    }

    /// Clicks.
    package func click(_ selector: String) throws {
        _ = try evaluate("(() => { document.querySelector(\(Self.literal(selector))).click(); return 1 })()")
    }

    /// Makes the window as wide as a telephone, or as something else.
    package func resize(width: Int) throws {
        try call(
            "Emulation.setDeviceMetricsOverride",
            ["width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600])
    }

    /// Writes what the page looks like, to its end, into a file: PNG.
    package func picture(to path: String) throws {
        let size = try ["innerWidth", "document.documentElement.scrollHeight"].map { Double(try evaluate($0)) ?? 0 }
        let result = try call(
            "Page.captureScreenshot",
            [
                "format": "png", "captureBeyondViewport": true,
                "clip": ["x": 0.0, "y": 0.0, "width": size[0], "height": size[1], "scale": 1.0],
            ])
        guard let data = (result["data"] as? String).flatMap({ Data(base64Encoded: $0) }) else {
            throw Failure("no picture")
        }
        try data.write(to: URL(fileURLWithPath: path))
    }

    private func string(_ expression: String) throws -> String {
        try JSONDecoder().decode(String.self, from: Data(try evaluate(expression).utf8))
    }

    /// A text as JavaScript has it.
    private static func literal(_ text: String) -> String {
        String(decoding: (try? JSONEncoder().encode(text)) ?? Data(), as: UTF8.self)
    }

    @discardableResult
    private func call(_ method: String, _ parameters: [String: Any] = [:]) throws -> [String: Any] {
        number += 1
        let request: [String: Any] = ["id": number, "method": method, "params": parameters]
        try tools.send(.text(String(decoding: try JSONSerialization.data(withJSONObject: request), as: UTF8.self)))
        while true {
            let text = try tools.frameButPings().payload
            guard let message = try JSONSerialization.jsonObject(with: Data(text)) as? [String: Any] else { continue }
            if message["method"] as? String == "Runtime.exceptionThrown" {
                exceptions.append("\(message["params"] ?? "")")
            }
            guard message["id"] as? Int == number else { continue }
            guard let result = message["result"] as? [String: Any] else { throw Failure("\(method): \(message)") }
            return result
        }
    }
}
