import AffinityTestSupport
import Testing

/// What the reference service promises to those outside, checked from outside.
@Suite(KeyValueTrait()) struct KeyValueInterface {}

let json = [("Content-Type", "application/json")]

/// The members of a problem document that every one has.
func expectProblem(
    _ answer: HTTPClient.Answer, _ status: Int, _ words: String = "", location: SourceLocation = #_sourceLocation
) {
    #expect(answer.status == status, "\(answer)", sourceLocation: location)
    #expect(answer["Content-Type"] == "application/problem+json", "\(answer)", sourceLocation: location)
    let members = answer.members
    #expect(members["type"] as? String != nil, "\(answer)", sourceLocation: location)
    #expect((members["title"] as? String)?.isEmpty == false, "\(answer)", sourceLocation: location)
    #expect(members["status"] as? Int == status, "\(answer)", sourceLocation: location)
    let detail = members["detail"] as? String
    #expect(detail?.isEmpty == false && detail?.contains(words) != false, "\(answer)", sourceLocation: location)
    if status == 429 || status == 503 {
        #expect(answer["Retry-After"].flatMap { Int($0) } != nil, "\(answer)", sourceLocation: location)
    }
}

extension KeyValueInterface {
    @Suite struct Resources {
        @Test func aValueIsPutReplacedReadAndDeleted() throws {
            let client = try keyValue.connect()
            let created = try client.ask("PUT", "/kv/r1", json, body: " {\"a\": 1 }\n")
            #expect(created.status == 201)
            #expect(created.body.isEmpty && created["Content-Length"] == "0")
            let first = try #require(created.version)
            #expect(first > 0)

            let read = try client.ask("GET", "/kv/r1")
            #expect(read.status == 200 && read.text == " {\"a\": 1 }\n" && read.etag == created.etag)
            #expect(read["Content-Type"] == "application/json")

            let replaced = try client.ask("PUT", "/kv/r1", json, body: " {\"a\": 1 }\n")
            #expect(replaced.status == 204 && replaced.body.isEmpty)
            #expect(try #require(replaced.version) > first, "a PUT of the value that stands is a change")

            let deleted = try client.ask("DELETE", "/kv/r1")
            #expect(deleted.status == 204 && deleted.body.isEmpty && deleted.etag == nil)
            expectProblem(try client.ask("GET", "/kv/r1"), 404)
            expectProblem(try client.ask("DELETE", "/kv/r1"), 404)
            let again = try client.ask("PUT", "/kv/r1", json, body: "1")
            #expect(again.status == 201)
            #expect(try #require(again.version) > #require(replaced.version) + 1, "the removal was a change too")
        }

        @Test func headIsGetWithoutTheBody() throws {
            let client = try keyValue.connect()
            let put = try client.ask("PUT", "/kv/r2", json, body: "[1,2,3]")
            let head = try client.ask("HEAD", "/kv/r2")
            #expect(head.status == 200 && head["Content-Length"] == "7" && head.etag == put.etag)
            #expect(head["Content-Type"] == "application/json" && head.position != nil)
            #expect(try client.ask("HEAD", "/kv/r2", [("If-None-Match", put.etag ?? "")]).status == 304)
            let absent = try client.ask("HEAD", "/kv/r2-absent")
            #expect(absent.status == 404 && absent["Content-Type"] == "application/problem+json")
            #expect(try client.ask("HEAD", "/kv?prefix=r2").status == 200)
            #expect(try client.ask("HEAD", "/healthz").status == 200)
            // The connection is still in step.
            #expect(try client.ask("GET", "/kv/r2").text == "[1,2,3]")
        }

        @Test(arguments: [
            ("POST", "/kv/r3"), ("PATCH", "/kv/r3"), ("TRACE", "/kv/r3"), ("BREW", "/kv/r3"), ("get", "/kv/r3"),
        ])
        func anotherMethodIsNotAllowed(method: String, target: String) throws {
            let answer = try keyValue.connect().ask(method, target, json, body: "1")
            expectProblem(answer, 405)
            #expect(answer["Allow"] == "DELETE, GET, HEAD, OPTIONS, PUT")
        }

        @Test func everyPathSaysWhatItAllows() throws {
            let client = try keyValue.connect()
            let table = [
                ("POST", "/kv", "GET, HEAD, OPTIONS"), ("GET", "/kv/r4/add", "OPTIONS, POST"),
                ("PUT", "/status", "GET, HEAD, OPTIONS"), ("DELETE", "/healthz", "GET, HEAD, OPTIONS"),
                ("POST", "/readyz", "GET, HEAD, OPTIONS"),
            ]
            for (method, target, allowed) in table {
                let answer = try client.ask(method, target, json, body: "1")
                expectProblem(answer, 405)
                #expect(answer["Allow"] == allowed, "\(target)")
                let options = try client.ask("OPTIONS", target)
                #expect(options.status == 204 && options["Allow"] == allowed, "\(target)")
            }
            #expect(try client.ask("OPTIONS", "*").status == 204)
        }

