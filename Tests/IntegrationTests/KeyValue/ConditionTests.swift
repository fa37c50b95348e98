import AffinityTestSupport
import Testing

extension KeyValueInterface {
    @Suite struct ConditionalRequests {
        @Test func onReads() throws {
            let client = try keyValue.connect()
            let tag = try #require(try client.ask("PUT", "/kv/c1", json, body: "1").etag)
            let table: [([(String, String)], Int)] = [
                ([("If-None-Match", tag)], 304), ([("If-None-Match", "*")], 304),
                ([("If-None-Match", "\"x\", \(tag)")], 304),
                ([("If-None-Match", "\"x\""), ("If-None-Match", tag)], 304), ([("If-None-Match", "W/\(tag)")], 200),
                ([("If-None-Match", "\"99999999999999999999999\"")], 200), ([("If-None-Match", "\"\"")], 200),
                ([("If-None-Match", "\"0\(tag.dropFirst())")], 200), ([("If-Match", tag)], 200),
                ([("If-Match", "*")], 200),
                ([("If-Match", "\"a,b\" ,, \(tag)")], 200), ([("If-Match", "W/\(tag)")], 412),
                ([("If-Match", "\"0\"")], 412),
                ([("If-Match", tag), ("If-None-Match", tag)], 304),
                ([("If-Match", "\"0\""), ("If-None-Match", tag)], 412),
                ([("If-Modified-Since", "Sat, 01 Jan 2050 00:00:00 GMT"), ("Range", "bytes=0-0")], 200),
            ]
            for (headers, status) in table {
                for method in ["GET", "HEAD"] {
                    let answer = try client.ask(method, "/kv/c1", headers)
                    #expect(answer.status == status, "\(method) \(headers): \(answer)")
                    #expect(answer.etag == tag && answer.position != nil, "\(method) \(headers): \(answer)")
                    if status == 304 { #expect(answer.body.isEmpty && answer["Content-Type"] == nil) }
                }
            }
        }

        @Test func onReadsOfAbsentKeys() throws {
            let client = try keyValue.connect()
            for (name, value, status) in [
                ("If-None-Match", "*", 404), ("If-None-Match", "\"1\"", 404), ("If-Match", "*", 412),
                ("If-Match", "\"1\"", 412),
            ] {
                let answer = try client.ask("GET", "/kv/c2", [(name, value)])
                expectProblem(answer, status)
                #expect(answer.etag == nil && answer.position != nil)
            }
        }

        @Test(arguments: ["PUT", "DELETE", "POST"]) func onWrites(method: String) throws {
            let client = try keyValue.connect()
            let key = "/kv/c3-\(method)"
            let target = method == "POST" ? "\(key)/add" : key
            let good = method == "POST" ? 200 : 204
            func write(_ headers: [(String, String)]) throws -> HTTPClient.Answer {
                try client.ask(method, target, json + headers, body: method == "DELETE" ? nil : "{\"by\":1}")
            }
            // Nothing is there.
            for value in ["*", "\"1\""] {
                let answer = try write([("If-Match", value)])
                expectProblem(answer, 412)
                #expect(answer.etag == nil && answer.position != nil)
            }
            expectProblem(try client.ask("GET", key), 404)
            var tag = try #require(try client.ask("PUT", key, json + [("If-None-Match", "*")], body: "1").etag)
            // Something is there.
            for (name, value) in [
                ("If-None-Match", "*"), ("If-None-Match", tag), ("If-None-Match", "\"x\",\(tag)"),
                ("If-Match", "\"0\""),
                ("If-Match", "W/\(tag)"), ("If-Match", "\"x\""),
            ] {
                let answer = try write([(name, value)])
                expectProblem(answer, 412)
                #expect(answer.etag == tag && answer.position != nil, "\(name): \(value)")
            }
            #expect(try client.ask("GET", key).etag == tag)
            for headers in [[("If-Match", tag)], [("If-Match", "*")], [("If-None-Match", "W/\(tag), \"x\"")]] {
                #expect(try client.ask("PUT", key, json, body: "1").status / 100 == 2)
                tag = try #require(try client.ask("GET", key).etag)
                let answer = try write(headers.map { $0.1.hasPrefix("\"") ? ($0.0, tag) : $0 })
                #expect(answer.status == good, "\(headers): \(answer)")
            }
        }

        @Test(arguments: [
            "", " ", "17", "\"17", "17\"", "\"1\" \"2\"", "*, \"1\"", "**", "w/\"1\"", "W/ \"1\"", "W/1", ",",
            "\"a b\"", "\"1\";\"2\"",
        ])
        func thatCannotBeReadAreRefused(value: String) throws {
            let client = try keyValue.connect()
            for name in ["If-Match", "If-None-Match"] {
                let headers = json + [(name, value)]
                expectProblem(try client.ask("GET", "/kv/c4", headers), 400)
                expectProblem(try client.ask("PUT", "/kv/c4", headers, body: "1"), 400)
                expectProblem(try client.ask("DELETE", "/kv/c4", headers), 400)
                expectProblem(try client.ask("POST", "/kv/c4/add", headers, body: "{\"by\":1}"), 400)
            }
            expectProblem(try client.ask("GET", "/kv/c4"), 404)
        }
    }

