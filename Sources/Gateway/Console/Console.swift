internal import AffinityNet
internal import FoundationEssentials

/// The page that shows a node to people: its partitions, its nodes, one key; live.
///
/// One answer with everything in it. Its security policy lets the browser run this script and no other, ask this
/// server and no other, and show it in no frame.
package struct Console: Sendable {
    private let html: [UInt8]
    private let policy: String

    /// - Parameters:
    ///   - status: where the page asks for the node's status.
    ///   - entry: where it looks keys up and watches them, with `:key` for the key; `nil` if nowhere.
    package init(status: String, entry: String?) {
        html = Array(ConsolePage.html(status: status, entry: entry).utf8)
        policy =
            "default-src 'none'; script-src '\(Self.hash(ConsolePage.script))'; style-src "
            + "'\(Self.hash(ConsolePage.style))'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            + "frame-ancestors 'none'"
    }

    /// The page.
    package var response: Response {
        Response(
            headers: [
                ("Content-Type", "text/html; charset=utf-8"), ("Content-Security-Policy", policy),
                ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
                ("Cache-Control", "no-cache"),
            ], body: html)
    }

    private static func hash(_ text: String) -> String {
        "sha256-" + Data(Digest.sha256([Array(text.utf8)])).base64EncodedString()
    }
}
