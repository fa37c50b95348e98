import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

let usage = """
    usage: affinity [--admin URL] [--json] status
           affinity [--admin URL] [--json] settings
           affinity [--admin URL] [--json] drain NODE | undrain NODE
           affinity [--admin URL] [--json] pause | resume
           affinity [--admin URL] [--json] pin KEYSPACE PARTITION NODE… | unpin KEYSPACE PARTITION

      status    members, masters and standbys, as the node sees them
      settings  what operators have asked for; the commands below print it as it is then
      drain     moves everything off a node; `undrain` lets it hold something again
      pause     moves nothing any more, unless a partition has no replica left; `resume` goes on
      pin       wants a partition on these nodes, the preferred master first; `unpin` leaves it to the planner

    URL is that of an `admin.listeners` of a node (default http://127.0.0.1:8079, or AFFINITY_ADMIN); --json prints what it
    answers. What is asked for is done in the background; `status` shows how far it is. Exit codes: 0, 1 if it could not
    be done, 64 for a call that makes no sense.
    """

/// The options of the command line, wherever they stand, and the other words.
struct CommandLineWords {
    var admin: String?
    var wantsJSON = false
    var wantsHelp = false
    var words: [String] = []

    /// `nil` for an option that there is not, or one without its value.
    init?(_ arguments: [String]) {
        var rest = arguments[...]
        while let word = rest.popFirst() {
            switch word {
            case "--admin":
                guard let value = rest.popFirst() else { return nil }
                admin = value
            case "--json": wantsJSON = true
            case "--help", "-h": wantsHelp = true
            default:
                if word.hasPrefix("-") { return nil }
                words.append(word)
            }
        }
    }
}

/// What is asked of the node.
struct Call {
    var method: String
    var path: String
    var body: Data?

    /// What the words of the command line ask for; `nil` if they make no sense.
    init?(_ words: [String]) {
        if words.contains("") { return nil }
        let parts = words.dropFirst().map { $0.addingPercentEncoding(withAllowedCharacters: Self.plain) ?? $0 }
        method = "GET"
        switch (words.first, parts.count) {
        case ("status", 0): path = "/status"
        case ("settings", 0): path = "/admin/settings"
        case ("drain", 1): (method, path) = ("PUT", "/admin/drained/\(parts[0])")
        case ("undrain", 1): (method, path) = ("DELETE", "/admin/drained/\(parts[0])")
        case ("pause", 0): (method, path) = ("PUT", "/admin/paused")
        case ("resume", 0): (method, path) = ("DELETE", "/admin/paused")
        case ("pin", 3...):
            (method, path) = ("PUT", "/admin/pins/\(parts[0])/\(parts[1])")
            body = try? JSONEncoder().encode(Array(words.dropFirst(3)))
        case ("unpin", 2): (method, path) = ("DELETE", "/admin/pins/\(parts[0])/\(parts[1])")
        default: return nil
        }
    }

    private static let plain = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")

    /// The request to the node at that address; `nil` if it is none.
    func request(to base: String) -> URLRequest? {
        guard let address = URL(string: base), ["http", "https"].contains(address.scheme),
            address.host?.isEmpty == false, address.query == nil, address.fragment == nil,
            let url = URL(string: (base.hasSuffix("/") ? String(base.dropLast()) : base) + path)
        else { return nil }
        // For longer than the node lets a request wait, unless it is configured otherwise.
        var request = URLRequest(url: url, timeoutInterval: 15)
        request.httpMethod = method
        request.httpBody = body
        if body != nil { request.setValue("application/json", forHTTPHeaderField: "Content-Type") }
        return request
    }

    /// The answer, for a person.
    func text(_ answer: Data) throws -> String {
        if path == "/status" { return try JSONDecoder().decode(Status.self, from: answer).text }
        return try JSONDecoder().decode(Settings.self, from: answer).text
    }
}
