import AffinityTestSupport
import Testing

extension KeyValueInterface {
    @Suite struct Positions {
        /// A token of the same partition that is not reached.
        private func future(_ token: String) throws -> String {
            let parts = token.split(separator: ":")
            return "\(parts[0]):" + parts[1].split(separator: ".").map { _ in "999999999" }.joined(separator: ".")
        }

        @Test func standOnEveryAnswerThatReachedAPartition() throws {
            let client = try keyValue.connect()
            let put = try client.ask("PUT", "/kv/p1", json, body: "\"x\"")
            let tag = put.etag ?? ""
            let answers = [
                put, try client.ask("GET", "/kv/p1"), try client.ask("HEAD", "/kv/p1"),
                try client.ask("GET", "/kv/p1", [("If-None-Match", tag)]),
                try client.ask("GET", "/kv/p1", [("If-Match", "\"0\"")]),
                try client.ask("PUT", "/kv/p1", json + [("If-None-Match", "*")], body: "1"),
                try client.ask("POST", "/kv/p1/add", json, body: "{\"by\":1}"), try client.ask("DELETE", "/kv/p1"),
                try client.ask("DELETE", "/kv/p1"), try client.ask("GET", "/kv/p1"),
            ]
            #expect(answers.map(\.status) == [201, 200, 200, 304, 412, 412, 422, 204, 404, 404])
            for answer in answers {
                let token = try #require(answer.position, "\(answer)")
                #expect(token.wholeMatch(of: /\d+:\S+/) != nil)
                #expect(answer.partition == put.partition)
            }
            for (method, target, body) in [("PUT", "/kv/p1", "{"), ("GET", "/kv/p1?x", nil), ("POST", "/kv/p1", "1")] {
                #expect(try client.ask(method, target, json, body: body).position == nil, "it reached none")
            }
        }

        @Test func thatHaveComeAreReadAtOnce() throws {
            let client = try keyValue.connect()
            let put = try client.ask("PUT", "/kv/p2", json, body: "1")
            let token = try #require(put.position)
            for value in [token, "\(put.partition ?? 0):0", "\(token), \(token)", " \(token) "] {
                let read = try client.ask("GET", "/kv/p2", [("Affinity-Position", value)])
                #expect(read.status == 200, "\(value): \(read)")
            }
            let list = try client.ask("GET", "/kv?prefix=p2", [("Affinity-Position", token)])
            #expect(list.status == 200)
            let all = try #require(list.position)
            #expect(try client.ask("GET", "/kv?prefix=p2", [("Affinity-Position", all)]).status == 200)
        }

        @Test func thatDoNotComeAre503AtTheDeadline() throws {
            let client = try keyValue.connect()
            let put = try client.ask("PUT", "/kv/p3", json, body: "1")
            let far = try future(try #require(put.position))
            let start = ContinuousClock.now
            for target in ["/kv/p3", "/kv?prefix=p3"] {
                let headers = [("Affinity-Position", far), ("Affinity-Timeout", "150ms")]
                expectProblem(try client.ask("GET", target, headers), 503)
            }
            #expect(ContinuousClock.now - start >= .milliseconds(300))
            let one = try client.ask(
                "GET", "/kv/p3",
                [("Affinity-Position", "\(put.partition ?? 0):999999999"), ("Affinity-Timeout", "1ms")])
            expectProblem(one, 503)
            // The nearer one of two does not do.
            let both = [("Affinity-Position", "\(far), \(try #require(put.position))"), ("Affinity-Timeout", "50ms")]
            expectProblem(try client.ask("GET", "/kv/p3", both), 503)
        }

        @Test func ofOtherPartitionsAreIgnored() throws {
            let client = try keyValue.connect()
            let put = try client.ask("PUT", "/kv/p4", json, body: "1")
            let partition = try #require(put.partition)
            for other in [(partition + 1) % 4, 77, 4_000_000] {
                let read = try client.ask("GET", "/kv/p4", [("Affinity-Position", "\(other):999999999")])
                #expect(read.status == 200, "\(other): \(read)")
            }
        }

        @Test(arguments: [
            "", "1", "x", ":", "1:", ":1", "a:1", "1:a", "-1:1", "1:-1", "+1:1", "1:+1", "1:1:1", "1:1.", "1:.1",
            "1: 1", "1:1,", ",1:1",
            "99999999999999999999:1", "1:99999999999999999999", "1.0:1", "1:1 2:2", "0x1:1",
        ])
        func thatCannotBeReadAreRefused(token: String) throws {
            let client = try keyValue.connect()
            expectProblem(try client.ask("GET", "/kv/p5", [("Affinity-Position", token)]), 400)
            expectProblem(try client.ask("GET", "/kv?prefix=p5", [("Affinity-Position", token)]), 400)
        }

        @Test func aReadWaitsUntilThePositionHasCome() throws {
            let (reader, writer) = (try keyValue.connect(), try keyValue.connect())
            let put = try writer.ask("PUT", "/kv/p6", json, body: "0")
            let token = try #require(put.position)
            let parts = token.split(separator: ":")
            var offsets = parts[1].split(separator: ".").compactMap { Int($0) }
            try #require(!offsets.isEmpty)
            offsets[offsets.count - 1] += 3
            let next = "\(parts[0]):\(offsets.map(String.init).joined(separator: "."))"
            try reader.send(HTTPClient.request("GET", Array("/kv/p6".utf8), [("Affinity-Position", next)]))
            for value in 1...3 { _ = try writer.ask("PUT", "/kv/p6", json, body: "\(value)") }
            let read = try reader.answer()
            // Other tests write to the partition too, so it may have come there before.
            let reached = try #require(read.position?.split(separator: ".").last.flatMap { Int($0) })
            #expect(read.status == 200 && reached >= offsets[offsets.count - 1], "\(read)")
        }
    }

