import AffinityTestSupport
import Foundation
import Glibc
import Testing

/// `affinity get` and `affinity put`.
@Suite(KeyValueTrait()) struct ValueCommands {
    private var url: [String: String] {
        get throws { ["AFFINITY_URL": "http://127.0.0.1:\(try keyValue.port)/kv"] }
    }

    @Test func whatIsPutIsGot() throws {
        let url = try url
        #expect(try affinity("get", "tool/a b", environment: url).exit == 1)
        let new = try affinity("put", "tool/a b", #"{"x": [1, "ä"]}"#, environment: url)
        #expect(new.exit == 0 && new.text.hasPrefix("new, version "), "\(new)")
        #expect(try affinity("get", "tool/a b", environment: url) == (#"{"x": [1, "ä"]}"#, 0))
        #expect(try affinity("put", "tool/a b", "7", environment: url).text.hasPrefix("replaced, version "))
        #expect(try keyValue.connect().ask("GET", "/kv/tool%2Fa%20b").text == "7")
    }

    @Test func programsGetOneObject() throws {
        struct Written: Decodable { var key: String, isNew: Bool, isReplay: Bool, version: Int, position: String }
        struct Entry: Decodable { var key: String, version: Int, value: [Int], position: String }
        let url = try url
        let written: Written = try parsed(try affinity("--json", "put", "tool-json", "[1,2]", environment: url).text)
        #expect(written.isNew && !written.isReplay && written.key == "tool-json")
        let entry: Entry = try parsed(
            try affinity("get", "tool-json", "--json", "--position", written.position, environment: url).text)
        #expect(entry.value == [1, 2] && entry.version == written.version)
    }

    @Test func conditionsThatDoNotHoldChangeNothing() throws {
        struct Written: Decodable { var version: Int }
        let url = try url
        #expect(try affinity("put", "tool-cas", "1", "--if-match", "*", environment: url).exit == 1)
        let first = try affinity("put", "tool-cas", "1", "--if-none-match", "*", "--json", environment: url)
        let version = try parsed(first.text, as: Written.self).version
        let refused = try affinity("put", "tool-cas", "2", "--if-none-match", "*", environment: url)
        #expect(refused.exit == 1 && refused.text.hasPrefix("affinity: 412: "), "\(refused)")
        #expect(try affinity("put", "tool-cas", "2", "--if-match", "\(version + 1)", environment: url).exit == 1)
        #expect(try affinity("get", "tool-cas", environment: url).text == "1")
        let same = try affinity("get", "tool-cas", "--if-none-match", "\(version)", environment: url)
        #expect(same == ("affinity: it is still version \(version)", 1))
        #expect(try affinity("put", "tool-cas", "2", "--if-match", "\(version)", environment: url).exit == 0)
        #expect(try affinity("get", "tool-cas", "--if-none-match", "\(version)", environment: url) == ("2", 0))
    }

    @Test func anIdempotencyKeyWritesOnce() throws {
        let url = try url
        let words = ["put", "tool-once", "1", "--idempotency-key", "k-\(UUID().uuidString)"]
        let first = try affinity(words, environment: url)
        #expect(try affinity("put", "tool-once", "2", environment: url).exit == 0)
        let second = try affinity(words, environment: url)
        #expect(second == (first.text + ", as answered before", 0))
        #expect(try affinity("get", "tool-once", environment: url).text == "2")
    }

    @Test func whatIsNoJSONIsRefusedInTheWordsOfTheNode() throws {
        let (text, exit) = try affinity("put", "tool-bad", "{", environment: try url)
        #expect(exit == 1 && text.hasPrefix("affinity: 400: "), "\(text)")
    }

    @Test func theValueIsTakenFromTheStandardInputOtherwise() throws {
        let script = "printf '[3]' | \(Programs.affinity) put tool-stdin"
        let child = try Child("/bin/sh", ["-c", script], environment: try url)
        #expect(try child.waitForExit() == 0, "\(child.text)")
        #expect(try affinity("get", "tool-stdin", environment: try url).text == "[3]")
    }
}

/// What the tool makes of servers that do not do what a node does.
@Suite struct ToolTroubleTests {
    @Test func aWriteThatNobodyAnswersIsUnknown() throws {
        let server = try OneAnswer("")
        let (text, exit) = try affinity("put", "a", "1", "--url", server.url)
        #expect(exit == 4 && text.contains("whether it was done is not known"), "\(text)")
    }

    @Test func aReadThatNobodyAnswersIsAsIfNobodyWereThere() throws {
        let server = try OneAnswer("")
        #expect(try affinity("get", "a", "--url", server.url).exit == 3)
    }

    @Test(arguments: [
        ("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", Int32(3)), ("HTTP/1.1 504 No\r\nContent-Length: 0\r\n\r\n", 4),
        ("HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n", 3), ("HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n", 1),
        ("HTTP/1.1 201 Yes\r\nContent-Length: 9\r\n\r\n", 4), ("nonsense\r\n\r\n", 4),
        ("HTTP/1.1 201 Yes\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 4),
        ("HTTP/1.1 201 Yes\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 0),
        ("HTTP/1.1 204 Yes\r\n\r\n", 0), ("HTTP/1.0 200 Yes\r\n\r\nto the end", 0),
        ("HTTP/1.1 200 Yes\r\nContent-Length: -1\r\n\r\n", 4),
    ]) func theAnswerToAWriteDecidesTheExitCode(answer: String, code: Int32) throws {
        let server = try OneAnswer(answer)
        let (text, exit) = try affinity("put", "a", "1", "--url", server.url)
        #expect(exit == code, "\(text)")
    }

    @Test func aServerThatAnswersWithoutEndIsLeft() throws {
        let server = try OneAnswer("HTTP/1.1 200 Yes\r\nX: " + String(repeating: "x", count: 200_000))
        #expect(try affinity("get", "a", "--url", server.url).exit == 3)
    }

    @Test func waitingCostsNoProcessor() throws {
        let server = try OneAnswer(nil)
        let child = try Child(Programs.affinity, ["get", "a", "--url", server.url, "--timeout", "1h"])
        try server.waitForRequest()
        try waitUntil("that it sleeps, having used little time") {
            let facts = try String(contentsOfFile: "/proc/\(child.pid)/stat", encoding: .utf8)
            // Behind the name in parentheses: state, then 10 others, then the time in user mode, in hundredths.
            let fields = facts.split(separator: ")").last?.split(separator: " ") ?? []
            return fields.first == "S" && fields.count > 12
        }
        let before = try processorTime(child.pid)
        var wait = timespec(tv_sec: 1, tv_nsec: 0)
        nanosleep(&wait, nil)
        #expect(try processorTime(child.pid) - before <= 5, "hundredths of a second of a whole one")
        try child.killNow()
    }

    /// Used so far, in hundredths of a second.
    private func processorTime(_ pid: Int32) throws -> Int {
        let facts = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
        let fields = facts.split(separator: ")").last?.split(separator: " ") ?? []
        return try #require(Int(fields[11])) + (try #require(Int(fields[12])))
    }
}

/// Takes one connection, reads a request, and answers with that text; never, for `nil`. Then it closes.
private final class OneAnswer: Sendable {
    let url: String
    private let descriptor: Int32
    private let hasRequest = NSCondition()
    nonisolated(unsafe) private var isAsked = false

    init(_ answer: String?) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, size) == 0 && listen(descriptor, 1) == 0
                    && getsockname(descriptor, address, &size) == 0
            }
        }
        guard isListening else { throw Failure("no server: \(errno)") }
        self.descriptor = descriptor
        url = "http://127.0.0.1:\(UInt16(bigEndian: place.sin_port))"
        Thread.detachNewThread { [self] in serve(answer) }
    }

    deinit { close(descriptor) }

    private func serve(_ answer: String?) {
        let connection = accept(descriptor, nil, nil)
        guard connection >= 0 else { return }
        defer { close(connection) }
        var request: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        // Requests of the tests end with their body, `1`, or have none.
        while !request.suffix(1).elementsEqual("1".utf8),
            !request.suffix(4).elementsEqual("\r\n\r\n".utf8) || request.starts(with: "PUT".utf8)
        {
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            request += buffer[..<count]
        }
        hasRequest.withLock {
            isAsked = true
            hasRequest.broadcast()
        }
        guard let answer else {
            // Until the other side goes away.
            while recv(connection, &buffer, buffer.count, 0) > 0 {}
            return
        }
        let bytes = Array(answer.utf8)
        _ = send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    func waitForRequest() throws {
        hasRequest.lock()
        defer { hasRequest.unlock() }
        while !isAsked {
            guard hasRequest.wait(until: Date(timeIntervalSinceNow: 60)) else { throw Failure("no request") }
        }
    }
}
