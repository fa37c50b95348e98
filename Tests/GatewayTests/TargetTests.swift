import AffinityCore
import Testing

@testable import AffinityGateway

@Suite struct TargetTests {
    private func target(_ bytes: [UInt8]) throws(HTTPError) -> Target {
        try bytes.span.bytes.withUnsafeBytes { bytes throws(HTTPError) in try Target(bytes) }
    }

    private func segments(_ text: String) throws(HTTPError) -> [String] { try target(Array(text.utf8)).segments }

    @Test(arguments: [
        ("/", [""]), ("/a", ["a"]), ("/a/", ["a", ""]), ("//", ["", ""]), ("/a/b%2Fc", ["a", "b/c"]),
        ("/%2541", ["%41"]),
        ("/a+b", ["a+b"]), ("/%00", ["\0"]), ("/%e2%82%aC", ["€"]), ("/é", ["é"]), ("/a?b/c", ["a"]),
        ("/a%3Fb", ["a?b"]),
        ("http://h/a/b", ["a", "b"]), ("https://h:1/a", ["a"]), ("http://h", [""]), ("http://h?/a", [""]),
        ("http:///a", ["a"]),
        ("/http://h/a", ["http:", "", "h", "a"]), ("/..", [".."]),
    ])
    func pathsAreTakenApart(text: String, expected: [String]) throws {
        #expect(try segments(text) == expected)
    }

    @Test(arguments: [
        "", "a", "*", "?", "a:b", "http:/h/a", "averylongschemeindeed://h/a", "/%", "/%1", "/%1g", "/%g1", "/%ff",
        "/%c0%80", "/%ed%a0%80",
    ])
    func otherTextsAreRefused(text: String) {
        let error = #expect(throws: HTTPError.self) { try self.segments(text) }
        #expect(error?.status == 400)
    }

    @Test func bytesThatAreNotUTF8AreRefused() {
        #expect(throws: HTTPError.self) { try target(Array("/a".utf8) + [0xFF]) }
    }

    @Test func queriesAreKeptAsTheyAre() throws {
        #expect(try target(Array("/a".utf8)).query == nil)
        #expect(try target(Array("/a?".utf8)).query == [])
        #expect(try target(Array("/a?b=%zz?c".utf8)).query == Array("b=%zz?c".utf8))
        #expect(try target(Array("http://h?x".utf8)).query == Array("x".utf8))
    }

    private func items(_ query: String?) throws(HTTPError) -> QueryItems {
        try QueryItems(query.map { Array($0.utf8) }, names: ["a", "b c"])
    }

    @Test func queryItemsAreDecoded() throws {
        #expect(try items(nil)["a"] == nil)
        #expect(try items("")["a"] == nil)
        #expect(try items("a")["a"] == "")
        #expect(try items("a=")["a"] == "")
        #expect(try items("a=x+y%2B%3d=")["a"] == "x y+==")
        #expect(try items("&&b+c=1&&%61=2&")["b c"] == "1")
        #expect(try items("&&b+c=1&&%61=2&")["a"] == "2")
    }

    @Test(arguments: ["x", "A", "=", "=1", "a=1&a=1", "a&%61", "a=%", "a=%f", "%ff=1", "a=%ff", "a=1&x=2"])
    func otherQueriesAreRefused(query: String) {
        let error = #expect(throws: HTTPError.self) { try self.items(query) }
        #expect(error?.status == 400)
    }
}

@Suite struct ConditionsTests {
    private func conditions(_ match: [String] = [], not: [String] = []) throws(HTTPError) -> Conditions {
        try Conditions(match: match, noneMatch: not)
    }

    @Test func withoutHeadersEverythingPasses() throws {
        let none = try conditions()
        #expect(none.isEmpty && none == Conditions())
        #expect(none.check(nil) == .passed && none.check(Version(1)) == .passed)
    }

    @Test(arguments: [
        (["*"], 5, true), ([" * "], 5, true), (["\"5\""], 5, true), (["\"4\", \"5\""], 5, true),
        (["\"4\"", "\"5\""], 5, true),
        (["\"4\""], 5, false), (["W/\"5\""], 5, false), (["\"05\""], 5, false), (["\"+5\""], 5, false),
        (["\"\""], 5, false),
        (["\"x,\",,\t\"5\" ,"], 5, true), (["\"18446744073709551615\""], .max, true),
        (["\"18446744073709551616\""], .max, false),
    ])
    func tagsAreCompared(fields: [String], version: UInt64, matches: Bool) throws {
        #expect(try conditions(fields).check(Version(version)) == (matches ? .passed : .failed))
        #expect(try conditions(not: fields).check(Version(version)) == (matches ? .matched : .passed))
        #expect(try conditions(fields).check(nil) == .failed)
        #expect(try conditions(not: fields).check(nil) == .passed)
    }

    @Test func matchComesFirst() throws {
        #expect(try conditions(["\"1\""], not: ["*"]).check(Version(2)) == .failed)
        #expect(try conditions(["*"], not: ["\"2\""]).check(Version(2)) == .matched)
    }

    @Test(arguments: [
        [""], [","], ["5"], ["\"5"], ["5\""], ["*", "*"], ["*,\"5\""], ["\"a\"\"b\""], ["w/\"5\""], ["W/"], ["W/5"],
        ["\"a\u{7F}\""], ["\"a b\""],
    ])
    func otherTextsAreRefused(fields: [String]) {
        #expect(throws: HTTPError.self) { try self.conditions(fields) }
        #expect(throws: HTTPError.self) { try self.conditions(not: fields) }
    }
}

@Suite struct ContentTypeTests {
    @Test(arguments: [
        "application/json", "APPLICATION/json", " application/json ", "application/json;",
        "application/json; charset=utf-8",
        "application/json;CharSet=\"UTF-8\"", "application/json; a=\"x;charset=y\"",
    ])
    func thatAreJSON(text: String) { #expect(ContentType(text)?.isJSON == true) }

    @Test(arguments: [
        "", ";", "text/json", "application/json5", "application/json; charset=", "application/json; charset=utf8",
        "application/json; charset=utf-8; charset=ascii", "application/json; charset", "application/json; a=\"",
        "application /json",
    ])
    func thatAreNot(text: String) { #expect(ContentType(text)?.isJSON != true) }
}

@Suite struct ListenerTests {
    @Test(arguments: [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080), ("http://localhost:0", "localhost", 0),
        ("http://0.0.0.0:65535/", "0.0.0.0", 65_535),
        ("http://[::1]:80", "::1", 80), ("http://[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("http://a-b.c_d:1", "a-b.c_d", 1),
    ])
    func addressesAreRead(url: String, host: String, port: Int) {
        let listener = GatewayConfiguration.Listener(url)
        #expect(listener?.host == host && listener?.port == port)
        #expect(listener.map { GatewayConfiguration.Listener($0.url(port: $0.port)) } == listener)
    }

    @Test(arguments: [
        "", "http://", "127.0.0.1:80", "https://a:1", "http://a", "http://a:", "http://a:65536", "http://a:-1",
        "http://a:+1", "http://a:1x",
        "http://:80", "http://[]:80", "http://::1:80", "http://[::1]", "http://[a]:1", "http://a/b:1", "http://u@a:1",
        "http://a b:1",
        "http://a:1//", "http://a\n:1", "http://[::1:80", "http://::1]:80", "http://a:1?x",
        "http://a:99999999999999999999",
    ])
    func otherTextsAreNot(url: String) { #expect(GatewayConfiguration.Listener(url) == nil) }
}
