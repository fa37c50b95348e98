import AffinityNet
import AffinityTestSupport
import Foundation
import Testing

/// Clients in processes of their own, written in Python.
@Suite struct ForeignClientTests {
    /// Looks where Debian puts it: to ask Python would hold one of the few threads that all tests share.
    static func has(_ library: String) -> Bool {
        let isThere = FileManager.default.fileExists(atPath: "/usr/lib/python3/dist-packages/\(library)")
        if !isThere { print("skipped: there is no Debian package python3-\(library); scripts/setup installs it") }
        return isThere
    }

    @Test(.enabled(if: has("websockets"), "scripts/setup installs Python's websockets"))
    func websockets() async throws { try await speak("websockets") }

    @Test(.enabled(if: has("aiohttp"), "scripts/setup installs Python's aiohttp"))
    func aiohttp() async throws { try await speak("aiohttp") }

    private func speak(_ library: String) async throws {
        for keepsContext in [false, true] {
            var configuration = WebSocketConfiguration()
            configuration.deflate = WebSocketDeflate()
            configuration.deflate?.keepsContext = keepsContext
            let echoing = webSocketEcho(configuration)
            let handler: HTTPHandler = { request in
                guard request.target == "/stream" else { return await echoing(request) }
                return .stream { body in
                    for number in 0..<3 {
                        body.send("data: \(number)\n\n")
                        await Task.yield()
                    }
                }
            }
            try await withServer(handler: handler) { port, _ throws in
                let client = try Child("/usr/bin/python3", [Self.path("foreign.py"), "\(port)", library])
                // A sanitizer makes much of it slow.
                #expect(try client.waitForExit(within: 300) == 0)
                #expect(client.text == "well spoken")
            }
        }
    }

    /// Ten thousand that do nothing, each for little memory; and then each is there.
    @Test func tenThousandIdleConnections() async throws {
        let count = 10_000
        try await withEcho(server: { $0.connectionLimit = count + 10 }) { port, server throws in
            let before = try Self.residentBytes()
            let client = try Child(
                "/bin/sh",
                [
                    "-c", "ulimit -n 20000 && exec /usr/bin/python3 \"$@\"", "sh", Self.path("idle.py"), "\(port)",
                    "\(count)",
                ])
            defer { try? client.killNow() }
            try client.line { $0.text == "open \(count)" }
            #expect(server.openConnections == count)
            let each = (try Self.residentBytes() - before) / count
            print("an idle WebSocket takes \(each) bytes, with what other tests took meanwhile")
            // A sanitizer keeps a shadow of everything.
            if !Self.isSanitized { #expect(each <= 20 * 1024) }
            client.send(SIGUSR1)
            try client.line { $0.text == "all echo" }
            #expect(server.openConnections == count)
            client.send(SIGUSR1)
            #expect(try client.waitForExit() == 0)
        }
    }

    private static func path(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Clients/\(name)").path
    }

    private static var isSanitized: Bool {
        ["__asan_init", "__tsan_init"].contains { (name: String) in dlsym(nil, name) != nil }
    }

    /// What this process holds of the machine's memory.
    private static func residentBytes() throws -> Int {
        let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
        return (Int(pages[1]) ?? 0) * 4096
    }
}