    @Suite struct Reading {
        @Test func staleAnswersCarryTheirAge() throws {
            let client = try keyValue.connect()
            let put = try client.ask("PUT", "/kv/s1", json, body: "1")
            for lag in [nil, "500ms", "0s", "1d"] as [String?] {
                let headers = [("Affinity-Read", "stale")] + (lag.map { [("Affinity-Max-Lag", $0)] } ?? [])
                for (target, more, status) in [
                    ("/kv/s1", [], 200), ("/kv/s1-absent", [], 404), ("/kv?prefix=s1", [], 200),
                    ("/kv/s1", [("If-None-Match", put.etag ?? "")], 304), ("/kv/s1", [("If-Match", "\"0\"")], 412),
                ] as [(String, [(String, String)], Int)] {
                    let answer = try client.ask("GET", target, headers + more)
                    #expect(answer.status == status && answer["Age"] == "0", "\(target): \(answer)")
                }
            }
            #expect(try client.ask("GET", "/kv/s1")["Age"] == nil)
        }

        @Test func headersThatCannotBeReadAreRefused() throws {
            let client = try keyValue.connect()
            let bad: [[(String, String)]] = [
                [("Affinity-Read", "fresh")], [("Affinity-Read", "")],
                [("Affinity-Read", "stale"), ("Affinity-Read", "stale")],
                [("Affinity-Read", "stale"), ("Affinity-Max-Lag", "1")],
                [("Affinity-Read", "stale"), ("Affinity-Max-Lag", "-1s")],
                [("Affinity-Read", "stale"), ("Affinity-Max-Lag", "")], [("Affinity-Timeout", "")],
                [("Affinity-Timeout", "2")],
                [("Affinity-Timeout", "-2s")], [("Affinity-Timeout", "1.5s")], [("Affinity-Timeout", "2 s")],
                [("Affinity-Timeout", "9999999999999999999s")],
                [("Affinity-Timeout", "1s"), ("Affinity-Timeout", "1s")],
            ]
            for headers in bad {
                expectProblem(try client.ask("GET", "/kv/s2", headers), 400)
                expectProblem(try client.ask("GET", "/kv?prefix=s2", headers), 400)
                if headers[0].0 == "Affinity-Timeout" {
                    expectProblem(try client.ask("PUT", "/kv/s2", json + headers, body: "1"), 400)
                }
            }
            for timeout in ["2s", "100d", "5000ms", "1h"] {
                #expect(try client.ask("GET", "/kv/s2", [("Affinity-Timeout", timeout)]).status == 404)
            }
        }

        @Test func aDeadlineThatHasPassedIs503() throws {
            let client = try keyValue.connect()
            expectProblem(try client.ask("GET", "/kv/s3", [("Affinity-Timeout", "0s")]), 503)
            expectProblem(try client.ask("PUT", "/kv/s3", json + [("Affinity-Timeout", "0ms")], body: "1"), 503)
            #expect(try client.ask("GET", "/kv/s3").status == 404)
        }

        @Test func aShortDeadlineOfAWriteIs503Or504() throws {
            let client = try keyValue.connect()
            let answer = try client.ask("PUT", "/kv/s4", json + [("Affinity-Timeout", "1ns")], body: "1")
            #expect([201, 503, 504].contains(answer.status), "\(answer)")
            if answer.status == 503 { #expect(try client.ask("GET", "/kv/s4").status == 404) }
        }
    }

