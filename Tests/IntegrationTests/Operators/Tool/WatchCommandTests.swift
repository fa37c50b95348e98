import AffinityNet
import AffinityTestSupport
import Synchronization
import Testing

/// `affinity watch`, against a server that says what a node would.
@Suite struct WatchCommandTests {
    /// Runs the tool against a server whose connections each send what `script` has for them, and are closed then.
    ///
    /// - Returns: what it printed, its exit code, and what it asked for.
    private func watch(
        _ words: [String], _ script: [[String]]
    ) async throws -> (lines: [String], exit: Int32, targets: [String]) {
        let asked = Asked(script)
        let group = try EventLoopGroup(count: 1)
        let server = try HTTPServer(group: group, configuration: HTTPServerConfiguration()) { request in
            guard let messages = asked.next(request.target) else { return HTTPResponse(status: 404) }
            return .webSocket { socket in
                for message in messages { socket.send(message) }
                socket.close(.goingAway, "the node stops")
                _ = await socket.closed()
            }
        }
        let port = try await server.bind(host: "127.0.0.1", port: 0)
        let result = try await onThread {
            try affinity(["watch", "--url", "http://127.0.0.1:\(port)/kv"] + words)
        }
        await server.drain(within: .milliseconds(20))
        await group.shutdown()
        return (result.text.split(separator: "\n").map(String.init), result.exit, asked.targets)
    }

    private final class Asked: Sendable {
        private let state: Mutex<(script: [[String]], targets: [String])>

        init(_ script: [[String]]) { state = Mutex((script, [])) }

        var targets: [String] { state.withLock { $0.targets } }

        func next(_ target: String) -> [String]? {
            state.withLock { state in
                state.targets.append(target)
                return state.script.isEmpty ? nil : state.script.removeFirst()
            }
        }
    }

    @Test func everyChangeIsALineAndABrokenConnectionMissesNone() async throws {
        let result = try await watch(
            ["a/b", "--count", "5"],
            [
                [#"{"version":0,"deleted":true}"#, #"{"version":3,"value":{"x": [1]}}"#], [],
                ["{\"version\":5,\"value\":[\n\"\\n\"]}", #"{"version":8,"deleted":true}"#],
                [#"{"reset":true}"#],
            ])
        #expect(result.exit == 0)
        let lines = result.lines.filter { !$0.hasPrefix("affinity: ") }
        #expect(lines == ["0  deleted", #"3  {"x": [1]}"#, #"5  [ "\n"]"#, "8  deleted", "start over"])
        #expect(result.lines.contains("affinity: the connection ended (1001 the node stops); opening another one"))
        #expect(result.targets == ["/kv/a%2Fb", "/kv/a%2Fb?after=3", "/kv/a%2Fb?after=3", "/kv/a%2Fb?after=8"])
    }

    @Test func programsGetWhatTheNodeSays() async throws {
        let message = #"{"version":3,"value":"é"}"#
        let result = try await watch(["k", "--json", "--after", "2", "--count", "1"], [[message]])
        #expect(result.lines == [message] && result.exit == 0 && result.targets == ["/kv/k?after=2"])
    }

    @Test func aNodeThatRefusesIsANo() async throws {
        let result = try await watch(["k"], [])
        #expect(result.exit == 1 && result.lines.count == 1 && result.lines[0].contains("404"), "\(result)")
    }

    @Test(arguments: ["nonsense", "{}", "[]", #"{"version":-1,"value":1}"#, #"{"version":1}"#])
    func whatIsNoMessageOfAWatchEndsIt(message: String) async throws {
        let result = try await watch(["k"], [[message]])
        #expect(result.exit == 1 && result.lines.last?.hasSuffix("cannot be read") == true, "\(result)")
    }

    @Test func nobodyThereIsUnavailable() throws {
        #expect(try affinity("watch", "k", "--url", "http://127.0.0.1:1").exit == 3)
    }
}
