import AffinityCore
import AffinityTestSupport
import Synchronization
import Testing

@testable import AffinityGateway

@Suite struct TraceTests {
    private static let trace = "0af7651916cd43dd8448eb211c80319c"
    private static let caller = "b7ad6b7169203331"

    /// Sends one request for each list of headers, and gives the envelopes' trace contexts and the log lines.
    private func send(
        _ requests: [[(String, String)]], beginsTraces: Bool = false
    ) async throws -> (contexts: [String?], reports: [Report]) {
        let made = Mutex<[String?]>([])
        let reports = try await withGateway(accessLog: true, beginsTraces: beginsTraces) { routes in
            routes.on("GET", "/x") { request in
                let envelope = try request.readEnvelope()
                #expect(envelope.traceparent == request.traceparent)
                made.withLock { $0.append(envelope.traceparent) }
                throw Failure("on purpose")
            }
        } _: { port, reports in
            let client = try HTTPClient(port: port)
            for headers in requests { #expect(try client.ask("GET", "/x", headers).status == 500) }
            return reports.all
        }
        return (made.withLock { $0 }, reports)
    }

    @Test func aTraceIsKeptWithASpanOfItsOwn() async throws {
        let sent = "00-\(Self.trace)-\(Self.caller)-01"
        let (contexts, reports) = try await send([[("traceparent", sent)], [("Traceparent", sent)]])
        let parts = try contexts.map { try #require($0).split(separator: "-").map(String.init) }
        for part in parts {
            #expect(part.count == 4 && part[0] == "00" && part[1] == Self.trace && part[3] == "01")
            #expect(part[2].count == 16 && part[2] != Self.caller && part[2] != String(repeating: "0", count: 16))
        }
        #expect(parts[0][2] != parts[1][2])
        // Of each request a line about the failure, and one of the access log.
        #expect(reports.map(\.message) == ["a route failed", "request", "a route failed", "request"])
        for (index, report) in reports.enumerated() {
            #expect(report["trace_id"] == Self.trace && report["span_id"] == parts[index / 2][2])
        }
    }

    @Test func whatIsNoTraceContextIsIgnored() async throws {
        let good = "00-\(Self.trace)-\(Self.caller)-01"
        let bad = [
            "", "x", good.uppercased(), good + "-x", good + "0", String(good.dropLast()), " -" + good,
            "ff" + good.dropFirst(2), "0g" + good.dropFirst(2),
            "00-\(String(repeating: "0", count: 32))-\(Self.caller)-01",
            "00-\(Self.trace)-\(String(repeating: "0", count: 16))-01", "00-\(Self.trace)_\(Self.caller)-01",
            "00-" + String(repeating: "a", count: 9000), "01-\(Self.trace)-\(Self.caller)-01x",
        ]
        let (contexts, reports) = try await send(
            bad.map { [("traceparent", $0)] } + [[], [("traceparent", good), ("traceparent", good)]])
        #expect(contexts == Array(repeating: nil, count: bad.count + 2))
        #expect(reports.allSatisfy { $0["trace_id"] == nil && $0["span_id"] == nil })
    }

    @Test func laterVersionsAndFlagsAreReadAsFarAsTheyAreKnown() async throws {
        let (contexts, _) = try await send(
            ["cc-\(Self.trace)-\(Self.caller)-00-what", "cc-\(Self.trace)-\(Self.caller)-ff"].map {
                [("traceparent", $0)]
            })
        let parts = try contexts.map { try #require($0).split(separator: "-").map(String.init) }
        #expect(parts.map { [$0[0], $0[1], $0[3]] } == [["00", Self.trace, "00"], ["00", Self.trace, "03"]])
    }

    @Test func tracesBeginWhereThatIsWanted() async throws {
        let sent = "00-\(Self.trace)-\(Self.caller)-01"
        let (contexts, _) = try await send([[], [], [("traceparent", sent)]], beginsTraces: true)
        let traces = try contexts.map { context in
            let text = try #require(context)
            #expect(TraceContext(traceparent: text)?.traceparent == text)
            return text.prefix(35)
        }
        #expect(Set(traces).count == 3 && traces[2] == "00-\(Self.trace)")
        #expect(contexts.prefix(2).allSatisfy { $0?.hasSuffix("-00") == true }, "nobody has recorded them yet")
    }
}