    @Suite struct Listing {
        private func fill(_ prefix: String, _ names: [String]) throws {
            let client = try keyValue.connect()
            for name in names {
                let answer = try client.ask("PUT", "/kv/\(encoded(prefix + name))", json, body: "\"\(encoded(name))\"")
                try #require(answer.status == 201)
            }
        }

        @Test func goesThroughAllPartitionsInTheOrderOfTheBytes() throws {
            let names =
                (0..<50).map { "\($0 * 7919)" } + [
                    "", "\0", "\0\0", " ", "~", "é", "e\u{301}", "😀", "\u{FFFF}", "\u{E000}", "Z", "a", "aa", "\"",
                    "\\", "\n",
                ]
            try fill("l1/", names)
            let sorted = names.map { "l1/" + $0 }.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            let client = try keyValue.connect()
            let whole = try client.page("prefix=l1/")
            #expect(whole.items.map { Array($0.key.utf8) } == sorted.map { Array($0.utf8) } && whole.next == nil)
            #expect(Set(try whole.items.map { try client.ask("HEAD", "/kv/\(encoded($0.key))").partition }).count == 4)
            for item in whole.items.prefix(5) {
                #expect(try client.ask("GET", "/kv/\(encoded(item.key))").version == item.version)
            }
            for limit in [1, 2, 7, 33, names.count - 1, names.count, names.count + 1, 1000] {
                var seen: [String] = []
                var after: String?
                repeat {
                    let page = try client.page(
                        "prefix=l1%2F&limit=\(limit)" + (after.map { "&after=\(encoded($0))" } ?? ""))
                    #expect(page.items.count == limit || page.next == nil)
                    if let next = page.next { #expect(next == page.items.last?.key) }
                    seen += page.items.map(\.key)
                    after = page.next
                } while after != nil
                #expect(seen.map { Array($0.utf8) } == sorted.map { Array($0.utf8) }, "limit \(limit)")
            }
        }

        @Test func takesPrefixAndAfterTogether() throws {
            try fill("l2/", ["a", "b", "c"])
            try fill("l2:", ["x"])
            let client = try keyValue.connect()
            let table = [
                ("prefix=l2/&after=l2/a", ["l2/b", "l2/c"]), ("prefix=l2/&after=l2/aa", ["l2/b", "l2/c"]),
                ("prefix=l2/&after=l2/c", []),
                ("prefix=l2/&after=a", ["l2/a", "l2/b", "l2/c"]), ("prefix=l2/&after=z", []), ("prefix=l2/b", ["l2/b"]),
                ("prefix=l2/zz", []),
                ("after=l2/b&limit=2", ["l2/c", "l2:x"]), ("prefix=l2/&after=", ["l2/a", "l2/b", "l2/c"]),
                ("prefix=&after=l2/c&limit=1", ["l2:x"]),
                ("&prefix=l2%2f&&limit=1&", ["l2/a"]), ("prefix=l2/&limit=001", ["l2/a"]),
            ]
            for (query, keys) in table { #expect(try client.page(query).items.map(\.key) == keys, "\(query)") }
            #expect(try client.ask("GET", "/kv?prefix=l2-none").text == "{\"items\":[]}")
            let answer = try client.ask("GET", "/kv?prefix=l2/a")
            let item = try #require(client.page("prefix=l2/a").items.first)
            #expect(answer.text == "{\"items\":[{\"key\":\"l2/a\",\"version\":\(item.version),\"value\":\"a\"}]}")
            #expect(answer["Content-Type"] == "application/json" && answer.position != nil && answer.etag == nil)
        }

        @Test func endsAPageAt8MiB() throws {
            let client = try keyValue.connect()
            let value = "\"" + String(repeating: "x", count: (1 << 20) - 2) + "\""
            for number in 0..<10 { #expect(try client.ask("PUT", "/kv/l3-\(number)", json, body: value).status == 201) }
            var numbers: [Int] = []
            var after = ""
            var pages = 0
            while true {
                let answer = try client.ask("GET", "/kv?prefix=l3-&after=\(after)")
                #expect(answer.status == 200 && answer.body.count <= 8 << 20)
                let page = try client.page("prefix=l3-&after=\(after)")
                numbers += page.items.compactMap { Int($0.key.dropFirst(3)) }
                pages += 1
                guard let next = page.next else { break }
                after = next
            }
            #expect(numbers == Array(0..<10) && pages == 2)
            for number in 0..<10 { _ = try client.ask("DELETE", "/kv/l3-\(number)") }
        }
    }
}
