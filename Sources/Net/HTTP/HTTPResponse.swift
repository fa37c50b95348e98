/// The answer to a request.
///
/// The server adds what frames it: `Content-Length`, `Date`, `Connection`. Of these, and of `Transfer-Encoding`,
/// `Trailer`, `Upgrade` and `Keep-Alive`, nothing is taken over from ``headers``, but that `Connection: close` closes the
/// connection after the answer. A `HEAD` gets the length of ``body`` without the body; 204 and 304 have neither.
///
/// An answer that cannot be sent as it is (a status outside of 200…999, a name that is no token, a value with a control
/// character such as CR, LF or NUL) is replaced by a 500: nothing of it reaches the wire.
public struct HTTPResponse: Sendable {
    /// The status, 200…999.
    public var status: Int
    /// The headers, in their order. Values are sent as UTF-8.
    public var headers: [(name: String, value: String)]
    /// The body; empty for none.
    public var body: [UInt8]
    /// What goes on after the head, instead of ``body``.
    var sequel: HTTPSequel?

    /// An answer of those parts.
    public init(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// An answer whose body is made bit by bit, for as long as `write` runs: chunked, or until the connection's end for
    /// HTTP/1.0. Server-Sent Events are sent so.
    ///
    /// `write` runs on the loop of the connection, in the task of the handler, once the answer has left the handler and
    /// its middleware. It is not called where there is no body (HEAD, 204, 304) or no client any more. Its return ends the
    /// body; the connection then serves the next request. Its task is cancelled when the client has gone, or the server
    /// drains: it should then come to its end. A client that sends no more may read on.
    public static func stream(
        status: Int = 200, headers: [(name: String, value: String)] = [],
        _ write: @escaping HTTPBodyWriter
    ) -> HTTPResponse {
        var response = HTTPResponse(status: status, headers: headers)
        response.sequel = HTTPSequel(.stream(write))
        return response
    }

    /// An answer that opens the WebSocket that the request asks for, for as long as `run` runs.
    ///
    /// `run` runs on the loop of the connection, in the task of the handler, once the answer has left the handler and its
    /// middleware. It is not called if the request is refused (``HTTPRequest/webSocketRefusal(origins:)``) or there is no
    /// client any more. Its return closes the socket with 1000, if it is open then. Its task is cancelled when the client
    /// closes the socket, is gone or breaks the protocol, or when the server drains, which closes it with 1001.
    ///
    /// - Parameters:
    ///   - configuration: its limits; values that cannot be used are answered 500.
    ///   - subprotocol: the one of ``HTTPRequest/webSocketProtocols`` that is spoken from now on.
    ///   - headers: what is added to the answer, whose status is 101.
    public static func webSocket(
        _ configuration: WebSocketConfiguration = WebSocketConfiguration(), subprotocol: String? = nil,
        headers: [(name: String, value: String)] = [],
        _ run: @escaping WebSocketHandler
    ) -> HTTPResponse {
        var response = HTTPResponse(status: 101, headers: headers)
        response.sequel = HTTPSequel(.webSocket(configuration, subprotocol: subprotocol, run))
        return response
    }
}

/// What goes on after the head of an answer. A class, so that an answer without it carries no more than a pointer.
final class HTTPSequel: Sendable {
    enum Kind: Sendable {
        case stream(HTTPBodyWriter)
        case webSocket(WebSocketConfiguration, subprotocol: String?, WebSocketHandler)
    }
    let kind: Kind

    init(_ kind: Kind) { self.kind = kind }
}
