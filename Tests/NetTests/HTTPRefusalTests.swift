import AffinityNet
import AffinityTestSupport
import Testing

/// What could be read in two ways, or is simply wrong, is refused, and the connection ends after the refusal.
@Suite struct HTTPRefusalTests {
    static let heads: [(String, Int)] = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n X: 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nb@d: 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{7f}b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\r\nHost: a\r\n\r\n", 400),
        ("GET\r\nHost: a\r\n\r\n", 400),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.11\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (String(repeating: "M", count: 40) + " / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (String(repeating: "M", count: 40), 400),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\n", 400),
    ]

    static let framings: [(String, Int)] = [
        ("Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
        ("Content-Length: 1\r\nContent-Length: 2\r\n\r\na", 400),
        ("Content-Length: 1, 1\r\n\r\na", 400),
        ("Content-Length: +1\r\n\r\na", 400),
        ("Content-Length: -1\r\n\r\na", 400),
        ("Content-Length: 0x1\r\n\r\na", 400),
        ("Content-Length: 1 1\r\n\r\na", 400),
        ("Content-Length: \r\n\r\na", 400),
        ("Content-Length: 1.0\r\n\r\na", 400),
        ("Content-Length: 18446744073709551617\r\n\r\na", 400),
        ("Content-Length: 99999999999999999999999999\r\n\r\na", 400),
        ("Content-Length: 1048577\r\n\r\na", 413),
        ("Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n", 413),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\na", 400),
        ("Transfer-Encoding: gzip\r\n\r\n", 501),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        ("Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", 501),
        ("Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding:\r\n\r\n0\r\n\r\n", 501),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
        ("Expect: 200-ok\r\n\r\n", 417),
        ("Expect: 100-continue\r\nExpect: more\r\n\r\n", 417),
    ]

    static let chunks: [(String, Int)] = [
        ("g\r\na\r\n0\r\n\r\n", 400),
        ("\r\na\r\n0\r\n\r\n", 400),
        ("-1\r\na\r\n0\r\n\r\n", 400),
        ("0x1\r\na\r\n0\r\n\r\n", 400),
        ("1 \r\na\r\n0\r\n\r\n", 400),
        (" 1\r\na\r\n0\r\n\r\n", 400),
        ("1\na\n0\n\n", 400),
        ("1\r\nab\r\n0\r\n\r\n", 400),
        ("1\r\na\n0\r\n\r\n", 400),
        ("1\r\na0\r\n\r\n", 400),
        ("1;a\nb\r\na\r\n0\r\n\r\n", 400),
        ("1;a\0\r\na\r\n0\r\n\r\n", 400),
        ("1;" + String(repeating: "e", count: 5000) + "\r\na\r\n0\r\n\r\n", 400),
        ("10000000000000000\r\na\r\n0\r\n\r\n", 400),
        ("00000000000000001\r\na\r\n0\r\n\r\n", 400),
        ("ffffffffffffffff\r\na\r\n0\r\n\r\n", 413),
        ("1\r\na\r\nffffffffffffffff\r\na\r\n0\r\n\r\n", 413),
        ("100001\r\n", 413),
        ("0\r\nbad\r\n\r\n", 400),
        ("0\r\n folded\r\n\r\n", 400),
        ("0\r\na: b\n\r\n", 400),
        ("0\r\na : b\r\n\r\n", 400),
        ("0\r\n\r", 0),
        ("0\r\na: " + String(repeating: "t", count: 17_000) + "\r\n\r\n", 431),
    ]

    @Test func malformedHeads() async throws { try await refuse(Self.heads) }

    @Test func ambiguousFramings() async throws {
        try await refuse(Self.framings.map { ("POST / HTTP/1.1\r\nHost: x\r\n" + $0.0, $0.1) })
        try await refuse([("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)])
    }

    @Test func malformedChunks() async throws {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        try await refuse(Self.chunks.filter { $0.1 != 0 }.map { (head + $0.0, $0.1) })
    }

    /// Each is sent behind a good request, with another one following that must never be answered.
    private func refuse(_ cases: [(String, Int)]) async throws {
        try await withServer { port, _ throws in
            for (text, status) in cases {
                let client = try HTTPClient(port: port)
                let good = "GET /good HTTP/1.1\r\nHost: x\r\n\r\n"
                try client.send(good + text + (text.hasSuffix("\n") ? good : ""))
                #expect(try client.answer().text == "GET /good ")
                let answer = try client.answer()
                #expect(answer.status == status, "\(text.debugDescription.prefix(200))")
                #expect(answer["content-type"] == "application/problem+json")
                #expect(answer["connection"] == "close")
                #expect(answer.text.contains("\"status\":\(status)"))
                #expect(JSONText.mistake(in: answer.body) == nil)
                #expect(try client.isAtEnd(), "\(text.debugDescription.prefix(200))")
            }
        }
    }

    @Test func oddButGoodRequestsAreTaken() async throws {
        try await withServer { port, _ throws in
            for text in [
                "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "GET /?a=%zz#x HTTP/1.1\r\nHost: a_b.c\r\n\r\n",
                "M-SEARCH /é HTTP/1.1\r\nHost: x\r\nX: \u{e9}\t\r\nY:\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
                "GET / HTTP/1.1\r\nHOST: x\r\ncontent-LENGTH: 00002\r\n\r\nab",
            ] {
                #expect(try HTTPClient(port: port).ask(text).status == 200, "\(text.debugDescription)")
            }
        }
    }
}
