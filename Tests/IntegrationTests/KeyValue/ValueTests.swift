import AffinityTestSupport
import Testing

extension KeyValueInterface {
    @Suite struct Values {
        @Test(arguments: [
            "0", "-0", "-0.0", "1e400", "1E-400", "123456789012345678901234567890", "1.0000000000000000000000001",
            "\"\"", "null",
            "true", "false", "{}", "[]", " \t\r\n1 \t\r\n", "{\"a\":1,\"a\":2}", "{\"\":{}}", "\"\\u0000\"",
            "\"\\ud83d\\ude00\"",
            "\"é😀\u{7F}\"", "[[],{}]", "\"\\/\\b\\f\\n\\r\\t\\\"\\\\\"",
        ])
        func areKeptByteForByte(text: String) throws {
            let client = try keyValue.connect()
            let key = "/kv/v1-\(encoded(text))"
            #expect(try client.ask("PUT", key, json, body: text).status / 100 == 2)
            #expect(try client.ask("GET", key).text == text)
        }

        /// The byte of the first mistake is named.
        @Test(arguments: [
            ("", 0), (" ", 1), ("[1,]", 3), ("{\"a\":1,}", 7), ("01", 1), ("1 1", 2), ("{a:1}", 1), ("[1 2]", 3),
            ("1.", 2),
            ("\"a\u{1}\"", 2), ("\u{FEFF}1", 0), ("NaN", 0), ("'a'", 0), ("[1", 2), ("\"abc", 4), ("{\"a\" 1}", 5),
            ("/**/1", 0),
            ("+1", 0), (".5", 0), ("[1]]", 3), ("1\0", 1), ("\u{B}1", 0), ("\u{A0}1", 0),
        ])
        func thatAreNotJSONAreRefused(text: String, offset: Int) throws {
            let client = try keyValue.connect()
            for (method, target) in [("PUT", "/kv/v2"), ("POST", "/kv/v2/add")] {
                let answer = try client.ask(method, target, json, body: text)
                expectProblem(answer, 400, "byte \(offset)")
                #expect(answer.position == nil)
            }
            expectProblem(try client.ask("GET", "/kv/v2"), 404)
        }

        @Test func mustBeUTF8() throws {
            let client = try keyValue.connect()
            for middle in [[0xFF], [0xC3], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80]] as [[UInt8]] {
                let body = Array("\"ab".utf8) + middle + Array("\"".utf8)
                expectProblem(try client.ask("PUT", "/kv/v3", json, bytes: body), 400, "byte 3")
            }
            let utf16: [UInt8] = [0xFE, 0xFF, 0, 0x31]
            expectProblem(try client.ask("PUT", "/kv/v3", json, bytes: utf16), 400, "byte 0")
        }

        @Test func areAtMost512LevelsDeep() throws {
            let client = try keyValue.connect()
            func nested(_ levels: Int) -> String {
                String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
            }
            #expect(try client.ask("PUT", "/kv/v4", json, body: nested(512)).status == 201)
            #expect(try client.ask("GET", "/kv/v4").text == nested(512))
            expectProblem(try client.ask("PUT", "/kv/v4", json, body: nested(513)), 400, "byte 512")
            let objects = String(repeating: "{\"a\":", count: 513) + "1" + String(repeating: "}", count: 513)
            expectProblem(try client.ask("PUT", "/kv/v4", json, body: objects), 400, "byte 2560")
            expectProblem(try client.ask("PUT", "/kv/v4", json, body: String(repeating: "[", count: 200_000)), 400)
        }

        @Test func areAtMostOneMebibyte() throws {
            let client = try keyValue.connect()
            let text = "\"" + String(repeating: "x", count: (1 << 20) - 2) + "\""
            #expect(try client.ask("PUT", "/kv/v5", json, body: text).status == 201)
            #expect(try client.ask("GET", "/kv/v5").text == text)
            #expect(try client.ask("DELETE", "/kv/v5").status == 204)
            let long = try keyValue.connect()
            try long.send(Array("PUT /kv/v5 HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n".utf8))
            expectProblem(try long.answer(), 413)
            let chunked = try keyValue.connect()
            try chunked.send(
                Array("PUT /kv/v5 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n".utf8))
            expectProblem(try chunked.answer(), 413)
            expectProblem(try client.ask("GET", "/kv/v5"), 404)
        }

        @Test(arguments: [
            "application/json", "Application/JSON", "application/json;charset=utf-8", "application/json; charset=UTF-8",
            "application/json; charset=\"utf-8\"", "application/json;", "application/json; profile=\"a;b\"",
            "application/json ; a=b ; c=d",
        ])
        func mayBeOfTheseTypes(type: String) throws {
            let answer = try keyValue.connect().ask("PUT", "/kv/v6", [("Content-Type", type)], body: "1")
            #expect(answer.status / 100 == 2, "\(answer)")
        }

