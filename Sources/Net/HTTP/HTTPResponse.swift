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

    /// An answer of those parts.
    public init(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}
