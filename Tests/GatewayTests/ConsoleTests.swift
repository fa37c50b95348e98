import AffinityNet
import Foundation
import Testing

@testable import AffinityGateway

@Suite struct ConsoleTests {
    private func page(entry: String?) throws -> (html: String, headers: [String: String]) {
        let response = Console(status: "/console/status", entry: entry).response
        #expect(response.status == 200)
        return (String(decoding: response.body, as: UTF8.self), Dictionary(uniqueKeysWithValues: response.headers))
    }

    /// What stands between the tags, as the browser hashes it.
    private func content(of tag: String, in html: String) throws -> String {
        let start = try #require(html.firstRange(of: "<\(tag)>")).upperBound
        return String(html[start..<(try #require(html.firstRange(of: "</\(tag)>")).lowerBound)])
    }

    @Test func thePolicyAllowsThisPageAndNothingElse() throws {
        let (html, headers) = try page(entry: "/kv/:key")
        #expect(headers["Content-Type"] == "text/html; charset=utf-8")
        #expect(headers["X-Content-Type-Options"] == "nosniff")
        let policy = try #require(headers["Content-Security-Policy"])
        for part in ["default-src 'none'", "connect-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
            #expect(policy.contains(part))
        }
        for (tag, kind) in [("script", "script-src"), ("style", "style-src")] {
            let hash = Data(Digest.sha256([Array(try content(of: tag, in: html).utf8)])).base64EncodedString()
            #expect(policy.contains("\(kind) 'sha256-\(hash)'"))
            #expect(html.components(separatedBy: "<\(tag)").count == 2, "one \(tag)")
        }
        #expect(!policy.contains("unsafe"))
    }

    @Test func nothingIsLoadedFromElsewhereAndNothingBecomesHTML() throws {
        let html = try page(entry: "/kv/:key").html
        for word in [
            "http://", "https://", "src=", "href=", "@import", "url(", "innerHTML", "outerHTML", "insertAdjacent",
            "document.write", "eval(", "style=", "onclick=",
        ] {
            #expect(!html.contains(word), "\(word)")
        }
    }

    @Test func pathsAreAttributesWhateverIsInThem() throws {
        let html = try page(entry: "/a\"><script>&/:key").html
        #expect(html.contains("data-entry=\"/a&quot;&gt;&lt;script&gt;&amp;/:key\""))
        #expect(try page(entry: nil).html.contains("data-entry=\"\""))
    }
}