        @Test(arguments: [
            "text/plain", "application/jsonp", "application/json+x", "application/problem+json",
            "application/x-www-form-urlencoded",
            "json", "application/json; charset=latin1", "application/json; charset=utf-16",
            "application/json; charset=utf-8; charset=latin1",
            "application/json, text/plain", "text/json", "application/json; charset=\"utf-8", "*/*",
        ])
        func mayNotBeOfThoseTypes(type: String) throws {
            let client = try keyValue.connect()
            expectProblem(try client.ask("PUT", "/kv/v7", [("Content-Type", type)], body: "1"), 415)
            expectProblem(try client.ask("POST", "/kv/v7/add", [("Content-Type", type)], body: "{\"by\":1}"), 415)
        }

        @Test func needNoTypeAndTakeNoEncoding() throws {
            let client = try keyValue.connect()
            #expect(try client.ask("PUT", "/kv/v8", body: "1").status == 201)
            for encoding in ["gzip", "br", "identity, gzip", "x"] {
                let headers = json + [("Content-Encoding", encoding)]
                expectProblem(try client.ask("PUT", "/kv/v8", headers, body: "1"), 415)
            }
            expectProblem(
                try client.ask("PUT", "/kv/v8", [("Content-Type", "a/b"), ("Content-Type", "a/b")], body: "1"), 400)
        }
    }

    @Suite struct Adding {
        @Test func countsFromZeroAndKeepsThePlainDecimal() throws {
            let client = try keyValue.connect()
            let first = try client.ask("POST", "/kv/a1/add", json, body: "{\"by\": 5}")
            #expect(first.status == 200 && first["Content-Type"] == "application/json")
            #expect(first.members["value"] as? Int == 5 && first.members.count == 1)
            let second = try client.ask(
                "POST", "/kv/a1/add", json, body: " { \"x\": [{\"by\": 9}], \"b\\u0079\" : -12 } ")
            #expect(second.members["value"] as? Int == -7)
            #expect(try #require(second.version) > #require(first.version))
            let read = try client.ask("GET", "/kv/a1")
            #expect(read.text == "-7" && read.etag == second.etag)
        }

        @Test(arguments: [(" \n12\t ", 13), ("-0", 1), ("-5", -4), ("9223372036854775806", Int64.max)])
        func takesIntegersAsTheyAreWritten(stored: String, sum: Int64) throws {
            let client = try keyValue.connect()
            let key = "/kv/a2-\(encoded(stored))"
            _ = try client.ask("PUT", key, json, body: stored)
            #expect(try client.ask("POST", "\(key)/add", json, body: "{\"by\":1}").text == "{\"value\":\(sum)}")
            #expect(try client.ask("GET", key).text == "\(sum)")
        }

        @Test(arguments: [
            "12.0", "1e2", "1.5", "\"12\"", "null", "true", "[1]", "{\"a\":1}", "9223372036854775808",
            "-9223372036854775809",
            "9223372036854775807", "123456789012345678901234567890", "-0.0",
        ])
        func refusesWhatIsNoIntegerOrTooLarge(stored: String) throws {
            let client = try keyValue.connect()
            let key = "/kv/a3-\(encoded(stored))"
            let put = try client.ask("PUT", key, json, body: stored)
            let answer = try client.ask("POST", "\(key)/add", json, body: "{\"by\":1}")
            expectProblem(answer, 422)
            #expect(answer.position != nil)
            let read = try client.ask("GET", key)
            #expect(read.text == stored && read.etag == put.etag)
        }

        @Test func endsAtInt64() throws {
            let client = try keyValue.connect()
            let least = try client.ask("POST", "/kv/a4/add", json, body: "{\"by\":-9223372036854775808}")
            #expect(least.text == "{\"value\":-9223372036854775808}")
            expectProblem(try client.ask("POST", "/kv/a4/add", json, body: "{\"by\":-1}"), 422)
            #expect(
                try client.ask("POST", "/kv/a4/add", json, body: "{\"by\":9223372036854775807}").text
                    == "{\"value\":-1}")
        }

        @Test(arguments: [
            "{}", "5", "null", "[]", "[{\"by\":1}]", "{\"by\":\"5\"}", "{\"by\":1.5}", "{\"by\":5.0}", "{\"by\":1e2}",
            "{\"by\":null}",
            "{\"by\":9223372036854775808}", "{\"by\":true}", "{\"BY\":1}", "{\"by\":1,\"by\":2}", "{\"x\":{\"by\":1}}",
            "\"{\\\"by\\\":1}\"",
            "{\"by\":[1]}", "{\"by\":1e400}", "",
        ])
        func wantsOneInteger(body: String) throws {
            let client = try keyValue.connect()
            expectProblem(try client.ask("POST", "/kv/a5/add", json, body: body), 400)
            expectProblem(try client.ask("GET", "/kv/a5"), 404)
        }
    }
}
