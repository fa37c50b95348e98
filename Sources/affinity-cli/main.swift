import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// `affinity`: says to a cluster what operators want of it, through the `admin` listener of any of its nodes.
let usage = """
    usage: affinity [--admin URL] status
           affinity [--admin URL] settings
           affinity [--admin URL] drain NODE | undrain NODE
           affinity [--admin URL] pause | resume
           affinity [--admin URL] pin KEYSPACE PARTITION NODE… | unpin KEYSPACE PARTITION

      status    members, masters and standbys, as the node sees them
      settings  what operators have asked for
      drain     moves everything off a node; `undrain` lets it hold something again
      pause     moves nothing any more, unless a partition has no replica left; `resume` goes on
      pin       wants a partition on these nodes, the preferred master first; `unpin` leaves it to the planner

    URL is that of an `admin.listeners` of a node (default http://127.0.0.1:8079, or AFFINITY_ADMIN).
    What is asked for is done in the background; `status` shows how far it is. Exit codes: 0, 1 if it could not be done,
    64 for a call that makes no sense.
    """

struct Call {
    var method: String
    var path: String
    var body: Data?
}

/// What the words of the command line ask for; `nil` if they make no sense.
func call(_ words: [String]) -> Call? {
    let parts = words.dropFirst().map { $0.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? $0 }
    switch (words.first, parts.count) {
    case ("status", 0): return Call(method: "GET", path: "/status")
    case ("settings", 0): return Call(method: "GET", path: "/admin/settings")
    case ("drain", 1): return Call(method: "PUT", path: "/admin/drained/\(parts[0])")
    case ("undrain", 1): return Call(method: "DELETE", path: "/admin/drained/\(parts[0])")
    case ("pause", 0): return Call(method: "PUT", path: "/admin/paused")
    case ("resume", 0): return Call(method: "DELETE", path: "/admin/paused")
    case ("pin", 3...):
        let nodes = try? JSONEncoder().encode(Array(words.dropFirst(3)))
        return Call(method: "PUT", path: "/admin/pins/\(parts[0])/\(parts[1])", body: nodes)
    case ("unpin", 2): return Call(method: "DELETE", path: "/admin/pins/\(parts[0])/\(parts[1])")
    default: return nil
    }
}

func complain(_ text: String, _ code: Int32) -> Never {
    FileHandle.standardError.write(Data((text + "\n").utf8))
    exit(code)
}

var words = Array(CommandLine.arguments.dropFirst())
var base = ProcessInfo.processInfo.environment["AFFINITY_ADMIN"] ?? "http://127.0.0.1:8079"
if words.first == "--admin", words.count > 1 {
    base = words[1]
    words.removeFirst(2)
}
if words.first == "--help" || words.first == "-h" {
    print(usage)
    exit(0)
}
guard let call = call(words) else { complain(usage, 64) }
guard let url = URL(string: base + call.path) else { complain("affinity: \(base) is no address", 64) }
var request = URLRequest(url: url, timeoutInterval: 10)
request.httpMethod = call.method
request.httpBody = call.body
if call.body != nil { request.setValue("application/json", forHTTPHeaderField: "Content-Type") }
do {
    let (data, response) = try await URLSession.shared.data(for: request)
    let status = (response as? HTTPURLResponse)?.statusCode ?? 0
    let text = String(decoding: data, as: UTF8.self)
    guard (200..<300).contains(status) else { complain("affinity: \(status): \(text)", 1) }
    let value = try JSONSerialization.jsonObject(with: data, options: .fragmentsAllowed)
    let shown = try JSONSerialization.data(
        withJSONObject: value, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes, .fragmentsAllowed])
    print(String(decoding: shown, as: UTF8.self))
} catch {
    complain("affinity: \(base) does not answer: \(error.localizedDescription)", 1)
}
