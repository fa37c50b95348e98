import AffinityTestSupport
import Testing

extension KeyValueInterface {
    @Suite struct Fuzzing {
        @Test func nothingBringsTheServiceDown() throws {
            func request(
                _ method: String, _ target: String, _ headers: [(String, String)] = [], _ body: String? = nil
            ) -> [UInt8] {
                HTTPClient.request(method, Array(target.utf8), headers, body.map { Array($0.utf8) })
            }
            let corpus = [
                request(
                    "GET", "/kv/f%2Fa?x=1",
                    [("If-None-Match", "W/\"1\", \"2\""), ("Affinity-Position", "0:1.2, 3:4.5")]),
                request(
                    "GET", "/kv/f1",
                    [("Affinity-Read", "stale"), ("Affinity-Max-Lag", "500ms"), ("Affinity-Timeout", "20ms")]),
                request("GET", "/kv/f1", [("Affinity-Position", "0:9.9,1:9.9,2:9.9,3:9.9")]),
                request(
                    "PUT", "/kv/f1", json + [("Idempotency-Key", "\"f\"")], "{\"a\":[1,2.5e3,\"\\u00e9\"],\"b\":null}"),
                request("PUT", "/kv/f1", json + [("If-Match", "\"1\"")], "[[[[true]]]]"),
                request("POST", "/kv/f1/add", json + [("Idempotency-Key", "g")], "{\"x\":{\"by\":[1]},\"by\":12345}"),
                request("POST", "/kv/f2/add", json, "{\"b\\u0079\": -9223372036854775808}"),
                request("DELETE", "/kv/f1", [("If-None-Match", "*")]),
                request("GET", "/kv?prefix=f&after=%66&limit=10"), request("HEAD", "/kv/f1"), request("OPTIONS", "*"),
                request("GET", "http://h:1/status"), request("GET", "/readyz"),
                Array(
                    "PUT /kv/f3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n[1\r\n1\r\n]\r\n0\r\nT: v\r\n\r\n"
                        .utf8),
            ]
            // Positions that do not come are waited for until the deadline, which no damage may put off: `20ms` is one
            // letter away from twenty minutes.
            let service = try ServiceProcess.keyValue(["--gateway.deadline", "100ms"])
            try HTTPFuzz.run(port: service.port, count: 1500, corpus: corpus)
            #expect(service.child.isRunning)
            #expect(try service.connect().ask("GET", "/readyz").status == 200)
            #expect(!service.child.text.contains("a route failed"), "\(service.child.text)")
        }
    }
}
