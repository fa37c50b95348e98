import AffinityNet
import AffinityTestSupport
import Testing

@Suite struct HTTPRequestTests {
    @Test func answersAndKeepsTheConnection() async throws {
        try await withServer { port, _ throws in
            let client = try HTTPClient(port: port)
            for index in 0..<3 {
                let answer = try client.ask("GET /\(index) HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(answer.status == 200)
                #expect(answer.text == "GET /\(index) ")
                #expect(answer["date"]?.hasSuffix(" GMT") == true)
                #expect(answer.all("connection").isEmpty)
            }
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        // Some answer at once, some after a suspension; 200 are more than a turn takes.
        let handler: HTTPHandler = { request in
            if request.target.hasSuffix("7") { await Task.yield() }
            return await echo(request)
        }
        try await withServer(handler: handler) { port, _ throws in
            let client = try HTTPClient(port: port)
            let requests = (0..<200).map { "PUT /\($0) HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" }
            try client.send(requests.joined())
            for index in 0..<200 { #expect(try client.answer().text == "PUT /\(index) abc") }
        }
    }

    @Test func aRequestMayComeByteByByte() async throws {
        try await withServer { port, _ throws in
            let client = try HTTPClient(port: port)
            let text =
                "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;e=\"1\"\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n"
            for byte in (text + text).utf8 { try client.send([byte]) }
            #expect(try client.answer().text == "POST /a abc")
            #expect(try client.answer().text == "POST /a abc")
        }
    }

    @Test func chunkedBodiesAreDecodedAndTrailersDropped() async throws {
        let handler: HTTPHandler = { request in
            HTTPResponse(status: 200, body: request.body + Array("|\(request.headers("x"))".utf8))
        }
        try await withServer(handler: handler) { port, _ throws in
            let client = try HTTPClient(port: port)
            let head = "PUT / HTTP/1.1\r\nHost: x\r\nX: 1\r\ntransfer-encoding: Chunked\r\n\r\n"
            #expect(
                try client.ask(head + "A\r\n0123456789\r\n000b\r\nabcdefghijk\r\n0\r\nX: 2\r\n\r\n").text
                    == "0123456789abcdefghijk|[\"1\"]")
            #expect(try client.ask(head + "0\r\n\r\n").text == "|[\"1\"]")
        }
    }

    @Test func aLargeBodyComesWhole() async throws {
        let handler: HTTPHandler = { request in HTTPResponse(status: 200, body: request.body) }
        try await withServer(handler: handler) { port, _ throws in
            let client = try HTTPClient(port: port)
            let body = (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try client.send(Array("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.count)\r\n\r\n".utf8) + body)
            #expect(try client.answer().body == body)
        }
    }

    @Test func continuesOnlyWhenTheBodyIsStillToCome() async throws {
        try await withServer { port, _ throws in
            let client = try HTTPClient(port: port)
            let head = "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
            #expect(try client.ask(head).status == 100)
            #expect(try client.ask("ok").text == "PUT / ok")
            #expect(try client.ask(head + "ok").text == "PUT / ok")
            #expect(try client.ask("GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n").status == 200)
        }
    }

    @Test func aHeadHasALengthAndNoBody() async throws {
        try await withServer { port, _ throws in
            let client = try HTTPClient(port: port)
            try client.send("HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try client.answer(toHead: true)["content-length"] == "10")
            #expect(try client.answer().text == "GET / ")
        }
    }

    @Test(arguments: [204, 304]) func someAnswersHaveNeitherBodyNorLength(status: Int) async throws {
        let handler: HTTPHandler = { _ in HTTPResponse(status: status, body: [1, 2, 3]) }
        try await withServer(handler: handler) { port, _ throws in
            let client = try HTTPClient(port: port)
            for _ in 0..<2 {
                let answer = try client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(answer.status == status)
                #expect(answer.all("content-length").isEmpty)
            }
        }
    }

    @Test func closesWhenEitherSideAsks() async throws {
        let handler: HTTPHandler = { request in
            HTTPResponse(status: 200, headers: request.target == "/close" ? [("connection", "close")] : [])
        }
        try await withServer(handler: handler) { port, _ throws in
            for text in [
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n",
                "GET /close HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
            ] {
                let client = try HTTPClient(port: port)
                let answer = try client.ask(text)
                #expect(answer.status == 200)
                #expect(answer.headers.filter { $0.name.lowercased() == "connection" }.map(\.value) == ["close"])
                #expect(try client.isAtEnd())
            }
            let old = try HTTPClient(port: port)
            for _ in 0..<2 {
                let answer = try old.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                #expect(answer["connection"] == "keep-alive")
            }
        }
    }

    @Test func aClientThatSendsNoMoreStillGetsItsAnswers() async throws {
        try await withServer { port, _ throws in
            let client = try HTTPClient(port: port)
            try client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
            client.finishSending()
            #expect(try client.answer().text == "GET /1 ")
            #expect(try client.answer().text == "GET /2 ")
            #expect(try client.isAtEnd())
        }
    }

    @Test func theRequestShowsWhatCame() async throws {
        let handler: HTTPHandler = { request in
            let all = request.headers.map { "\($0.name)=\($0.value)" }.joined(separator: ";")
            let lines = [
                request.method == .patch ? "patch" : "?", request.target, "\(request.targetBytes.count)",
                "\(request.isHTTP10)", request.header("A") ?? "none", "\(request.headers("a"))",
                request.header("none") ?? "none", all, "\(request.bodyCount)", "\(request.isSecure)",
                "\(request.withBody { $0.byteCount })", "\(request.withTarget { $0.byteCount })",
                String(request.remoteAddress.prefix(10)),
            ]
            return HTTPResponse(status: 200, body: Array(lines.joined(separator: "\n").utf8))
        }
        try await withServer(handler: handler) { port, _ throws in
            let client = try HTTPClient(port: port)
            let answer = try client.ask(
                "PATCH http://h/p?q=1 HTTP/1.1\r\nHost: h:80\r\na:  1 \r\nA:\t2\r\nb:\r\nContent-Length: 2\r\n\r\nxy")
            #expect(
                answer.text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) == [
                    "patch", "http://h/p?q=1", "14", "false", "1", "[\"1\", \"2\"]", "none",
                    "Host=h:80;a=1;A=2;b=;Content-Length=2", "2", "false", "2", "14", "127.0.0.1:",
                ])
        }
    }

    @Test(arguments: [
        HTTPResponse(status: 200, headers: [("X", "a\r\nSet-Cookie: b")]),
        HTTPResponse(status: 200, headers: [("X", "a\0")]),
        HTTPResponse(status: 200, headers: [("X\r\nY", "a")]),
        HTTPResponse(status: 200, headers: [("", "a")]),
        HTTPResponse(status: 101), HTTPResponse(status: 1000), HTTPResponse(status: -1),
    ])
    func anAnswerThatCannotBeSentIsReplaced(response: HTTPResponse) async throws {
        try await withServer(handler: { request in request.target == "/" ? response : await echo(request) }) {
            port, _ in
            let client = try HTTPClient(port: port)
            let answer = try client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(answer.status == 500)
            #expect(answer.headers.allSatisfy { !["set-cookie", "x", "y"].contains($0.name.lowercased()) })
            #expect(try client.ask("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
        }
    }

    @Test func whatFramesTheAnswerIsTheServers() async throws {
        let headers = [("Content-Length", "1"), ("transfer-encoding", "chunked"), ("Date", "now"), ("Upgrade", "x")]
        try await withServer(handler: { _ in HTTPResponse(status: 200, headers: headers, body: [65, 66]) }) {
            port, _ throws in
            let answer = try HTTPClient(port: port).ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(answer.text == "AB")
            #expect(answer.headers.map { $0.name } == ["Date", "Content-Length"])
        }
    }

    @Test func aRequestOutlivesItsConnection() async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: HTTPRequest.self)
        try await withServer(handler: { request in
            continuation.yield(request)
            return HTTPResponse(status: 200)
        }) { port, _ throws in
            _ = try HTTPClient(port: port).ask("PUT /kept HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        }
        var requests = stream.makeAsyncIterator()
        let request = try #require(await requests.next())
        #expect(request.target == "/kept")
        #expect(request.body == [104, 105])
    }
}
