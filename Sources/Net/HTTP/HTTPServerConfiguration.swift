/// The limits of an ``HTTPServer``. Every one is enforced before more is read or kept.
public struct HTTPServerConfiguration: Sendable {
    /// Bytes of a request target; a longer one is answered 414. Default 8 KiB.
    public var targetLimit = 8 * 1024
    /// Bytes of the header fields together; more are answered 431. Default 16 KiB.
    public var headerSectionLimit = 16 * 1024
    /// Header fields of a request; more are answered 431. Default 100.
    public var headerCountLimit = 100
    /// Bytes of a body, after its transfer coding; a longer one is answered 413. Default 1 MiB.
    public var bodyLimit = 1024 * 1024
    /// Open connections. Beyond them a connection is answered 503 and closed; beyond a tenth more (and 16) it is closed
    /// without a word. Default 10,000.
    public var connectionLimit = 10_000
    /// Bytes of answers that a client has not taken yet, beyond which its next request is not begun. Default 256 KiB;
    /// one answer more than that can be held.
    public var unsentLimit = 256 * 1024
    /// How long a connection may wait for its next request before it is closed. Default 60 s.
    public var idleTime: Duration = .seconds(60)
    /// From a request's first byte to the end of its header section; then 408. Default 10 s.
    public var headerReadTime: Duration = .seconds(10)
    /// From there to the end of the body; then 408. Default 30 s.
    public var bodyReadTime: Duration = .seconds(30)
    /// How long a client that does not keep up may need for what is sent to it, or for each 64 KiB of it; then the
    /// connection is reset. Default 30 s.
    public var writeTime: Duration = .seconds(30)
    /// How long, after the last answer of a connection, what still comes is read and discarded, so that the answer is not
    /// lost in a reset. Default 2 s.
    public var lingerTime: Duration = .seconds(2)

    /// The defaults.
    public init() {}

    /// Checks that every value can be used.
    ///
    /// - Throws: ``NetError`` with ``NetError/Code/badConfiguration``, naming the first that cannot.
    public func validate() throws(NetError) {
        let sizes = [
            ("targetLimit", targetLimit), ("headerSectionLimit", headerSectionLimit),
            ("headerCountLimit", headerCountLimit), ("connectionLimit", connectionLimit),
        ]
        for (name, value) in sizes where value < 1 || value > 1 << 30 {
            throw NetError(.badConfiguration, "\(name) is \(value); it must be from 1 to 2^30")
        }
        for (name, value) in [("bodyLimit", bodyLimit), ("unsentLimit", unsentLimit)] where value < 0 || value > 1 << 40
        {
            throw NetError(.badConfiguration, "\(name) is \(value); it must be from 0 to 2^40")
        }
        let times = [
            ("idleTime", idleTime), ("headerReadTime", headerReadTime), ("bodyReadTime", bodyReadTime),
            ("writeTime", writeTime), ("lingerTime", lingerTime),
        ]
        for (name, value) in times where value < .milliseconds(1) || value > .seconds(86_400) {
            throw NetError(.badConfiguration, "\(name) is \(value); it must be from 1 ms to a day")
        }
    }
}