        @Test(arguments: [
            "/", "/nothing", "/kv/", "/kv//add", "/kv/a/b", "/kv/a/", "/kv/a/add/", "//kv", "/KV/a", "/kv/a/Add",
        ])
        func elsewhereIsNothing(target: String) throws {
            let client = try keyValue.connect()
            for method in ["GET", "PUT", "POST", "DELETE"] {
                let body = method == "GET" ? nil : "{\"by\":1}"
                expectProblem(try client.ask(method, target, json, body: body), 404)
            }
        }

        @Test(arguments: [
            "/kv/a?x=1", "/kv/a?limit=1", "/kv?x=1", "/kv?limit=1&limit=1", "/kv?prefix=a&prefix=b", "/status?x",
            "/healthz?a=1",
            "/readyz?%61", "/kv?limit=%zz", "/kv?prefix=%ff", "/kv?limit", "/kv?limit=", "/kv?limit=0",
            "/kv?limit=1001",
            "/kv?limit=-1", "/kv?limit=1.0", "/kv?limit=%2B5", "/kv?limit=+5", "/kv?limit=99999999999999999999",
            "/kv?limit=a",
        ])
        func badQueriesAreRefused(target: String) throws {
            expectProblem(try keyValue.connect().ask("GET", target), 400)
        }

        @Test func aBodyThatNobodyReadsIsIgnored() throws {
            let client = try keyValue.connect()
            let put = try client.ask("PUT", "/kv/r5", json, body: "5")
            let read = try client.ask("GET", "/kv/r5", [("Content-Type", "text/plain")], body: "not json {")
            #expect(read.status == 200 && read.text == "5" && read.etag == put.etag)
            #expect(try client.ask("DELETE", "/kv/r5", [("Content-Type", "text/plain")], body: "what?").status == 204)
        }
    }

    @Suite struct Keys {
        @Test func areDecodedOnce() throws {
            let client = try keyValue.connect()
            let pairs = [
                ("k%2Fslash", "k/slash"), ("k%00zero", "k\0zero"), ("k%2541", "k%41"), ("k%C3%A9", "ké"),
                ("k%20space", "k space"), ("k+plus", "k+plus"), ("k%3Fmark", "k?mark"), ("k%25", "k%"), ("k..", "k.."),
                ("ke%CC%81", "ke\u{301}"), ("k%F0%9F%98%80", "k😀"), ("k:;=@&,$", "k:;=@&,$"),
            ]
            for (segment, key) in pairs {
                #expect(
                    try client.ask("PUT", "/kv/\(segment)", json, body: "\"\(segment)\"").status == 201, "\(segment)")
                let read = try client.ask("GET", "/kv/\(segment)")
                #expect(read.text == "\"\(segment)\"")
                let page = try client.page("prefix=\(segment.replacing("+", with: "%2B").replacing("&", with: "%26"))")
                #expect(page.items.contains { $0.key == key && $0.key.utf8.elementsEqual(key.utf8) }, "\(segment)")
            }
            // Raw UTF-8 is taken as it is.
            #expect(try client.ask("GET", "/kv/ké").text == "\"k%C3%A9\"")
            #expect(try client.ask("GET", "/kv/%6b%C3%A9").text == "\"k%C3%A9\"")
            // Two spellings of one letter are two keys.
            #expect(try client.ask("GET", "/kv/ke%CC%81").text != client.ask("GET", "/kv/k%C3%A9").text)
        }

        @Test func haveOneTo1024Bytes() throws {
            let client = try keyValue.connect()
            for key in [String(repeating: "x", count: 1024), String(repeating: "%C3%A9", count: 512), "x"] {
                #expect(try client.ask("PUT", "/kv/\(key)", json, body: "1").status / 100 == 2)
                #expect(try client.ask("GET", "/kv/\(key)").status == 200)
                #expect(try client.ask("DELETE", "/kv/\(key)").status == 204)
            }
            for key in [
                String(repeating: "x", count: 1025), String(repeating: "%C3%A9", count: 513),
                String(repeating: "%41", count: 1025),
            ] {
                expectProblem(try client.ask("PUT", "/kv/\(key)", json, body: "1"), 400)
                expectProblem(try client.ask("GET", "/kv/\(key)"), 400)
                expectProblem(try client.ask("DELETE", "/kv/\(key)"), 400)
                expectProblem(try client.ask("POST", "/kv/\(key)/add", json, body: "{\"by\":1}"), 400)
            }
        }

        @Test(arguments: [
            "%", "%4", "a%", "%zz", "%4g", "a%2", "%%41", "%ff", "%C3", "%C3%28", "%ED%A0%80", "%C0%80", "%F4%90%80%80",
            "%E2%82",
        ])
        func thatCannotBeReadAreRefused(key: String) throws {
            let client = try keyValue.connect()
            expectProblem(try client.ask("GET", "/kv/\(key)"), 400)
            expectProblem(try client.ask("PUT", "/kv/\(key)", json, body: "1"), 400)
        }

        @Test func rawBytesThatAreNotUTF8AreRefused() throws {
            for bytes in [[0xFF], [0xC3], [0xC3, 0x28], [0xED, 0xA0, 0x80]] as [[UInt8]] {
                let client = try keyValue.connect()
                try client.send(HTTPClient.request("GET", Array("/kv/a".utf8) + bytes))
                expectProblem(try client.answer(), 400)
            }
        }
    }
}
