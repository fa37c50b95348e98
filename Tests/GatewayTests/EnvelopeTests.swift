import AffinityCore
import AffinityNet
import AffinityTestSupport
import Synchronization
import Testing

@testable import AffinityGateway

@Suite struct EnvelopeTests {
    /// Sends requests with headers to a route that makes their envelopes.
    private func envelopes(_ requests: [[(String, String)]], target: String = "/x") async throws -> [Result<
        Envelope, HTTPError
    >] {
        let made = Mutex<[Result<Envelope, HTTPError>]>([])
        try await withGateway { routes in
            routes.on("PUT", "/x", query: ["q"]) { request in
                do throws(HTTPError) {
                    let envelope = try request.commandEnvelope()
                    made.withLock { $0.append(.success(envelope)) }
                } catch { made.withLock { $0.append(.failure(error)) } }
                return .text("")
            }
        } _: { port, _ in
            let client = try HTTPClient(port: port)
            for headers in requests { _ = try client.ask("PUT", target, headers, body: "1") }
        }
        return made.withLock { $0 }
    }

    @Test func deadlinesAreTakenFromTheRequest() async throws {
        let before = SystemClock().monotonic
        let made = try await envelopes([[], [("Affinity-Timeout", "1500ms")], [("affinity-timeout", "99999d")]])
        for (envelope, timeout) in zip(made, [Duration.seconds(10), .milliseconds(1500), .seconds(3600)]) {
            let left = try envelope.get().deadline.since(before)
            // It counts from when the request came, which a busy machine puts off.
            #expect(left >= timeout && left < timeout + .seconds(300))
        }
        let bad = try await envelopes(["", "2", "-1s", "1.5s", "s", "2s,3s"].map { [("Affinity-Timeout", $0)] })
        #expect(bad.allSatisfy { if case .failure(let error) = $0 { error.status == 400 } else { false } })
        let late = try await envelopes([[("Affinity-Timeout", "0s")], [("Affinity-Timeout", "1ns")]])
        #expect(late.allSatisfy { if case .failure(let error) = $0 { error.status == 503 } else { false } })
    }

    @Test func positionsMayBeLists() async throws {
        let good: [([(String, String)], [Int: Position])] = [
            ([], [:]), ([("Affinity-Position", "3:1841")], [3: Position([Offset(1841)])]),
            (
                [("Affinity-Position", "0:1.2, 1:7"), ("Affinity-Position", "2:0")],
                [0: Position([Offset(1), Offset(2)]), 1: Position([Offset(7)]), 2: Position([Offset(0)])]
            ),
            ([("Affinity-Position", "1:5.1.9,1:3.4")], [1: Position([Offset(5), Offset(4), Offset(9)])]),
            ([("Affinity-Position", "1:3,1:2.8")], [1: Position([Offset(3), Offset(8)])]),
        ]
        for (envelope, (headers, positions)) in zip(try await envelopes(good.map(\.0)), good) {
            #expect(try envelope.get().positions == positions, "\(headers)")
        }
        let bad = [
            "", ",", "1", "1:", ":1", "1:1,", "1:1;2:2", "a:1", "1:a", "1:-1", "+1:1", "1:1:1", "1:1..2",
            "99999999999999999999:1",
        ]
        for envelope in try await envelopes(bad.map { [("Affinity-Position", $0)] }) {
            #expect(throws: HTTPError.self) { try envelope.get() }
        }
    }

    @Test func idempotencyKeysAreCheckedAndUnquoted() async throws {
        let good = [
            ("a", "a"), ("\"a\"", "a"), ("\"", "\""), ("a\"", "a\""),
            (String(repeating: "x", count: 255), String(repeating: "x", count: 255)),
        ]
        for (envelope, (_, name)) in zip(try await envelopes(good.map { [("Idempotency-Key", $0.0)] }), good) {
            #expect(try envelope.get().idempotency?.name == name)
            #expect(try envelope.get().idempotency?.digest.count == 32)
        }
        #expect(try await envelopes([[]])[0].get().idempotency == nil)
        let bad = [
            "", "\"\"", "a b", "é", "a\tb", String(repeating: "x", count: 256),
            "\"\(String(repeating: "x", count: 256))\"",
        ]
        for envelope in try await envelopes(
            bad.map { [("Idempotency-Key", $0)] } + [[("Idempotency-Key", "a"), ("Idempotency-Key", "a")]])
        {
            #expect(throws: HTTPError.self) { try envelope.get() }
        }
    }

    @Test func theDigestIsThatOfWhatTheRequestMeans() async throws {
        var digests: [String: [UInt8]] = [:]
        for target in ["/x", "/%78", "http://other:1/x", "/x?q=1", "/x?q=2", "/x?"] {
            digests[target] = try await envelopes([[("Idempotency-Key", "k")]], target: target)[0].get().idempotency?
                .digest
        }
        #expect(digests["/x"] == digests["/%78"] && digests["/x"] == digests["http://other:1/x"])
        #expect(digests["/x"] == digests["/x?"])
        #expect(digests["/x"] != digests["/x?q=1"] && digests["/x?q=1"] != digests["/x?q=2"])
    }

    @Test func stalenessIsReadFromTwoHeaders() async throws {
        let seen = Mutex<[String]>([])
        let requests: [([(String, String)], String)] = [
            ([], "nil"), ([("Affinity-Max-Lag", "2s")], "nil"), ([("Affinity-Read", "stale")], "1.0 seconds"),
            ([("Affinity-Read", "STALE"), ("Affinity-Max-Lag", "500ms")], "0.5 seconds"),
            ([("Affinity-Read", "stale"), ("Affinity-Max-Lag", "0s")], "0.0 seconds"), ([("Affinity-Read", "")], "400"),
            ([("Affinity-Read", "linearizable")], "400"), ([("Affinity-Max-Lag", "x")], "400"),
            ([("Affinity-Read", "stale"), ("Affinity-Max-Lag", "1")], "400"),
            ([("Affinity-Read", "stale"), ("Affinity-Max-Lag", "1s"), ("Affinity-Max-Lag", "1s")], "400"),
        ]
        try await withGateway { routes in
            routes.on("GET", "/x") { request in
                do throws(HTTPError) {
                    let lag = try request.staleness()
                    seen.withLock { $0.append(lag.map { "\($0)" } ?? "nil") }
                } catch { seen.withLock { $0.append("\(error.status)") } }
                return .text("")
            }
        } _: { port, _ in
            let client = try HTTPClient(port: port)
            for (headers, _) in requests { _ = try client.ask("GET", "/x", headers) }
        }
        #expect(seen.withLock { $0 } == requests.map(\.1))
    }
}
