public import AffinityCore

/// Which ZooKeeper holds the tree, and how it is talked to.
public struct ZooKeeperConfiguration: Sendable {
    /// Who this process is to the servers: the scheme `digest`.
    public struct Credentials: Sendable, CustomStringConvertible {
        /// The name, without a colon.
        public var user: String
        /// The secret. It never reaches a log line.
        public var password: String

        /// A name and its secret.
        public init(user: String, password: String) {
            self.user = user
            self.password = password
        }

        /// The name alone.
        public var description: String { user }
    }

    /// The servers, and the node that the tree is below: `host:port,host:port/a/b`.
    ///
    /// The port is 2181 where none is given; an address of IPv6 stands in brackets. The node is made where there is none; without one, the tree is the whole.
    public var servers: String
    /// How long the servers may hear nothing of a session before they end it; they decide, within their own limits.
    public var sessionTimeout = Duration.seconds(10)
    /// If there are credentials, only they open what is made with them, also for reading. Otherwise everybody may.
    public var credentials: Credentials?
    /// The largest request. A server drops the connection of whoever sends more than its `jute.maxbuffer`, 1 MiB.
    ///
    /// Also the limit of all paths that are watched: they are sent together when a connection is made anew.
    public var maxRequestBytes = (1 << 20) - (16 << 10)

    /// These servers, with the defaults for everything else.
    public init(servers: String) { self.servers = servers }

    /// - Throws: `.refused` if a value will not do; never shows the secret.
    public func validate() throws(TreeError) {
        _ = try ServerList(servers)
        guard sessionTimeout >= .milliseconds(100), sessionTimeout <= .seconds(3600) else {
            throw TreeError(.refused, "session timeout \(sessionTimeout): it is 100 ms at least, an hour at most")
        }
        guard maxRequestBytes > 0 else { throw TreeError(.refused, "the largest request has \(maxRequestBytes) bytes") }
        if let credentials, credentials.user.isEmpty || credentials.user.utf8.contains(UInt8(ascii: ":")) {
            throw TreeError(.refused, "ZooKeeper user \"\(credentials.user)\": a name without a colon is needed")
        }
    }
}

/// The parts of the text that says where ZooKeeper is.
struct ServerList: Sendable, Equatable {
    /// `host:port`, joined by commas.
    let hosts: String
    /// The path that all paths of the tree are put behind; empty if the tree is the whole.
    let root: String

    init(_ text: String) throws(TreeError) {
        let slash = text.utf8.firstIndex(of: UInt8(ascii: "/")) ?? text.endIndex
        var hosts: [String] = []
        for host in text[..<slash].split(separator: ",", omittingEmptySubsequences: false) {
            hosts.append(try Self.host(host, in: text))
        }
        self.hosts = hosts.joined(separator: ",")
        let path = String(text[slash...])
        root = path == "/" ? "" : path
        if !root.isEmpty, let problem = TreePath.problem(root) {
            throw TreeError(.refused, "ZooKeeper servers \"\(text)\": \(problem)")
        }
    }

    private static func host(_ text: Substring, in list: String) throws(TreeError) -> String {
        let (name, port) = parts(text)
        let isClean = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "[") }
        guard isClean, !name.isEmpty, let port = port.map({ UInt16($0) }) ?? 2181, port > 0 else {
            throw TreeError(.refused, "ZooKeeper servers \"\(list)\": \"\(text)\" is not host:port")
        }
        return "\(name):\(port)"
    }

    /// The name and the text of the port, if there is one. An address of IPv6 stands in brackets, but not for C.
    private static func parts(_ text: Substring) -> (name: Substring, port: Substring?) {
        if text.first == "[", let end = text.firstIndex(of: "]") {
            let rest = text[text.index(after: end)...]
            return (text[..<end].dropFirst(), rest.isEmpty ? nil : rest.first == ":" ? rest.dropFirst() : "")
        }
        guard let colon = text.firstIndex(of: ":") else { return (text, nil) }
        return (text[..<colon], text[text.index(after: colon)...])
    }

    /// The paths of the nodes that have to be there before the tree can be used, the topmost first.
    var ancestors: [String] {
        let names = root.split(separator: "/")
        return names.indices.map { "/" + names[...$0].joined(separator: "/") }
    }
}