    @Suite struct Idempotency {
        private func named(_ name: String) -> [(String, String)] { json + [("Idempotency-Key", name)] }

        /// Everything but when it was said and how far the partition is.
        private func same(_ a: HTTPClient.Answer, _ b: HTTPClient.Answer) -> Bool {
            let other = ["date", "affinity-position", "idempotency-replayed"]
            func rest(_ answer: HTTPClient.Answer) -> [String] {
                answer.headers.filter { !other.contains($0.name.lowercased()) }.map { "\($0)" }.sorted()
            }
            return a.status == b.status && a.body == b.body && rest(a) == rest(b)
        }

        @Test func repeatsTheFirstAnswer() throws {
            let client = try keyValue.connect()
            let steps: [(String, String, [(String, String)], String?, Int)] = [
                ("DELETE", "/kv/i1", [], nil, 404), ("PUT", "/kv/i1", [("If-Match", "*")], "1", 412),
                ("PUT", "/kv/i1", [], "\"a\"", 201), ("PUT", "/kv/i1", [], "\"b\"", 204),
                ("PUT", "/kv/i1", [("If-None-Match", "*")], "2", 412), ("POST", "/kv/i1/add", [], "{\"by\":1}", 422),
                ("DELETE", "/kv/i1", [], nil, 204), ("POST", "/kv/i1/add", [], "{\"by\":3}", 200),
                ("POST", "/kv/i1/add", [], "{\"by\":9223372036854775807}", 422),
            ]
            var firsts: [HTTPClient.Answer] = []
            for (number, (method, target, headers, body, status)) in steps.enumerated() {
                let answer = try client.ask(method, target, named("i1-\(number)") + headers, body: body)
                #expect(answer.status == status && answer["Idempotency-Replayed"] == nil, "\(number): \(answer)")
                firsts.append(answer)
            }
            let standing = try client.ask("GET", "/kv/i1")
            for (number, (method, target, headers, body, _)) in steps.enumerated() {
                // Quotes around the key are dropped.
                let name = number % 2 == 0 ? "i1-\(number)" : "\"i1-\(number)\""
                let answer = try keyValue.connect().ask(method, target, named(name) + headers, body: body)
                #expect(same(answer, firsts[number]), "\(number): \(answer) instead of \(firsts[number])")
                #expect(answer["Idempotency-Replayed"] == "true" && answer.position != nil, "\(number): \(answer)")
            }
            let after = try client.ask("GET", "/kv/i1")
            #expect(after.etag == standing.etag && after.body == standing.body, "nothing is written again")
        }

        @Test func anotherRequestUnderTheSameKeyIsRefused() throws {
            let client = try keyValue.connect()
            #expect(try client.ask("PUT", "/kv/i2", named("i2"), body: "{\"by\":1}").status == 201)
            for (method, target, body) in [
                ("PUT", "/kv/i2", "2"), ("PUT", "/kv/i2", "{\"by\":1} "), ("DELETE", "/kv/i2", nil),
                ("POST", "/kv/i2/add", "{\"by\":1}"), ("DELETE", "/kv/i2", "{\"by\":1}"),
            ] {
                let answer = try client.ask(method, target, named("i2"), body: body)
                expectProblem(answer, 422)
                #expect(answer.position != nil && answer["Idempotency-Replayed"] == nil)
            }
            // The path as it is meant, wherever the request was sent.
            for target in ["/kv/%692", "http://elsewhere:1/kv/i2"] {
                let answer = try client.ask("PUT", target, named("i2"), body: "{\"by\":1}")
                #expect(answer.status == 201 && answer["Idempotency-Replayed"] == "true", "\(target)")
            }
            // Another entry has keys of its own.
            #expect(try client.ask("PUT", "/kv/i2-other", named("i2"), body: "2").status == 201)
            #expect(try client.ask("GET", "/kv/i2").text == "{\"by\":1}")
        }

