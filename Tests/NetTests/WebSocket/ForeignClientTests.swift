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
        return isThere && canStart
    }

    /// Foundation reads beyond the entries of a folder when it starts a process (`findMaximumOpenFromProcSelfFD`), which a
    /// sanitizer does not let pass.
    static var canStart: Bool {
        if isSanitized { print("skipped: Foundation cannot start a process under a sanitizer") }
        return !isSanitized
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
                let result = try Self.run([Self.path("foreign.py"), "\(port)", library])
                #expect(result.output == "well spoken\n", "\(result.output)")
            }
        }
    }

    /// Ten thousand that do nothing, each for little memory; and then each is there.
    @Test(.enabled(if: canStart)) func tenThousandIdleConnections() async throws {
        let count = 10_000
        try await withEcho(server: { $0.connectionLimit = count + 10 }) { port, server throws in
            let before = try Self.residentBytes()
            let client = Process()
            let (input, output) = (Pipe(), Pipe())
            client.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            client.arguments = [
                "sh", "-c", "ulimit -n 20000 && exec /usr/bin/python3 \"$@\"", "sh", Self.path("idle.py"), "\(port)",
                "\(count)",
            ]
            client.standardInput = input
            client.standardOutput = output
            try client.run()
            defer {
                try? input.fileHandleForWriting.close()
                client.waitUntilExit()
            }
            #expect(Self.line(output) == "open \(count)")
            #expect(server.openConnections == count)
            let each = (try Self.residentBytes() - before) / count
            print("an idle WebSocket takes \(each) bytes, with what other tests took meanwhile")
            #expect(each <= 20 * 1024)
            input.fileHandleForWriting.write(Data("\n".utf8))
            #expect(Self.line(output) == "all echo")
            #expect(server.openConnections == count)
        }
    }

    private static func path(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Clients/\(name)").path
    }

    private static func line(_ pipe: Pipe) -> String {
        var line: [UInt8] = []
        while let byte = bytes(pipe, atMost: 1).first, byte != 10 { line.append(byte) }
        return String(decoding: line, as: UTF8.self)
    }

    /// None at the end. Not by Foundation, which ends the process when a signal interrupts the call.
    private static func bytes(_ pipe: Pipe, atMost limit: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            var result = 0
            repeat {
                result = read(pipe.fileHandleForReading.fileDescriptor, buffer.baseAddress, limit)
            } while result < 0
                && errno == EINTR
            count = max(0, result)
        }
    }

    private static func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["/usr/bin/python3"] + arguments
        process.standardOutput = output
        process.standardError = output
        try process.run()
        var said: [UInt8] = []
        while case let part = bytes(output, atMost: 4096), !part.isEmpty { said += part }
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: said, as: UTF8.self))
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
