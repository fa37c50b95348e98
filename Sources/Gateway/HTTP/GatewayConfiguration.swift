public import AffinityConfiguration
public import AffinityNet

/// The keys under `gateway`.
public struct GatewayConfiguration: Sendable {
    /// Where the gateway listens: `http://host:port`.
    public var listeners: [Listener]
    /// How long a request may take whose client says nothing of it.
    public var deadline: Duration
    /// Whether every request becomes a log line.
    public var accessLog: Bool
    /// Whether a request that belongs to no trace begins one.
    public var beginsTraces: Bool
    /// The names and addresses by which it may be asked, without ports, as in the header `Host`; others are refused with
    /// 421. Empty for any.
    public var hosts: [String]
    /// Which pages of other origins may use the gateway; `nil` for none.
    public var cors: CORS?
    /// How clients watch.
    public var watching: WatchConfiguration
    /// What bounds requests and connections.
    public var server: HTTPServerConfiguration

    /// One address to listen at.
    public struct Listener: Hashable, Sendable {
        /// A name or an address.
        public var host: String
        /// The port; 0 for any that is free.
        public var port: Int

        /// Reads `http://host:port`, an IPv6 address as `http://[::1]:8080`; `nil` for anything else.
        public init?(_ url: String) {
            let prefix = "http://"
            guard url.hasPrefix(prefix) else { return nil }
            var rest = url.dropFirst(prefix.count)
            if rest.hasSuffix("/") { rest = rest.dropLast() }
            guard let colon = rest.lastIndex(of: ":") else { return nil }
            let digits = rest[rest.index(after: colon)...]
            guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits) else { return nil }
            var host = rest[..<colon]
            let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
            if isBracketed { host = host.dropFirst().dropLast() }
            // The colons of an IPv6 address would be taken for the port's.
            guard !host.isEmpty, isBracketed == host.contains(":"),
                host.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }), !host.contains(where: { "/[]@?#".contains($0) })
            else { return nil }
            self.host = String(host)
            self.port = Int(port)
        }

        /// The address with the port that was bound in the end, as ``init(_:)`` reads it.
        public func url(port: Int) -> String {
            host.contains(":") ? "http://[\(host)]:\(port)" : "http://\(host):\(port)"
        }
    }

    /// A name or an address as it stands in `Host`, without a port.
    static func isHost(_ text: String) -> Bool {
        let isBracketed = text.hasPrefix("[") && text.hasSuffix("]")
        return !text.isEmpty && isBracketed == text.contains(":")
            && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } && !text.contains { "/@,*\"\\".contains($0) }
    }

    /// Reads the key `listeners` of a group.
    package static func listeners(_ group: ConfigurationReader, default urls: [String], doc: String) -> [Listener] {
        let rule = TextRule("an address like http://127.0.0.1:8080") { Listener($0) != nil }
        return group.list("listeners", default: urls, count: 0...64, each: rule, doc: doc).compactMap(Listener.init)
    }

    /// Reads the keys.
    public init(_ reader: ConfigurationReader) {
        let gateway = reader.group("gateway")
        listeners = Self.listeners(
            gateway, default: ["http://127.0.0.1:8080"],
            doc: "Where the gateway listens. Port 0 takes any that is free.")
        deadline = gateway.duration(
            "deadline", default: .seconds(10), in: .milliseconds(1) ... .seconds(3600),
            doc: "How long a request may take whose client does not say.")
        accessLog = gateway.boolean(
            "access-log", default: false, doc: "Whether every request becomes a log line.")
        beginsTraces = gateway.boolean(
            "begin-traces", default: false,
            doc: "Whether a request without a valid traceparent (W3C Trace Context) gets one of its own.")
        hosts = gateway.list(
            "hosts", default: [],
            each: TextRule("a name or an address without a port, an IPv6 address in brackets") { Self.isHost($0) },
            doc:
                "The names and addresses by which the gateway may be asked, as clients give them in Host, without ports; others are answered with 421. Without any, all may. Against pages that make a name of theirs stand for this machine."
        )
        cors = CORS(gateway.group("cors"))
        watching = WatchConfiguration(gateway)
        var server = HTTPServerConfiguration()
        let limits = gateway.group("limits")
        server.targetLimit =
            limits.size(
                "target", default: .kibibytes(8), in: .bytes(64) ... .kibibytes(64),
                doc: "How long a request target may be; a longer one is answered with 414."
            ).bytes
        server.headerSectionLimit =
            limits.size(
                "headers", default: .kibibytes(16), in: .bytes(256) ... .mebibytes(1),
                doc: "How long the header section may be; a longer one is answered with 431."
            ).bytes
        server.bodyLimit =
            limits.size(
                "body", default: .mebibytes(1), in: .bytes(0) ... .gibibytes(1),
                doc: "How long a body may be; a longer one is answered with 413."
            ).bytes
        server.connectionLimit = limits.integer(
            "connections", default: 10_000, in: 1...1_000_000, unit: "connections",
            doc: "How many connections may be open; more are refused.")
        server.idleTime = limits.duration(
            "idle", default: .seconds(60), in: .milliseconds(10) ... .seconds(86_400),
            doc: "How long a connection may be idle between two requests.")
        server.headerReadTime = limits.duration(
            "header-time", default: .seconds(10), in: .milliseconds(10) ... .seconds(3600),
            doc: "How long the header section may take to come; then 408.")
        server.bodyReadTime = limits.duration(
            "body-time", default: .seconds(30), in: .milliseconds(10) ... .seconds(3600),
            doc: "How long a body may take to come; then 408.")
        self.server = server
    }
}