        @Test func whatIsRefusedLeavesNoTrace() throws {
            let client = try keyValue.connect()
            let key = "i3"
            expectProblem(try client.ask("PUT", "/kv/i3", named(key), body: "{"), 400)
            expectProblem(try client.ask("PUT", "/kv/i3", named(key) + [("If-Match", "x")], body: "1"), 400)
            expectProblem(try client.ask("PUT", "/kv/i3?x=1", named(key), body: "1"), 400)
            expectProblem(
                try client.ask("PUT", "/kv/i3", [("Content-Type", "text/plain"), ("Idempotency-Key", key)], body: "1"),
                415)
            expectProblem(try client.ask("POST", "/kv/i3/add", named(key), body: "{}"), 400)
            expectProblem(try client.ask("PUT", "/kv/i3", named(key) + [("Affinity-Timeout", "0s")], body: "1"), 503)
            let long = try keyValue.connect()
            try long.send(
                Array("PUT /kv/i3 HTTP/1.1\r\nHost: a\r\nIdempotency-Key: i3\r\nContent-Length: 9999999\r\n\r\n".utf8))
            expectProblem(try long.answer(), 413)
            let answer = try client.ask("PUT", "/kv/i3", named(key), body: "\"now\"")
            #expect(answer.status == 201 && answer["Idempotency-Replayed"] == nil)
        }

        @Test func aRepeatWaitsForTheFirst() throws {
            let clients = try (0..<8).map { _ in try keyValue.connect() }
            let request = HTTPClient.request(
                "POST", Array("/kv/i4/add".utf8), named("i4"), Array("{\"by\":1}".utf8))
            for client in clients { try client.send(request) }
            let answers = try clients.map { try $0.answer() }
            #expect(answers.allSatisfy { $0.status == 200 && $0.text == "{\"value\":1}" && $0.etag == answers[0].etag })
            #expect(answers.count { $0["Idempotency-Replayed"] == nil } == 1)
            #expect(try clients[0].ask("GET", "/kv/i4").text == "1")
        }

        @Test func keysHave1To255VisibleCharacters() throws {
            let client = try keyValue.connect()
            for name in ["", "\"\"", " ", "a b", "a\tb", "é", String(repeating: "x", count: 256), "\u{1}"]
            where name != "\u{1}" {
                expectProblem(try client.ask("PUT", "/kv/i5", named(name), body: "1"), 400)
            }
            expectProblem(try client.ask("PUT", "/kv/i5", named("a") + [("Idempotency-Key", "b")], body: "1"), 400)
            expectProblem(try client.ask("GET", "/kv/i5"), 404)
            let longest = String(repeating: "~", count: 255)
            for name in [longest, "\"\(longest)\"", "!", "a\"b"] {
                #expect(try client.ask("PUT", "/kv/i5", named(name), body: "1").status / 100 == 2, "\(name)")
            }
            // On a read it says nothing.
            #expect(try client.ask("GET", "/kv/i5", [("Idempotency-Key", "")]).status == 200)
        }

        @Test func outcomesAreForgottenAfterTheirTime() throws {
            let service = try ServiceProcess.keyValue(["--keyspaces.kv.idempotency", "1s"])
            let client = try service.connect()
            let first = try client.ask("PUT", "/kv/a", named("one"), body: "1")
            #expect(first.status == 201)
            try waitUntil("the outcome to be forgotten", within: 10) {
                let answer = try client.ask("PUT", "/kv/a", named("one"), body: "1")
                return answer.status == 204 && answer["Idempotency-Replayed"] == nil
            }
            #expect(try #require(client.ask("GET", "/kv/a").version) > #require(first.version))
        }

        @Test func outcomesSurviveARestart() throws {
            let first = try ServiceProcess.keyValue()
            let client = try first.connect()
            let put = try client.ask("PUT", "/kv/a", named("one"), body: "{\"by\":1}")
            let added = try client.ask("POST", "/kv/b/add", named("two"), body: "{\"by\":1}")
            try first.child.killNow()
            let second = try ServiceProcess.keyValue(on: first.folder)
            let again = try second.connect()
            let (putAgain, addedAgain) = (
                try again.ask("PUT", "/kv/a", named("one"), body: "{\"by\":1}"),
                try again.ask("POST", "/kv/b/add", named("two"), body: "{\"by\":1}")
            )
            #expect(same(put, putAgain) && same(added, addedAgain), "\(putAgain) \(addedAgain)")
            #expect(putAgain["Idempotency-Replayed"] == "true" && addedAgain["Idempotency-Replayed"] == "true")
            #expect(try again.ask("GET", "/kv/b").text == "1")
            let next = try again.ask("PUT", "/kv/a", json, body: "2")
            #expect(try #require(next.version) > #require(put.version))
            #expect(try second.stop() == 0)
        }
    }
}
